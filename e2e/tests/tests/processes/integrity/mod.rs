//! Whether what the database holds is whole: read by SQL, past the API and its store.
//!
//! Every sort of damage that is looked for is a [`checks::Check`], with a way to do just that damage: a check that finds
//! nothing has proved nothing before it has found what was planted.

pub(crate) mod checks;

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use threeport_e2e::wait_until;
use tokio::sync::Mutex;
use uuid::Uuid;

use self::checks::{CHECKS, Check};
use crate::load::verdict::{Facts, Revision};

/// What is looked at: the objects whose names begin so, and operations since then.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) prefix: String,
    pub(crate) since: i64,
}

impl Scope {
    /// All that there is.
    pub(crate) fn everything() -> Self {
        Self {
            prefix: String::new(),
            since: 0,
        }
    }

    fn pattern(&self) -> String {
        format!("{}%", self.prefix)
    }
}

/// A way to the database that nothing is in between of.
pub(crate) struct Database(Mutex<PgConnection>);

/// What became of planted damage, by the names of its sorts.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    /// Nothing was there to damage so.
    pub(crate) impossible: Vec<&'static str>,
    pub(crate) unfound: Vec<&'static str>,
}

impl Database {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let connection = PgConnection::connect(url).await;
        Ok(Self(Mutex::new(
            connection.context("failed to connect to the database")?,
        )))
    }

    /// What operations from now on are younger than.
    pub(crate) async fn now(&self) -> Result<i64> {
        let query = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT";
        Ok(sqlx::query_scalar(query)
            .fetch_one(&mut *self.0.lock().await)
            .await?)
    }

    /// Waits until no transaction that has written is open: what will come of it has come of it.
    pub(crate) async fn settled(&self) -> Result<()> {
        let query = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL";
        wait_until("all transactions end", Duration::from_secs(20), || async {
            let open: i64 = sqlx::query_scalar(query)
                .fetch_one(&mut *self.0.lock().await)
                .await?;
            Ok(if open == 0 {
                Ok(())
            } else {
                Err(format!("{open} are open"))
            })
        })
        .await
    }

    /// All damage that there is, in words.
    pub(crate) async fn damage(&self, scope: &Scope) -> Result<Vec<String>> {
        damage(&mut *self.0.lock().await, scope).await
    }

    /// Does each sort of damage, looks for it, and undoes it.
    pub(crate) async fn plant(&self) -> Result<Planted> {
        let mut connection = self.0.lock().await;
        let mut all = Planted::default();
        for check in CHECKS {
            let mut transaction = connection.begin().await?;
            let planted = sqlx::raw_sql(check.plant).execute(&mut *transaction).await;
            let planted = planted.with_context(|| format!("failed to plant {:?}", check.name))?;
            let found = damage(&mut transaction, &Scope::everything()).await?;
            if planted.rows_affected() == 0 {
                all.impossible.push(check.name);
            } else if !found.iter().any(|found| found.starts_with(check.name)) {
                all.unfound.push(check.name);
            }
            transaction.rollback().await?;
        }
        Ok(all)
    }

    /// What [`crate::load::verdict`] needs to know.
    pub(crate) async fn facts(&self, scope: &Scope) -> Result<Facts> {
        let mut connection = self.0.lock().await;
        let mut facts = Facts::default();
        let operations = "SELECT id FROM operation WHERE created_at >= $1";
        let operations: Vec<Uuid> = sqlx::query_scalar(operations)
            .bind(scope.since)
            .fetch_all(&mut *connection)
            .await?;
        facts.operations.extend(operations);
        let deletions = "SELECT p.id, (c->>'id')::UUID FROM operation p, jsonb_array_elements(p.changes::JSONB) AS c \
                         WHERE p.created_at >= $1 AND c->>'change' = 'deleted'";
        let deletions: Vec<(Uuid, Uuid)> = sqlx::query_as(deletions)
            .bind(scope.since)
            .fetch_all(&mut *connection)
            .await?;
        facts.deletions.extend(deletions);
        let revisions = "SELECT r.object_id, o.kind, o.name, r.operation_id, r.spec || COALESCE(d.content, '') AS text \
                         FROM revision r JOIN object o ON o.id = r.object_id \
                         LEFT JOIN document d ON d.digest = r.document WHERE o.name LIKE $1";
        for row in sqlx::query(revisions)
            .bind(scope.pattern())
            .fetch_all(&mut *connection)
            .await?
        {
            let (object, operation) = (row.try_get("object_id")?, row.try_get("operation_id")?);
            // A deletion has a revision, too: of what the write before it left.
            if !facts.deletions.contains(&(operation, object)) {
                facts.revisions.push(Revision {
                    object,
                    name: (row.try_get("kind")?, row.try_get("name")?),
                    operation,
                    text: row.try_get("text")?,
                });
            }
        }
        let deleting = "SELECT id FROM object WHERE name LIKE $1 AND deletion_requested_at IS NOT NULL";
        let deleting: Vec<Uuid> = sqlx::query_scalar(deleting)
            .bind(scope.pattern())
            .fetch_all(&mut *connection)
            .await?;
        facts.deleting.extend(deleting);
        Ok(facts)
    }
}

/// At most so many of one sort are told.
const TOLD: u32 = 5;

async fn damage(connection: &mut PgConnection, scope: &Scope) -> Result<Vec<String>> {
    let all: Vec<String> = CHECKS
        .iter()
        .map(|check| {
            let Check { name, finds, .. } = check;
            format!("(SELECT '{name}: ' || x.found FROM ({finds}) AS x (found) LIMIT {TOLD})")
        })
        .collect();
    let query = format!("{} {}", checks::WITH, all.join(" UNION ALL "));
    let found = sqlx::query_scalar(AssertSqlSafe(query))
        .bind(scope.pattern())
        .bind(scope.since);
    found
        .fetch_all(connection)
        .await
        .context("failed to look for damage")
}
