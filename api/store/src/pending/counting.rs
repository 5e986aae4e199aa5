//! When definitions are due to count how many instances they have, and how these are.
//!
//! In a rollout hundreds of transactions change an instance each, and with it what its definition counts. So a definition
//! runs at most once a second for that, and whoever finds its work due already, or within the second, leaves that as it is:
//! who takes it counts later. Writing the row each time would have all of them collide. Work that is behind others', as all
//! that is only verified, becomes as urgent as a count is. One that is being deleted has nothing to count: it goes when its
//! last instance does, and hears of that.
//!
//! **Later than who?** PostgreSQL lets somebody take the work and count while a transaction that left it as it is has not
//! committed: who reads collides with nobody ([`connection`]), and no token says that the count is old. It would stay wrong
//! until the definition is verified. So there the row is locked by all who leave it, `FOR SHARE`, until they end: taking the
//! work changes the row and so waits for them, and the instances are read when it was taken ([`claim`]). They don't wait
//! for each other; those who began to read before somebody took the work, and come to lock it after, are run again. SQLite
//! has one writer, and in CockroachDB whoever counts does so at SERIALIZABLE, too ([`transaction`]).
//!
//! What not to do: don't write a row of a definition in a transaction that may have left it before. Two that do so at once
//! wait for each other, until PostgreSQL ends one a second later and it is run again. (Whoever applies a definition together
//! with its instances does: such applies seldom come at once, and seldom while the definition is due.)
//!
//! [`claim`]: crate::claim
//! [`connection`]: crate::database::connection
//! [`transaction`]: crate::database::transaction

use threeport_model::protocol::claim::Trigger;
use uuid::Uuid;

use super::{insert_select_due, priority, wake};
use crate::{
    database::{clock::SECOND, connection::Dialect, sql::Sql, transaction::Transaction},
    error::Result,
    reference::DEFINITION,
    request::Notice,
};

/// Makes the definitions of instances due: see [`of_definitions`].
pub(crate) async fn wake_definitions(transaction: &Transaction, instances: &[Uuid]) -> Result<Vec<Notice>> {
    if instances.is_empty() {
        return Ok(Vec::new());
    }
    wake(transaction, of_definitions(transaction, instances)).await
}

/// The statement that makes the definitions of instances due, each at most once a second: their counts follow from their
/// instances. A definition that is due already, and is as urgent, is left alone, unless a run of it has not ended yet, its
/// claim run out or not: that counted before, and would remove the row.
pub(crate) fn of_definitions(transaction: &Transaction, instances: &[Uuid]) -> Sql {
    counting(transaction, |sql| {
        sql.push("reference r JOIN object o ON o.id = r.to_id").push(WORK);
        sql.push("r.field = ").bind(DEFINITION);
        sql.push(" AND r.from_id IN ").list(instances);
    })
}

/// [`of_definitions`], of definitions that are known already: what refers to them is written by the same statement.
pub(crate) fn of_counting(transaction: &Transaction, definitions: &[Uuid]) -> Sql {
    counting(transaction, |sql| {
        sql.push("object o").push(WORK).push("o.id IN ").list(definitions);
    })
}

/// What is joined to a definition `o`.
const WORK: &str =
    " JOIN object_status s ON s.object_id = o.id LEFT JOIN pending p ON p.object_id = o.id WHERE ";

/// The statement that makes definitions due: `which` appends where they are from, [`WORK`] and which they are.
fn counting(transaction: &Transaction, which: impl FnOnce(&mut Sql)) -> Sql {
    let now = transaction.now;
    let not_before = |sql: &mut Sql| {
        sql.push("CASE WHEN s.reconciled_at <= ").bind(now - SECOND);
        sql.push(" AND p.object_id IS NULL THEN ")
            .bind(now)
            .push(" ELSE ")
            .bind(now + SECOND)
            .push(" END");
    };
    let held = if transaction.dialect == Dialect::Postgresql {
        " FOR SHARE"
    } else {
        ""
    };
    insert_select_due(transaction, Trigger::Observation, not_before, |sql| {
        sql.push("FROM ");
        which(sql);
        sql.push(
            " AND o.deleted_at IS NULL AND o.deletion_requested_at IS NULL AND NOT EXISTS (SELECT 1 FROM pending q \
             WHERE q.object_id = o.id AND q.claim_holder = '' AND q.not_before <= ",
        )
        .bind(now + SECOND)
        .push(" AND q.priority <= ")
        .bind(priority(Trigger::Observation))
        .push(held)
        .push(")");
    })
}
