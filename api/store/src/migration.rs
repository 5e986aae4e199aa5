//! The schema, as a list of steps that only ever grows.
//!
//! One DDL statement per step, each idempotent: DDL within a transaction is not atomic in CockroachDB, and two
//! processes may run the same step at once. What serialises them is a compare-and-swap on the one row of
//! `schema_version`: who loses it reads the row again and goes on from there. The row also says which is the oldest
//! program that can serve the schema, so that a server may serve a newer, compatible one and refuses an unknown one.
//!
//! Steps are numbered, and run in the order of their numbers, whichever file they stand in: a new one gets the next
//! number. What not to do: never change a step that was released, never give its number to another (a test holds the
//! digest of those that were). `{uuid}`, `{text}` and `{bytes}` are the only
//! words that differ between databases; text sorts by bytes everywhere, so that cursors mean the same.

mod objects;
mod records;
mod runtimes;
mod work;

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};
use threeport_failpoint::around;

use crate::{
    database::{
        connection::Dialect,
        random::Random,
        sql::{Fetch, Sql},
        transaction,
    },
    error::{Error, Result},
    writes,
};

/// One step.
pub(crate) struct Step {
    number: i64,
    ddl: &'static str,
    /// Whether programs that know only the steps before it can go on serving.
    compatible: bool,
}

/// A step of the first release or one that older programs don't notice.
const fn step(number: i64, ddl: &'static str) -> Step {
    Step {
        number,
        ddl,
        compatible: true,
    }
}

fn steps() -> impl Iterator<Item = &'static Step> {
    [objects::STEPS, work::STEPS, runtimes::STEPS, records::STEPS]
        .into_iter()
        .flatten()
}

/// The version that this program was written for.
pub(crate) fn latest() -> i64 {
    steps().map(|step| step.number).max().unwrap_or_default()
}

/// The version that a database has, and the oldest program that can serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) version: i64,
    pub(crate) minimum: i64,
}

