//! Which statements may be one: each database has its own limits.
//!
//! CockroachDB refuses a statement of which two parts change one table, unless both only insert: a row that both changed
//! would be left corrupt.

use std::collections::BTreeSet;

use super::{MERGED, Sql};
use crate::database::connection::Dialect;

/// What comes before the name of the table that a statement changes.
const CHANGES: [&str; 3] = ["INSERT INTO ", "UPDATE ", "DELETE FROM "];

impl Sql {
    /// Whether the database takes the statements as parts of one.
    pub(crate) fn may_be_one<'s>(
        dialect: Dialect,
        statements: impl Iterator<Item = &'s Self> + Clone,
    ) -> bool {
        dialect.merges_writes()
            && Self::fit_one(statements.clone())
            && (dialect != Dialect::Cockroachdb || Self::change_different_tables(statements))
    }

    /// Whether one statement has room for them.
    fn fit_one<'s>(statements: impl Iterator<Item = &'s Self>) -> bool {
        let (mut parameters, mut whole) = (0, true);
        for statement in statements {
            parameters += statement.values.len();
            whole &= statement.bulk.is_none();
        }
        whole && parameters <= MERGED
    }

    fn change_different_tables<'s>(statements: impl Iterator<Item = &'s Self>) -> bool {
        let mut seen = BTreeSet::new();
        let mut tables = statements.filter_map(Self::changes);
        tables.all(|table| seen.insert(table))
    }

    /// The table that it changes. (`ON CONFLICT ... DO UPDATE` comes behind the name.)
    fn changes(&self) -> Option<&str> {
        let begins = |words: &&str| self.text.find(*words).map(|at| at + words.len());
        let rest = &self.text[CHANGES.iter().filter_map(begins).min()?..];
        rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_cockroachdb_no_two_parts_of_a_statement_change_one_table() {
        let upsert = "INSERT INTO pending (object_id) SELECT o.id FROM object o ON CONFLICT (object_id) DO UPDATE SET a = 1";
        let update = "UPDATE pending SET token = $1";
        let delete = "DELETE FROM pending WHERE object_id = $1";
        let status = "UPDATE object_status SET epoch = 1";
        let kinds = "WITH v (a) AS (VALUES ($1)) INSERT INTO watched_kind (a) SELECT v.a FROM v ON CONFLICT (a) DO UPDATE SET b = 0";
        for (parts, different) in [
            (&[upsert, status, kinds][..], true),
            (&[update, status], true),
            (&[update, status, upsert], false),
            (&[delete, upsert], false),
            (&[upsert, upsert], false),
            (&[kinds, kinds], false),
        ] {
            let parts: Vec<Sql> = parts.iter().map(|part| Sql::new(*part)).collect();
            let may_be_one = |dialect| Sql::may_be_one(dialect, parts.iter());
            assert_eq!(may_be_one(Dialect::Cockroachdb), different, "{parts:?}");
            assert!(may_be_one(Dialect::Postgresql) && !may_be_one(Dialect::Sqlite));
        }
    }
}
