//! Statements as text with bound values, and how they are run: `$1`-style parameters work in all three databases.

use std::future::Future;

use sea_orm::{ConnectionTrait, ExecResult, QueryResult, Statement, TryGetable, Value};

use crate::error::{Error, Result};

/// A statement and its values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            values: Vec::new(),
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
        self.push("(");
        for index in 0..items.len().next_power_of_two() {
            if index > 0 {
                self.push(", ");
            }
            self.bind(items.get(index).unwrap_or(last).clone());
        }
        self.push(")")
    }

    /// Appends `($1, $2), ($3, $4), ...`: the rows of a VALUES.
    pub(crate) fn rows(&mut self, rows: impl IntoIterator<Item = Vec<Value>>) -> &mut Self {
        for (index, row) in rows.into_iter().enumerate() {
            self.push(if index > 0 { ", (" } else { "(" });
            for (column, value) in row.into_iter().enumerate() {
                if column > 0 {
                    self.push(", ");
                }
                self.bind(value);
            }
            self.push(")");
        }
        self
    }

    /// `first` with `second` behind it as one statement of data-modifying common table expressions, which only
    /// PostgreSQL and CockroachDB have.
    pub(crate) fn merge(statements: Vec<Self>) -> Self {
        let mut merged = Self::default();
        let count = statements.len();
        for (index, statement) in statements.into_iter().enumerate() {
            let offset = merged.values.len();
            match index {
                _ if index + 1 == count && index == 0 => {}
                0 => {
                    merged.push("WITH s0 AS (");
                }
                _ if index + 1 == count => {
                    merged.push(" ");
                }
                _ => {
                    merged.push(&format!(", s{index} AS ("));
                }
            }
            merged.text.push_str(&renumber(&statement.text, offset));
            merged.values.extend(statement.values);
            if index + 1 < count {
                merged.push(")");
            }
        }
        merged
    }

    /// Text and values.
    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (String, Vec<Value>) {
        (self.text, self.values)
    }

    fn statement(self, connection: &impl ConnectionTrait) -> Statement {
        Statement::from_sql_and_values(connection.get_database_backend(), self.text, self.values)
    }
}

/// `$n` becomes `$(n + offset)`. Our statements have no other `$`.
fn renumber(text: &str, offset: usize) -> String {
    if offset == 0 {
        return text.to_owned();
    }
    let mut parts = text.split('$');
    let mut renumbered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(part.len());
        let number: usize = part[..end].parse().unwrap_or_default();
        renumbered.push('$');
        renumbered.push_str(&(number + offset).to_string());
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
        Ok(self
            .query_all_raw(sql.statement(self))
            .await?
            .into_iter()
            .map(Row)
            .collect())
    }

    async fn run(&self, sql: Sql) -> Result<u64> {
        Ok(self
            .execute_raw(sql.statement(self))
            .await
            .map(|result: ExecResult| result.rows_affected())?)
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
        let expected = "WITH s0 AS (INSERT INTO a VALUES ($1, $2)), s1 AS (UPDATE b SET c = $4 WHERE d = $3) \
                        DELETE FROM e WHERE f = $5";
        assert_eq!(merged.text, expected);
        assert_eq!(merged.values, (1_i64..=5).map(Value::from).collect::<Vec<_>>());
        assert_eq!(Sql::merge(vec![first]).text, "INSERT INTO a VALUES ($1, $2)");
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
}
