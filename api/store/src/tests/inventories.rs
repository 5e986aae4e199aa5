//! Which live object belongs to whom.

use threeport_model::{
    Code,
    protocol::{
        claim::{Claim, CompleteRequest},
        inventory::{IntentRequest, IntentResponse, InventoryRow, Observed},
    },
};
use uuid::Uuid;

use super::harness::{Bed, database_test, done};

/// A row of a ConfigMap.
pub(super) fn row(claim: &Claim, runtime_id: Uuid, name: &str) -> InventoryRow {
    InventoryRow {
        id: Uuid::from_bytes(rand::random()),
        runtime_id,
        instance_id: claim.object.id(),
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        plural: "configmaps".to_owned(),
        namespace: "web".to_owned(),
        name: name.to_owned(),
        uid: None,
        plan_hash: None,
        ownership_digest: None,
        applied_resource_version: None,
        completed_hash: None,
        observed: Observed::default(),
        healed_at: Vec::new(),
        unrecorded: false,
    }
}

pub(super) async fn intend(bed: &Bed, claim: &Claim, rows: &[InventoryRow]) -> IntentResponse {
    let request = IntentRequest {
        instance_id: claim.object.id(),
        epoch: claim.epoch,
        rows: rows.to_vec(),
    };
    bed.store.inventory_intent(&request).await.unwrap()
}

database_test!(a_live_object_has_one_instance, bed, {
    let runtime = bed.runtime().await.id();
    bed.definition("web").await;
    let first = bed.instance("first", "web").await;
    let second = bed.instance("second", "web").await;
    let (first, second) = (bed.claim_one(first.id()).await, bed.claim_one(second.id()).await);
    assert!(
        intend(
            bed,
            &first,
            &[row(&first, runtime, "a"), row(&first, runtime, "b")]
        )
        .await
        .conflicts
        .is_empty()
    );
    let wanted = [row(&second, runtime, "c"), row(&second, runtime, "b")];
    let conflicts = intend(bed, &second, &wanted).await.conflicts;
    assert_eq!(conflicts.len(), 1);
    assert_eq!(
        (conflicts[0].id, conflicts[0].instance_name.as_str()),
        (wanted[1].id, "first")
    );
    assert!(
        bed.store
            .object_resources("WorkloadInstance", "second")
            .await
            .unwrap()
            .is_empty(),
        "none were written"
    );
    let again = intend(bed, &first, &[row(&first, runtime, "a")]).await;
    assert!(again.conflicts.is_empty(), "one's own rows are no conflict");
    assert_eq!(
        bed.store
            .object_resources("WorkloadInstance", "first")
            .await
            .unwrap()
            .len(),
        2
    );
});

database_test!(intents_that_race_have_one_winner, bed, {
    let runtime = bed.runtime().await.id();
    bed.definition("web").await;
    let mut tasks = Vec::new();
    for index in 0..8 {
        let instance = bed.instance(&format!("w{index}"), "web").await;
        let claim = bed.claim_one(instance.id()).await;
        let store = bed.store.clone();
        tasks.push(tokio::spawn(async move {
            let rows = vec![row(&claim, runtime, "shared")];
            let request = IntentRequest {
                instance_id: claim.object.id(),
                epoch: claim.epoch,
                rows,
            };
            loop {
                match store.inventory_intent(&request).await {
                    Ok(response) => return response.conflicts.is_empty(),
                    Err(error) => assert_eq!(error.code(), Code::Conflict, "{error:?}"),
                }
            }
        }));
    }
    let mut winners = 0;
    for task in tasks {
        winners += i32::from(task.await.unwrap());
    }
    assert_eq!(winners, 1);
});

database_test!(what_was_applied_is_kept_and_what_is_gone_is_removed, bed, {
    let runtime = bed.runtime().await.id();
    bed.definition("web").await;
    let instance = bed.instance("web", "web").await;
    let claim = bed.claim_one(instance.id()).await;
    let rows = [row(&claim, runtime, "a"), row(&claim, runtime, "b")];
    intend(bed, &claim, &rows).await;
    let mut applied = rows[0].clone();
    applied.uid = Some("uid".to_owned());
    applied.plan_hash = Some("hash".to_owned());
    applied.applied_resource_version = Some("7".to_owned());
    applied.healed_at = vec![1, 2];
    applied.observed.message = "a controller has no word in this".to_owned();
    let end = CompleteRequest {
        inventory: vec![applied.clone()],
        inventory_removed: vec![rows[1].id],
        ..done(&claim)
    };
    bed.store.claim_complete(&end).await.unwrap();
    applied.observed = Observed::default();
    assert_eq!(
        bed.store
            .object_resources("WorkloadInstance", "web")
            .await
            .unwrap(),
        [applied.clone()]
    );
    bed.update(
        "WorkloadInstance",
        "web",
        serde_json::json!({"definition": "web", "suspend": true}),
    )
    .await
    .unwrap();
    let claim = bed.claim_one(instance.id()).await;
    assert_eq!(claim.inventory, [applied]);
    let names: Vec<_> = claim
        .references
        .iter()
        .map(threeport_model::Object::reference)
        .collect();
    assert_eq!(
        names,
        ["WorkloadDefinition/web", "KubernetesRuntimeInstance/local"]
    );
});
