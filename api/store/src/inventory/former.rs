//! What instances had in their inventory until a while ago.
//!
//! Intent is written before anything is made, so whatever a paused replica makes late of a living instance was in its
//! inventory once, and somebody removed the row meanwhile. That is remembered here: what is found of it is a leftover. What
//! is not remembered is none, for a database that was restored from a backup lacks what was made since.
//!
//! What not to do: remember it for long. What an instance lost before a backup and was given again after it would be taken
//! for a late create, and deleted.

use uuid::Uuid;

use super::UNRECORDED;
use crate::{
    database::{clock::SECOND, sql::Sql, transaction::Transaction},
    error::Result,
};

/// How long, in microseconds: longer than a replica is paused.
pub(crate) const REMEMBERED: i64 = 3600 * SECOND;

/// Remembers rows of an instance that are removed while it goes on.
pub(crate) async fn remember(transaction: &Transaction, instance: Uuid, ids: &[Uuid]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let forgotten = Sql::new("DELETE FROM former_resource WHERE instance_id = $1 AND removed_at < $2")
        .values([instance.into(), (transaction.now - REMEMBERED).into()]);
    transaction.run(forgotten).await?;
    let mut sql = Sql::new(
        "INSERT INTO former_resource (instance_id, runtime_id, api_group, kind, namespace, name, removed_at) \
         SELECT instance_id, runtime_id, api_group, kind, namespace, name, ",
    );
    sql.bind(transaction.now)
        .push(" FROM inventory WHERE instance_id = ");
    sql.bind(instance).push(" AND leftover <> ").bind(UNRECORDED);
    sql.push(" AND id IN ").list(ids).push(
        " ON CONFLICT (instance_id, runtime_id, api_group, kind, namespace, name) \
         DO UPDATE SET removed_at = excluded.removed_at",
    );
    transaction.run(sql).await.map(drop)
}

/// The statement of those of the `identities`, a common table expression `v`, that instances had until a while ago.
pub(crate) fn of(mut identities: Sql, now: i64) -> Sql {
    identities.push(
        " SELECT f.instance_id, f.api_group, f.kind, f.namespace, f.name FROM v JOIN former_resource f \
         ON f.instance_id = v.instance_id AND f.runtime_id = v.runtime_id AND f.api_group = v.api_group \
         AND f.kind = v.kind AND f.namespace = v.namespace AND f.name = v.name WHERE f.removed_at >= ",
    );
    identities.bind(now - REMEMBERED);
    identities
}
