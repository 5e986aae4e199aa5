//! Statements as text with bound values, and how they are run: `$1`-style parameters work in all three databases.
//!
//! A statement takes 65,535 parameters in PostgreSQL and 32,766 in SQLite. So one with many rows or a long list is run in
//! [pieces](Sql::pieces) of fixed sizes, which also keeps the statements few that the databases have prepared. That is
//! right for statements that mean the same for each row or id alone, and all of ours do.

mod one;

use std::{future::Future, ops::Range};

use sea_orm::{ConnectionTrait, QueryResult, Statement, TryGetable, Value};

use super::connection::Dialect;
use crate::error::{Error, Result};

/// The most rows in a piece. The widest have 22 columns.
const ROWS: usize = 128;
/// The most ids in a piece.
const IDS: usize = 1024;
/// The most parameters of statements that are merged into one.
const MERGED: usize = 32_000;

/// A statement and its values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sql {
    text: String,
    values: Vec<Value>,
    /// What of it is too much for one statement.
    bulk: Option<Bulk>,
}

/// Rows or ids of a statement that is run in pieces.
#[derive(Clone, Debug)]
struct Bulk {
    /// Their place in the text.
    text: Range<usize>,
    /// Their place among the values.
    values: Range<usize>,
    /// Values of one row; nothing for a list.
    columns: Option<usize>,
}

impl Sql {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// The values of `$1`, `$2`, ... that the text has already.
    pub(crate) fn values(mut self, values: impl IntoIterator<Item = Value>) -> Self {
        self.values.extend(values);
        self
    }

    /// Appends text.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends a parameter.
    pub(crate) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.text.push('$');
        self.text.push_str(&self.values.len().to_string());
        self
    }

    /// Appends `($1, $2, ...)`. The list is filled up with its last value to the next power of two, so that the
    /// databases' caches of prepared statements see few different texts. An empty list matches nothing.
    pub(crate) fn list<T: Clone + Into<Value>>(&mut self, items: &[T]) -> &mut Self {
        let Some(last) = items.last() else {
            return self.push("(NULL)");
        };
        let (text, values) = (self.text.len(), self.values.len());
        self.push("(");
        let count = if items.len() > IDS {
            items.len()
        } else {
            items.len().next_power_of_two()
        };
        for index in 0..count {
            if index > 0 {
                self.push(", ");
            }
            self.bind(items.get(index).unwrap_or(last).clone());
        }
        self.push(")");
        if items.len() > IDS {
            self.is_bulk(text, values, None);
        }
        self
    }

    /// Appends `($1, $2), ($3, $4), ...`: the rows of a VALUES.
    pub(crate) fn rows(&mut self, rows: impl IntoIterator<Item = Vec<Value>>) -> &mut Self {
        let (text, values) = (self.text.len(), self.values.len());
        let (mut count, mut columns) = (0, 0);
        for row in rows {
            self.push(if count > 0 { ", (" } else { "(" });
            columns = row.len();
            for (column, value) in row.into_iter().enumerate() {
                if column > 0 {
                    self.push(", ");
                }
                self.bind(value);
            }
            self.push(")");
            count += 1;
        }
        if count > ROWS {
            self.is_bulk(text, values, Some(columns));
        }
        self
    }

    /// Of two, the first is what is cut.
    fn is_bulk(&mut self, text: usize, values: usize, columns: Option<usize>) {
        if self.bulk.is_none() {
            self.bulk = Some(Bulk {
                text: text..self.text.len(),
                values: values..self.values.len(),
                columns,
            });
        }
    }

    /// The statement, or several that together do the same, each within what a database takes.
    pub(crate) fn pieces(mut self) -> Vec<Self> {
        let Some(bulk) = self.bulk.take() else {
            return vec![self];
        };
        let tail = self.values.split_off(bulk.values.end);
        let items = self.values.split_off(bulk.values.start);
        let size = bulk.columns.map_or(IDS, |columns| ROWS * columns);
        let cut = |values: &[Value]| {
            let mut piece = Self {
                text: self.text[..bulk.text.start].to_owned(),
                values: self.values.clone(),
                bulk: None,
            };
            match bulk.columns {
                Some(columns) => piece.rows(values.chunks(columns).map(<[Value]>::to_vec)),
                None => piece.list(values),
            };
            let (now, before) = (piece.values.len(), bulk.values.end);
            piece.push(&renumber(&self.text[bulk.text.end..], |number| {
                if number > before {
                    number - before + now
                } else {
                    number
                }
            }));
            piece.values.extend(tail.iter().cloned());
            piece
        };
        items.chunks(size).map(cut).collect()
    }

    /// Statements as few as can be: one where the database can merge them and takes so much at once.
    pub(crate) fn merged_or_pieces(statements: Vec<Self>, dialect: Dialect) -> Vec<Self> {
        if Self::may_be_one(dialect, statements.iter()) {
            vec![Self::merge(statements)]
        } else {
            statements.into_iter().flat_map(Self::pieces).collect()
        }
    }

    /// Statements as one, of data-modifying common table expressions, which only PostgreSQL and CockroachDB have.
    pub(crate) fn merge(statements: Vec<Self>) -> Self {
        let mut statements = statements.into_iter();
        match (statements.next(), statements.len()) {
            (None, _) => Self::default(),
            (Some(only), 0) => only,
            // The last one may have expressions of its own, behind which it can't stand.
            (Some(first), _) => {
                Self::merge_and_select(std::iter::once(first).chain(statements), Self::new("1"))
            }
        }
    }

    /// The same, with an expression that is worked out behind them.
    pub(crate) fn merge_and_select(statements: impl IntoIterator<Item = Self>, expression: Self) -> Self {
        let (mut merged, _) = Self::expressions(statements.into_iter());
        merged.push(" SELECT ").append(expression);
        merged
    }

    /// The same, with the rows that `reading` return, all of the same columns.
    pub(crate) fn merge_returning(statements: Vec<Self>, reading: Vec<Self>) -> Self {
        let first = statements.len();
        let (mut merged, count) = Self::expressions(statements.into_iter().chain(reading));
        for index in first..count {
            merged.push(if index == first { " " } else { " UNION ALL " });
            merged.push(&format!("SELECT * FROM s{index}"));
        }
        merged
    }

    /// `WITH s0 AS (...), s1 AS (...)`, and how many there are.
    fn expressions(statements: impl Iterator<Item = Self>) -> (Self, usize) {
        let (mut merged, mut count) = (Self::default(), 0);
        for statement in statements {
            merged.push(if count == 0 { "WITH " } else { ", " });
            merged.push(&format!("s{count} AS ("));
            merged.append(statement);
            merged.push(")");
            count += 1;
        }
        (merged, count)
    }

    /// Appends another statement, its parameters behind ours.
    pub(crate) fn append(&mut self, statement: Self) {
        let offset = self.values.len();
        self.text
            .push_str(&renumber(&statement.text, |number| number + offset));
        self.values.extend(statement.values);
    }

    /// Text and values.
    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (String, Vec<Value>) {
        (self.text, self.values)
    }

    /// As a connection runs it.
    pub(crate) fn statement(self, connection: &impl ConnectionTrait) -> Statement {
        Statement::from_sql_and_values(connection.get_database_backend(), self.text, self.values)
    }
}