/// What the database says of itself, or nothing where it was never migrated.
pub(crate) async fn version(connection: &impl Fetch) -> Result<Option<Version>> {
    let query = Sql::new("SELECT version, minimum FROM schema_version WHERE id = 1");
    match connection.one(query).await {
        Ok(Some(row)) => Ok(Some(Version {
            version: row.get("version")?,
            minimum: row.get("minimum")?,
        })),
        Ok(None) => Ok(None),
        Err(Error::Database(error)) if is_missing_table(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Fails where this program can't serve a schema of that version.
pub(crate) fn check(version: Option<Version>) -> Result<i64> {
    let known = latest();
    match version {
        None => Err(Error::SchemaOlder { found: 0, known }),
        Some(found) if found.version < known => Err(Error::SchemaOlder {
            found: found.version,
            known,
        }),
        Some(found) if found.minimum > known => Err(Error::SchemaNewer {
            found: found.version,
            known,
        }),
        Some(found) => Ok(found.version),
    }
}

/// Brings the schema to this program's version. Any number of processes may do so at once.
pub(crate) async fn run(connection: &DatabaseConnection, dialect: Dialect, random: &Random) -> Result<i64> {
    let table = "CREATE TABLE IF NOT EXISTS schema_version \
                 (id BIGINT PRIMARY KEY, version BIGINT NOT NULL, minimum BIGINT NOT NULL)";
    around(writes::SCHEMA_TABLE, ddl(connection, dialect, table, random)).await?;
    let first =
        "INSERT INTO schema_version (id, version, minimum) VALUES (1, 0, 0) ON CONFLICT (id) DO NOTHING";
    around(writes::SCHEMA_ROW, repeat(connection, first, random)).await?;
    loop {
        let Some(found) = version(connection).await? else {
            return Err(Error::SchemaOlder {
                found: 0,
                known: latest(),
            });
        };
        let next = found.version + 1;
        let Some(step) = steps().find(|step| step.number == next) else {
            return check(Some(found));
        };
        around(writes::SCHEMA_STEP, ddl(connection, dialect, step.ddl, random)).await?;
        let minimum = if step.compatible { found.minimum } else { next };
        let swap =
            Sql::new("UPDATE schema_version SET version = $1, minimum = $2 WHERE id = 1 AND version = $3")
                .values([next.into(), minimum.into(), found.version.into()]);
        match around(writes::SCHEMA_VERSION, connection.run(swap)).await {
            Ok(_) => {}
            Err(Error::Database(error)) if transaction::is_retryable(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn ddl(
    connection: &DatabaseConnection,
    dialect: Dialect,
    template: &str,
    random: &Random,
) -> Result<()> {
    let (uuid, text, bytes) = dialect.types();
    let statement = template
        .replace("{uuid}", uuid)
        .replace("{text}", text)
        .replace("{bytes}", bytes);
    repeat(connection, &statement, random).await
}

/// Runs an idempotent statement again where it collided with somebody who ran the same one.
async fn repeat(connection: &DatabaseConnection, statement: &str, random: &Random) -> Result<()> {
    let mut tries = 0;
    loop {
        match connection.execute_unprepared(statement).await {
            Ok(_) => return Ok(()),
            Err(error) if tries < 20 && (collided(&error) || transaction::is_retryable(&error)) => {
                tries += 1;
                tokio::time::sleep(random.jitter(Duration::from_millis(50))).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// `CREATE ... IF NOT EXISTS` run twice at the same time fails in PostgreSQL with one of these.
fn collided(error: &DbErr) -> bool {
    let code = transaction::code(error);
    ["23505", "42P07", "42710", "XX000"].contains(&code.as_str())
}

fn is_missing_table(error: &DbErr) -> bool {
    transaction::code(error) == "42P01" || error.to_string().contains("no such table")
}

#[cfg(test)]
mod tests {
    use threeport_model::digest;

    use super::*;

    /// The steps of the first release. A new step belongs behind them; when it is released, this grows.
    const RELEASED: i64 = 36;
    const DIGEST: &str = "ea274d3f8aca167c3393a91c0260f4356936daf10267233a52d3392ffb63555f";

    #[test]
    fn steps_are_numbered_without_gaps() {
        let mut numbers: Vec<i64> = steps().map(|step| step.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=latest()).collect::<Vec<_>>());
    }

    /// What the first brackets hold, between its commas.
    fn parts(ddl: &str) -> Vec<&str> {
        let mut begin = ddl.find('(').unwrap() + 1;
        let mut parts = Vec::new();
        let mut depth = 0;
        for (index, letter) in ddl.char_indices().skip(begin) {
            match letter {
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                ')' | ',' if depth == 0 => {
                    parts.push(ddl[begin..index].trim());
                    begin = index + 1;
                    if letter == ')' {
                        return parts;
                    }
                }
                _ => {}
            }
        }
        panic!("brackets are left open: {ddl}");
    }

    fn begins(step: &Step, with: &[&str]) -> bool {
        with.iter().any(|with| step.ddl.starts_with(with))
    }

    const TABLE: &[&str] = &["CREATE TABLE IF NOT EXISTS "];
    const INDEX: &[&str] = &[
        "CREATE INDEX IF NOT EXISTS ",
        "CREATE UNIQUE INDEX IF NOT EXISTS ",
    ];
    const END: &[&str] = &["DROP TABLE IF EXISTS ", "DROP INDEX IF EXISTS "];

    #[test]
    fn a_step_is_one_statement_that_can_be_run_again() {
        for step in steps() {
            assert!(begins(step, &[TABLE, INDEX, END].concat()), "{}", step.ddl);
            assert!(!step.ddl.contains(';'), "{}", step.ddl);
            let verbs = ["CREATE ", "DROP ", "ALTER "].map(|verb| step.ddl.matches(verb).count());
            assert_eq!(verbs.iter().sum::<usize>(), 1, "{}", step.ddl);
        }
    }

    /// 32 bits in one database and 64 in another, or counted up by one of them alone, would not be one schema.
    #[test]
    fn columns_have_types_that_all_databases_mean_alike() {
        let mut columns = 0;
        for step in steps().filter(|step| begins(step, TABLE)) {
            for part in parts(step.ddl)
                .iter()
                .filter(|part| !part.starts_with("PRIMARY KEY ("))
            {
                let mut words = part.split(' ').skip(1);
                let column_type = words.next().unwrap_or_default();
                assert!(
                    ["BIGINT", "{uuid}", "{text}", "{bytes}"].contains(&column_type),
                    "{part}"
                );
                while let Some(word) = words.next() {
                    if word == "REFERENCES" {
                        // The table and its column.
                        words.nth(1);
                    } else {
                        let known = ["NOT", "NULL", "PRIMARY", "KEY", "ON", "DELETE", "CASCADE"];
                        assert!(known.contains(&word), "{part}");
                    }
                }
                columns += 1;
            }
        }
        assert!(columns > 100, "only {columns} were looked at");
    }

    #[test]
    fn indexes_are_on_columns_alone() {
        let mut indexes = 0;
        for step in steps().filter(|step| begins(step, INDEX)) {
            for part in parts(step.ddl) {
                let is_column = part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                assert!(is_column && !part.is_empty(), "{}", step.ddl);
            }
            indexes += 1;
        }
        assert!(indexes > 20, "only {indexes} were looked at");
    }

    #[test]
    fn what_was_released_stays_as_it_is() {
        let mut released: Vec<&Step> = steps().filter(|step| step.number <= RELEASED).collect();
        released.sort_by_key(|step| step.number);
        let lines: String = released
            .iter()
            .map(|step| format!("{} {} {}\n", step.number, step.compatible, step.ddl))
            .collect();
        assert_eq!(
            digest::of_bytes(lines.as_bytes()),
            DIGEST,
            "a released step was changed"
        );
    }
}
