//! The database's clock is set back: what was written before is of a time that is to come.

use threeport_model::protocol::{
    agent::HeartbeatRequest,
    claim::{CompleteRequest, Next},
};
use uuid::Uuid;

use super::{
    agents::applied,
    harness::{Bed, claim_request, database_test, done},
};
use crate::database::{
    clock::SECOND,
    sql::{Fetch, Sql},
};

/// Has what was written an hour ahead of the clock.
async fn set_back(bed: &Bed) {
    let hour = 3600 * SECOND;
    for text in [
        "UPDATE pending SET since = since + $1, not_before = not_before + $1, \
         claim_until = CASE WHEN claim_until > 0 THEN claim_until + $1 ELSE 0 END",
        "UPDATE agent SET registered_at = registered_at + $1, last_seen = last_seen + $1",
        "UPDATE object_status SET verify_at = verify_at + $1, updated_at = updated_at + $1",
    ] {
        let written = Sql::new(text).values([hour.into()]);
        bed.store.0.connections.writer.run(written).await.unwrap();
    }
}

/// The time in a row: the column `at`.
async fn time(bed: &Bed, row: &str, id: Uuid) -> i64 {
    let query = Sql::new(format!("SELECT {row} = $1")).values([id.into()]);
    let row = bed.store.reader().one(query).await.unwrap();
    row.unwrap().get("at").unwrap()
}

database_test!(a_clock_that_was_set_back_holds_up_no_work, bed, {
    let (_, agent) = applied(bed).await;
    let beat = async |seen| {
        let epoch = agent.epoch;
        let request = HeartbeatRequest { epoch, seen };
        bed.store.agent_heartbeat(agent.runtime_id, &request).await
    };
    assert_eq!(
        bed.store.pending_verify(100).await.unwrap().pending,
        0,
        "it goes on"
    );
    let changed = bed.definition("changed").await.id();
    let taken = bed.definition("taken").await.id();
    let (gone, _) = bed
        .store
        .claim_take(&claim_request("gone", &[taken]))
        .await
        .unwrap();
    assert_eq!(gone.claims.len(), 1);

    set_back(bed).await;
    let remembered = beat(None).await.unwrap().seen;
    let failed = bed.definition("failed").await.id();
    let claim = bed.claim_one(failed).await;
    let next = Next::After {
        milliseconds: 600_000,
    };
    let later = CompleteRequest { next, ..done(&claim) };
    bed.store.claim_complete(&later).await.unwrap();
    assert!(bed.claim(&[changed]).await.is_empty(), "for an hour");

    let verified = bed.store.pending_verify(100).await.unwrap().pending;
    assert!(verified > 0, "each would be an hour later");
    assert_eq!(bed.claim(&[changed]).await.len(), 1);
    let waiting = bed.claim(&[failed]).await;
    assert!(waiting.is_empty(), "what failed a moment ago waits");
    let now = bed.store.watch_start().await.unwrap().at;
    let until = time(bed, "claim_until AS at FROM pending WHERE object_id", taken).await;
    assert!(until <= now + 10 * SECOND, "{until} {now}");
    let runtime = agent.runtime_id;
    let heard = time(bed, "last_seen AS at FROM agent WHERE runtime_id", runtime).await;
    assert!(heard <= now, "{heard} {now}");
    let again = beat(remembered).await.unwrap().seen;
    assert!(again < remembered, "{again:?} {remembered:?}");
});