/// `$n` becomes `$(change(n))`. Our statements have no other `$`.
fn renumber(text: &str, change: impl Fn(usize) -> usize) -> String {
    let mut parts = text.split('$');
    let mut renumbered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(part.len());
        let number: usize = part[..end].parse().unwrap_or_default();
        renumbered.push('$');
        renumbered.push_str(&change(number).to_string());
        renumbered.push_str(&part[end..]);
    }
    renumbered
}

/// A row of an answer.
pub(crate) struct Row(QueryResult);

impl Row {
    /// The value of a column.
    pub(crate) fn get<T: TryGetable>(&self, column: &str) -> Result<T> {
        Ok(self.0.try_get("", column)?)
    }

    /// The JSON in a text column.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T> {
        let text: String = self.get(column)?;
        from_json(column, &text)
    }
}

/// Reads JSON that the store wrote.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Decode {
        what: what.to_owned(),
        why: error.to_string(),
    })
}

/// Writes JSON for a text column.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Decode {
        what: "a value to store".to_owned(),
        why: error.to_string(),
    })
}

/// How statements are run, on a connection and in a transaction alike.
pub(crate) trait Fetch {
    /// At most one row.
    fn one(&self, sql: Sql) -> impl Future<Output = Result<Option<Row>>> + Send;
    /// All rows.
    fn all(&self, sql: Sql) -> impl Future<Output = Result<Vec<Row>>> + Send;
    /// How many rows were changed.
    fn run(&self, sql: Sql) -> impl Future<Output = Result<u64>> + Send;
}

impl<C: ConnectionTrait> Fetch for C {
    async fn one(&self, sql: Sql) -> Result<Option<Row>> {
        Ok(self.query_one_raw(sql.statement(self)).await?.map(Row))
    }

