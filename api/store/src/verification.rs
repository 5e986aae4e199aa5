//! Re-verification: every object is looked at again every ten to thirty minutes, spread out, behind fresh work, whether
//! or not anything said that it should be. So it is here, too, that what waits is seen to where the clock was set back.

use threeport_model::protocol::claim::Trigger;
use uuid::Uuid;

use crate::{
    Store,
    database::{clock::SECOND, sql::Sql, transaction::Transaction},
    error::Result,
    pending, set_back, writes,
};

/// The longest until an object is verified next.
pub(crate) const LONGEST: i64 = 1800 * SECOND;

/// When an object is verified next: ten to thirty minutes from now, spread by its id.
pub(crate) fn next(id: Uuid, now: i64) -> i64 {
    let spread = i64::try_from(id.as_u128() % 1200).unwrap_or_default();
    now + (600 + spread) * SECOND
}

/// The objects that are due, the most overdue first.
pub(crate) fn due(now: i64, limit: i64) -> Sql {
    Sql::new(
        "SELECT v.object_id, o.kind FROM (SELECT object_id, verify_at FROM object_status WHERE verify_at <= $1 \
         ORDER BY verify_at, object_id LIMIT $2) AS v JOIN object o ON o.id = v.object_id \
         ORDER BY v.verify_at, v.object_id",
    )
    .values([now.into(), limit.into()])
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many objects became pending.
    pub pending: u64,
    more: bool,
}

impl Verified {
    /// Whether more of them may be due right now.
    pub fn more(&self) -> bool {
        self.more
    }
}

async fn verify(transaction: &Transaction, limit: u32) -> Result<Verified> {
    let now = transaction.now;
    let mut objects: Vec<(Uuid, String)> = Vec::new();
    for row in transaction.all(due(now, i64::from(limit))).await? {
        objects.push((row.get("object_id")?, row.get("kind")?));
    }
    if objects.is_empty() {
        return Ok(Verified::default());
    }
    let more = u32::try_from(objects.len()).unwrap_or(u32::MAX) >= limit;
    // Those that are pending already will be looked at anyway; they are asked about again later.
    let mut later = Sql::new("WITH v (id, verify_at) AS (VALUES ");
    later
        .rows(
            objects
                .iter()
                .map(|(id, _)| vec![(*id).into(), next(*id, now).into()]),
        )
        .push(") UPDATE object_status SET verify_at = v.verify_at FROM v WHERE object_id = v.id");
    transaction.run(later).await?;
    let objects: Vec<(Uuid, &str)> = objects.iter().map(|(id, kind)| (*id, kind.as_str())).collect();
    let missing = pending::insert_missing(transaction, &objects, Trigger::Verification);
    let pending = transaction.run(missing).await?;
    Ok(Verified { pending, more })
}

impl Store {
    /// Makes objects pending whose re-verification is due: of at most `limit` of them, the most overdue first, those that
    /// are not pending already. Answers how many became so, and whether there were as many as `limit`.
    pub async fn pending_verify(&self, limit: u32) -> Result<Verified> {
        let input = (limit, self.is_clock_set_back().await?);
        let transactions = self.transactions();
        let done = transactions.run(
            writes::PENDING_VERIFY,
            &input,
            |transaction, (limit, is_set_back)| {
                Box::pin(async move {
                    let brought_back = if *is_set_back {
                        set_back::follow(transaction).await?
                    } else {
                        0
                    };
                    Ok((verify(transaction, *limit).await?, brought_back))
                })
            },
        );
        let (verified, brought_back) = done.await?;
        if brought_back > 0 {
            tracing::warn!(
                rows = brought_back,
                "the database's clock was set back: what waited for a time before that waits no longer"
            );
        }
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_is_spread_over_ten_to_thirty_minutes() {
        let times: Vec<i64> = (0..1200)
            .map(|id| next(Uuid::from_u128(id * 7919), 0) / SECOND)
            .collect();
        assert_eq!(times.iter().min(), Some(&600));
        assert_eq!(times.iter().max(), Some(&1799));
        assert!(times.iter().all(|time| time * SECOND < LONGEST));
    }
}
