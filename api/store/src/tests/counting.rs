//! What a definition counts, while somebody changes it.

use std::time::Duration;

use threeport_model::{
    ConditionStatus,
    kinds::workload_definition::InstanceCounts,
    protocol::claim::{StatusUpdate, Trigger},
};
use tokio::{sync::Semaphore, time::timeout};
use uuid::Uuid;

use super::harness::{claim_request, database_test, on_servers, status};
use crate::{
    Notice, Result, StatusFence, Store,
    database::{
        connection::Dialect,
        sql::{Fetch, Sql},
    },
    status::{Subject, write},
    writes,
};

/// For so long the claim is watched.
const WATCHED: Duration = Duration::from_millis(500);

/// Says when a status was written, and commits only when it is told.
struct Slow {
    written: Semaphore,
    end: Semaphore,
}

impl Slow {
    fn new() -> Self {
        Self {
            written: Semaphore::new(0),
            end: Semaphore::new(0),
        }
    }

    async fn write(&self, store: &Store, id: Uuid, update: &StatusUpdate) -> Result<Vec<Notice>> {
        let input = (self, id, update);
        store
            .transactions()
            .run(writes::STATUS_PUT, &input, |transaction, (slow, id, update)| {
                Box::pin(async move {
                    let subject = Subject::by_id(transaction, *id).await?;
                    let woken = write(transaction, &subject, update, Some(1)).await?;
                    slow.written.add_permits(1);
                    let told = slow.end.acquire().await.unwrap();
                    drop(told);
                    Ok(woken)
                })
            })
            .await
    }
}

/// Of work that is due and that nobody has begun. Elsewhere than in PostgreSQL one of both is run again, or waits.
#[test]
fn a_definition_counts_what_was_changed_by_whoever_left_its_work_as_it_was() {
    on_servers(&async |bed| {
        if bed.store.dialect() != Dialect::Postgresql {
            println!("{} has no reader beside a writer", bed.store.database());
            return;
        }
        let definition = bed.definition("web").await.id();
        let instance = bed.instance("web", "web").await.id();
        let (slow, update) = (Slow::new(), status(ConditionStatus::True, 1, Some((1, 1))));
        let request = claim_request("holder", &[definition]);
        let take = async {
            slow.written.acquire().await.unwrap().forget();
            let mut taking = Box::pin(bed.store.claim_take(&request));
            assert!(
                timeout(WATCHED, &mut taking).await.is_err(),
                "it counts before the change is there"
            );
            slow.end.add_permits(1);
            taking.await.unwrap().0.claims
        };
        let (woken, claims) = tokio::join!(slow.write(&bed.store, instance, &update), take);
        assert_eq!(
            woken.unwrap().len(),
            0,
            "the control: its work was left as it was"
        );
        let all = InstanceCounts {
            total: 1,
            current: 1,
            ready: 1,
        };
        assert_eq!(claims[0].instances, Some(all));
    });
}

database_test!(a_count_does_not_wait_behind_what_is_only_verified, bed, {
    let definition = bed.definition("web").await.id();
    bed.instance("web", "web").await;
    bed.settle().await;
    let overdue = Sql::new("UPDATE object_status SET verify_at = 1 WHERE object_id = $1");
    let overdue = overdue.values([definition.into()]);
    bed.store.0.connections.writer.run(overdue).await.unwrap();
    assert_eq!(bed.store.pending_verify(100).await.unwrap().pending, 1);
    let update = status(ConditionStatus::True, 1, Some((1, 1)));
    let put = bed
        .store
        .status_put("WorkloadInstance", "web", &update, StatusFence::default());
    let told = put.await.unwrap();
    assert!(told.iter().any(|notice| notice.id == definition), "{told:?}");
    assert_eq!(bed.claim_one(definition).await.trigger, Trigger::Observation);
});