    async fn all(&self, sql: Sql) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for piece in sql.pieces() {
            let found = self.query_all_raw(piece.statement(self)).await?;
            rows.extend(found.into_iter().map(Row));
        }
        Ok(rows)
    }

    async fn run(&self, sql: Sql) -> Result<u64> {
        let mut changed = 0;
        for piece in sql.pieces() {
            changed += self.execute_raw(piece.statement(self)).await?.rows_affected();
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_statements_keep_their_values() {
        let first = Sql::new("INSERT INTO a VALUES ($1, $2)").values([1_i64.into(), 2_i64.into()]);
        let second = Sql::new("UPDATE b SET c = $2 WHERE d = $1").values([3_i64.into(), 4_i64.into()]);
        let third = Sql::new("DELETE FROM e WHERE f = $1").values([5_i64.into()]);
        let merged = Sql::merge(vec![first.clone(), second, third]);
        let expected = "WITH s0 AS (INSERT INTO a VALUES ($1, $2)), s1 AS (UPDATE b SET c = $4 WHERE d = $3), \
                        s2 AS (DELETE FROM e WHERE f = $5) SELECT 1";
        assert_eq!(merged.text, expected);
        assert_eq!(merged.values, (1_i64..=5).map(Value::from).collect::<Vec<_>>());
        assert_eq!(
            Sql::merge(vec![first.clone()]).text,
            "INSERT INTO a VALUES ($1, $2)"
        );
        let reading = || Sql::new("UPDATE b SET c = $1 RETURNING c").values([6_i64.into()]);
        let merged = Sql::merge_returning(vec![first], vec![reading(), reading()]);
        let expected = "WITH s0 AS (INSERT INTO a VALUES ($1, $2)), s1 AS (UPDATE b SET c = $3 RETURNING c), \
                        s2 AS (UPDATE b SET c = $4 RETURNING c) SELECT * FROM s1 UNION ALL SELECT * FROM s2";
        assert_eq!(merged.text, expected);
    }

    #[test]
    fn lists_are_filled_up_to_a_power_of_two() {
        let mut sql = Sql::new("x IN ");
        sql.list(&[1_i64, 2, 3]);
        assert_eq!(sql.text, "x IN ($1, $2, $3, $4)");
        assert_eq!(sql.values[3], Value::from(3_i64));
        let mut none = Sql::default();
        none.list::<i64>(&[]);
        assert_eq!(none.text, "(NULL)");
    }

    #[test]
    fn what_is_too_much_for_one_statement_is_cut_in_pieces_of_one_size() {
        let mut sql = Sql::new("INSERT INTO a SELECT $1, x FROM (VALUES ").values([7_i64.into()]);
        let count = i64::try_from(2 * ROWS + 3).unwrap();
        sql.rows((0..count).map(|number| vec![number.into(), (-number).into()]));
        sql.push(") AS v WHERE y = ").bind("last");
        let pieces = sql.pieces();
        let rows: Vec<usize> = pieces.iter().map(|piece| (piece.values.len() - 2) / 2).collect();
        assert_eq!(rows, [ROWS, ROWS, 3]);
        assert_eq!(
            pieces[2].text,
            "INSERT INTO a SELECT $1, x FROM (VALUES ($2, $3), ($4, $5), ($6, $7)) AS v WHERE y = $8"
        );
        assert_eq!(pieces[0].text, pieces[1].text);
        assert_eq!(
            (&pieces[2].values[1], &pieces[2].values[7]),
            (&Value::from(count - 3), &Value::from("last"))
        );

        let mut list = Sql::new("DELETE FROM a WHERE b = ");
        list.bind(1_i64).push(" AND c IN ");
        list.list(&(0..i64::try_from(IDS + 3).unwrap()).collect::<Vec<_>>());
        let pieces = list.pieces();
        assert_eq!(
            pieces[1].text,
            "DELETE FROM a WHERE b = $1 AND c IN ($2, $3, $4, $5)"
        );
        assert_eq!(pieces[0].values.len(), IDS + 1);
        assert!(pieces.iter().all(|piece| piece.values.len() <= MERGED));
    }

    #[test]
    fn only_what_one_statement_takes_is_merged() {
        let mut large = Sql::new("INSERT INTO a VALUES ");
        large.rows((0..2 * ROWS as i64).map(|number| vec![number.into()]));
        let small = || Sql::new("DELETE FROM b WHERE c = $1").values([1_i64.into()]);
        assert_eq!(
            Sql::merged_or_pieces(vec![small(), small()], Dialect::Postgresql).len(),
            1
        );
        assert_eq!(
            Sql::merged_or_pieces(vec![small(), small()], Dialect::Sqlite).len(),
            2
        );
        assert_eq!(
            Sql::merged_or_pieces(vec![large, small()], Dialect::Postgresql).len(),
            3
        );
    }
}
