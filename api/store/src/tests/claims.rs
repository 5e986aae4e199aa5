//! Work: pending rows, claims, fences.

use std::time::Duration;

use serde_json::json;
use threeport_model::{
    Code, ConditionStatus,
    kinds::workload_definition::InstanceCounts,
    protocol::claim::{ClaimKey, CompleteRequest, Next, RenewRequest, StatusUpdate, Trigger},
};

use super::{
    dependencies::store_dependency,
    harness::{Bed, claim_request, database_test, definition_spec, done, ready, status},
};
use crate::{
    StatusFence,
    database::sql::{Fetch, Sql},
};

/// Makes every claim run out and every delay end: what time would do.
pub(super) async fn expire(bed: &Bed) {
    bed.store
        .0
        .connections
        .writer
        .run(Sql::new("UPDATE pending SET claim_until = 0, not_before = 1"))
        .await
        .unwrap();
}

database_test!(work_is_given_once_until_it_is_done, bed, {
    let definition = bed.definition("web").await;
    let claim = bed.claim_one(definition.id()).await;
    assert_eq!(
        (claim.trigger, claim.attempts, claim.epoch),
        (Trigger::Change, 0, 1)
    );
    assert_eq!(claim.object.metadata, definition.metadata);
    let (other, _) = bed
        .store
        .claim_take(&claim_request("other", &[definition.id()]))
        .await
        .unwrap();
    assert!(other.claims.is_empty());
    assert_eq!(other.busy, [definition.id()]);
    assert!(
        bed.store
            .claim_take(&claim_request("other", &[]))
            .await
            .unwrap()
            .0
            .claims
            .is_empty()
    );
    let (response, _) = bed.store.claim_complete(&done(&claim)).await.unwrap();
    assert!(!response.pending);
    let (after, _) = bed
        .store
        .claim_take(&claim_request("other", &[definition.id()]))
        .await
        .unwrap();
    assert!(after.claims.is_empty() && after.busy.is_empty());
});

database_test!(a_paused_replica_cannot_overwrite_its_successor, bed, {
    bed.runtime().await;
    bed.definition("web").await;
    let instance = bed.instance("web", "web").await;
    let paused = bed.claim_one(instance.id()).await;
    expire(bed).await;
    let successor = bed.claim_one(instance.id()).await;
    assert_eq!(successor.epoch, paused.epoch + 1);
    let update = status(ConditionStatus::True, 1, Some((1, 1)));
    let late = CompleteRequest {
        status: Some(update.clone()),
        ..done(&paused)
    };
    assert_eq!(
        bed.store.claim_complete(&late).await.unwrap_err().code(),
        Code::PreconditionFailed
    );
    assert_eq!(ready(&bed.get("WorkloadInstance", "web").await).1, "Progressing");
    let row = crate::tests::inventories::row(&paused, paused.references[1].id(), "web");
    let intent = threeport_model::protocol::inventory::IntentRequest {
        instance_id: instance.id(),
        epoch: paused.epoch,
        rows: vec![row],
    };
    assert_eq!(
        bed.store.inventory_intent(&intent).await.unwrap_err().code(),
        Code::PreconditionFailed
    );
    let error = bed
        .store
        .status_put(
            "WorkloadInstance",
            "web",
            &update,
            StatusFence::epoch(Some(paused.epoch)),
        )
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::PreconditionFailed);
    let renew = |claim: &threeport_model::protocol::claim::Claim| RenewRequest {
        holder: "holder".to_owned(),
        claims: vec![ClaimKey {
            id: claim.object.id(),
            epoch: claim.epoch,
        }],
        ttl_seconds: 10,
    };
    assert!(
        bed.store
            .claim_renew(&renew(&paused))
            .await
            .unwrap()
            .renewed
            .is_empty()
    );
    assert_eq!(
        bed.store.claim_renew(&renew(&successor)).await.unwrap().renewed,
        [instance.id()]
    );
    bed.store
        .claim_complete(&CompleteRequest {
            status: Some(update),
            ..done(&successor)
        })
        .await
        .unwrap();
});

database_test!(a_token_that_was_refreshed_during_a_run_survives, bed, {
    let definition = bed.definition("web").await;
    let claim = bed.claim_one(definition.id()).await;
    bed.update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    let other = claim_request("other", &[definition.id()]);
    let given = bed.store.claim_take(&other).await.unwrap().0.claims;
    assert!(given.is_empty(), "it is being worked on");
    let (response, _) = bed.store.claim_complete(&done(&claim)).await.unwrap();
    assert!(response.pending);
    let again = bed.claim_one(definition.id()).await;
    assert_ne!(again.token, claim.token);
    assert_eq!(again.object.generation(), 2);
});

database_test!(a_changed_definition_has_its_instances_run, bed, {
    bed.definition("web").await;
    bed.definition("other").await;
    let instance = bed.instance("a", "web").await;
    let untouched = bed.instance("b", "other").await;
    bed.settle().await;
    let written = bed
        .update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    assert!(written.notices.iter().any(|notice| notice.id == instance.id()));
    let claim = bed.claim_one(instance.id()).await;
    assert_eq!(claim.references[0].generation(), 2, "the world is as it is now");
    assert!(bed.claim(&[untouched.id()]).await.is_empty());
});

database_test!(retries_wait_and_count_and_a_change_begins_anew, bed, {
    let definition = bed.definition("web").await;
    let claim = bed.claim_one(definition.id()).await;
    let retry = CompleteRequest {
        next: Next::After { milliseconds: 60_000 },
        ..done(&claim)
    };
    bed.store.claim_complete(&retry).await.unwrap();
    let (waiting, _) = bed
        .store
        .claim_take(&claim_request("holder", &[definition.id()]))
        .await
        .unwrap();
    assert!(waiting.claims.is_empty());
    assert_eq!(waiting.busy, [definition.id()]);
    expire(bed).await;
    let second = bed.claim_one(definition.id()).await;
    assert_eq!((second.trigger, second.attempts), (Trigger::Retry, 1));
    let recheck = CompleteRequest {
        next: Next::Recheck { milliseconds: 60_000 },
        ..done(&second)
    };
    bed.store.claim_complete(&recheck).await.unwrap();
    bed.update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    let third = bed.claim_one(definition.id()).await;
    assert_eq!((third.trigger, third.attempts), (Trigger::Change, 0));
});

database_test!(a_claim_that_is_given_back_is_as_it_was, bed, {
    let definition = bed.definition("web").await;
    let id = definition.id();
    let first = bed.claim_one(id).await;
    let retry = CompleteRequest {
        next: Next::After { milliseconds: 0 },
        ..done(&first)
    };
    bed.store.claim_complete(&retry).await.unwrap();
    let times = async || {
        let query = Sql::new("SELECT reconciled_at, verify_at FROM object_status WHERE object_id = $1");
        let row = bed.store.reader().one(query.values([id.into()])).await;
        let row = row.unwrap().unwrap();
        let reconciled: i64 = row.get("reconciled_at").unwrap();
        (reconciled, row.get::<Option<i64>>("verify_at").unwrap())
    };
    let before = times().await;
    let second = bed.claim_one(id).await;
    assert_eq!((second.trigger, second.attempts), (Trigger::Retry, 1));
    let release = |milliseconds, claim| CompleteRequest {
        next: Next::Release { milliseconds },
        ..done(claim)
    };
    bed.store.claim_complete(&release(0, &second)).await.unwrap();
    assert_eq!(times().await, before, "nobody has worked on it");
    let third = bed.claim_one(id).await;
    assert_eq!((third.trigger, third.attempts), (Trigger::Retry, 1));
    bed.store.claim_complete(&release(60_000, &third)).await.unwrap();
    assert!(bed.claim(&[id]).await.is_empty(), "not due yet");
    expire(bed).await;
    let fourth = bed.claim_one(id).await;
    bed.update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    let (response, _) = bed.store.claim_complete(&release(60_000, &fourth)).await.unwrap();
    assert!(response.pending, "a change is due at once");
    let fifth = bed.claim_one(id).await;
    assert_eq!((fifth.trigger, fifth.attempts), (Trigger::Change, 0));
});

database_test!(fresh_changes_come_before_verification, bed, {
    let old = bed.definition("old").await;
    bed.settle().await;
    let verify = Sql::new("UPDATE object_status SET verify_at = 1");
    bed.store.0.connections.writer.run(verify).await.unwrap();
    assert_eq!(bed.store.pending_verify(100).await.unwrap().pending, 1);
    assert_eq!(
        bed.store.pending_verify(100).await.unwrap().pending,
        0,
        "it is pending already"
    );
    let fresh = bed.definition("fresh").await;
    let mut request = claim_request("holder", &[]);
    request.limit = 1;
    let first = bed.store.claim_take(&request).await.unwrap().0.claims;
    assert_eq!(first[0].object.id(), fresh.id());
    let second = bed.store.claim_take(&request).await.unwrap().0.claims;
    assert_eq!(
        (second[0].object.id(), second[0].trigger),
        (old.id(), Trigger::Verification)
    );
    bed.store.claim_complete(&done(&second[0])).await.unwrap();
    assert_eq!(
        bed.store.pending_verify(100).await.unwrap().pending,
        0,
        "it was verified just now"
    );
});

database_test!(a_status_is_written_when_it_differs, bed, {
    bed.runtime().await;
    bed.definition("web").await;
    let instance = bed.instance("web", "web").await;
    let claim = bed.claim_one(instance.id()).await;
    let future = CompleteRequest {
        status: Some(status(ConditionStatus::True, 2, None)),
        ..done(&claim)
    };
    assert_eq!(
        bed.store.claim_complete(&future).await.unwrap_err().code(),
        Code::PreconditionFailed
    );
    let update = CompleteRequest {
        status: Some(status(ConditionStatus::True, 1, Some((1, 1)))),
        ..done(&claim)
    };
    let (response, notices) = bed.store.claim_complete(&update).await.unwrap();
    assert!(response.status_written);
    assert!(notices.is_empty() || notices.iter().all(|notice| notice.kind == "WorkloadDefinition"));
    let read = bed.get("WorkloadInstance", "web").await;
    assert_eq!(ready(&read), ("True".to_owned(), "Tested".to_owned()));
    assert_eq!(
        read.metadata.resource_version,
        Some(1),
        "a rollout never makes a person's If-Match fail"
    );
    bed.update(
        "WorkloadInstance",
        "web",
        json!({"definition": "web", "suspend": true}),
    )
    .await
    .unwrap();
    let again = bed.claim_one(instance.id()).await;
    let same = CompleteRequest {
        status: Some(status(ConditionStatus::True, 1, Some((1, 1)))),
        ..done(&again)
    };
    assert!(!bed.store.claim_complete(&same).await.unwrap().0.status_written);
});

database_test!(an_edited_definition_makes_its_instances_progress, bed, {
    bed.definition("web").await;
    let instance = bed.instance("web", "web").await;
    let claim = bed.claim_one(instance.id()).await;
    let update = CompleteRequest {
        status: Some(status(ConditionStatus::True, 1, Some((1, 1)))),
        ..done(&claim)
    };
    bed.store.claim_complete(&update).await.unwrap();
    assert_eq!(ready(&bed.get("WorkloadInstance", "web").await).0, "True");
    bed.update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    assert_eq!(
        ready(&bed.get("WorkloadInstance", "web").await),
        ("False".to_owned(), "Progressing".to_owned())
    );
    let claim = bed.claim_one(instance.id()).await;
    let failed = CompleteRequest {
        status: Some(status(ConditionStatus::False, 1, Some((1, 1)))),
        ..done(&claim)
    };
    bed.store.claim_complete(&failed).await.unwrap();
    let reason = ready(&bed.get("WorkloadInstance", "web").await).1;
    assert_eq!(reason, "Tested", "it speaks about the pair that is wanted now");
});

database_test!(definitions_count_their_instances, bed, {
    let definition = bed.definition("web").await;
    for (name, word, revision) in [
        ("a", ConditionStatus::True, Some((1, 1))),
        ("b", ConditionStatus::False, Some((1, 1))),
        ("c", ConditionStatus::True, Some((0, 1))),
        ("d", ConditionStatus::False, None),
    ] {
        let instance = bed.instance(name, "web").await;
        let claim = bed.claim_one(instance.id()).await;
        let update = CompleteRequest {
            status: Some(status(word, 1, revision)),
            ..done(&claim)
        };
        bed.store.claim_complete(&update).await.unwrap();
    }
    bed.create(
        "WorkloadInstance",
        "suspended",
        json!({"definition": "web", "suspend": true}),
    )
    .await;
    expire(bed).await;
    let claim = bed.claim_one(definition.id()).await;
    assert_eq!(
        claim.instances,
        Some(InstanceCounts {
            total: 4,
            current: 2,
            ready: 1
        })
    );
    assert_eq!(
        claim.worst_instance.as_deref(),
        Some("WorkloadInstance/b: as the test says")
    );
    bed.delete("WorkloadInstance", "b").await.unwrap();
    bed.store.claim_complete(&done(&claim)).await.unwrap();
    expire(bed).await;
    let claim = bed.claim_one(definition.id()).await;
    assert_eq!(
        claim.instances,
        Some(InstanceCounts {
            total: 3,
            current: 1,
            ready: 1
        })
    );
});

database_test!(a_definition_runs_at_most_once_a_second, bed, {
    let definition = bed.definition("web").await;
    let mut instances = Vec::new();
    for index in 0..10 {
        instances.push(bed.instance(&format!("w{index}"), "web").await);
    }
    let claim = bed.claim_one(definition.id()).await;
    bed.store.claim_complete(&done(&claim)).await.unwrap();
    for instance in &instances {
        let claim = bed.claim_one(instance.id()).await;
        let update = CompleteRequest {
            status: Some(status(ConditionStatus::True, 1, Some((1, 1)))),
            ..done(&claim)
        };
        bed.store.claim_complete(&update).await.unwrap();
    }
    let row = Sql::new(
        "SELECT p.not_before - s.reconciled_at AS gap FROM pending p JOIN object_status s \
        ON s.object_id = p.object_id WHERE p.object_id = $1",
    )
    .values([definition.id().into()]);
    let gap: i64 = bed
        .store
        .reader()
        .one(row)
        .await
        .unwrap()
        .expect("it is pending")
        .get("gap")
        .unwrap();
    assert!(gap >= 1_000_000, "{gap}");
});

database_test!(what_depends_on_an_instance_is_woken_by_its_readiness, bed, {
    bed.definition("web").await;
    let database = bed.instance("db", "web").await;
    let spec = json!({"definition": "web", "dependsOn": [{"kind": "WorkloadInstance", "name": "db"}]});
    let waiting = bed.create("WorkloadInstance", "web", spec).await;
    let claim = bed.claim_one(waiting.id()).await;
    let names: Vec<_> = claim
        .references
        .iter()
        .map(threeport_model::Object::reference)
        .collect();
    assert_eq!(names, ["WorkloadDefinition/web", "WorkloadInstance/db"]);
    let wait = CompleteRequest {
        next: Next::After {
            milliseconds: 600_000,
        },
        ..done(&claim)
    };
    bed.store.claim_complete(&wait).await.unwrap();
    let claim = bed.claim_one(database.id()).await;
    let update = CompleteRequest {
        status: Some(status(ConditionStatus::True, 1, Some((1, 1)))),
        ..done(&claim)
    };
    let (_, notices) = bed.store.claim_complete(&update).await.unwrap();
    assert!(
        notices.iter().any(|notice| notice.id == waiting.id()),
        "{notices:?}"
    );
    bed.claim_one(waiting.id()).await;
});

database_test!(what_refers_to_itself_ends_its_run_like_any_other, bed, {
    bed.definition("web").await;
    let web = bed.instance("web", "web").await;
    store_dependency(bed, &web, &web).await;
    let claim = bed.claim_one(web.id()).await;
    let update = CompleteRequest {
        status: Some(status(ConditionStatus::True, 1, Some((1, 1)))),
        ..done(&claim)
    };
    let (response, notices) = bed.store.claim_complete(&update).await.unwrap();
    assert!(response.status_written && !response.pending, "{response:?}");
    assert!(notices.iter().all(|notice| notice.id != web.id()), "{notices:?}");
});

database_test!(the_relay_sees_what_is_due_and_unclaimed, bed, {
    let definition = bed.definition("web").await;
    assert!(
        bed.store
            .pending_due(10, Duration::from_secs(60))
            .await
            .unwrap()
            .is_empty(),
        "too fresh"
    );
    let due = bed.store.pending_due(10, Duration::ZERO).await.unwrap();
    assert_eq!(due.len(), 1);
    let oldest = bed.store.pending_oldest().await.unwrap();
    assert_eq!(
        (oldest[0].kind.as_str(), oldest[0].count),
        ("WorkloadDefinition", 1)
    );
    let claim = bed.claim_one(definition.id()).await;
    assert_eq!(due[0].token, claim.token);
    assert!(
        bed.store
            .pending_due(10, Duration::ZERO)
            .await
            .unwrap()
            .is_empty()
    );
    bed.store.claim_complete(&done(&claim)).await.unwrap();
    assert!(bed.store.pending_oldest().await.unwrap().is_empty());
});

database_test!(many_claimers_share_the_work_without_overlap, bed, {
    for index in 0..60 {
        bed.definition(&format!("w{index}")).await;
    }
    let mut tasks = Vec::new();
    for index in 0..6 {
        let store = bed.store.clone();
        tasks.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            let mut request = claim_request(&format!("holder {index}"), &[]);
            request.limit = 7;
            loop {
                let claims = store.claim_take(&request).await.unwrap().0.claims;
                if claims.is_empty() {
                    return ids;
                }
                for claim in claims {
                    ids.push(claim.object.id());
                    store.claim_complete(&done(&claim)).await.unwrap();
                }
            }
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    let distinct: std::collections::BTreeSet<_> = all.iter().copied().collect();
    assert_eq!((all.len(), distinct.len()), (60, 60));
});

database_test!(a_dependent_is_woken_by_whichever_condition_it_waits_for, bed, {
    bed.definition("web").await;
    let runtime = bed.runtime().await;
    let depends = |condition: &str| {
        json!({"definition": "web", "dependsOn": [
            {"kind": "KubernetesRuntimeInstance", "name": "local", "condition": condition}]})
    };
    let waiting = bed
        .create("WorkloadInstance", "waiting", depends("Reachable"))
        .await;
    bed.settle().await;
    let says = |kind: &str, word: ConditionStatus| {
        let condition = threeport_model::Condition::new(kind, word, "Tested", "", runtime.generation());
        StatusUpdate {
            observed_generation: runtime.generation(),
            status: json!({"observedGeneration": runtime.generation(), "conditions": [condition]}),
        }
    };
    for (word, woken) in [(ConditionStatus::False, false), (ConditionStatus::True, true)] {
        let notices = bed
            .store
            .status_put(
                &runtime.kind,
                "local",
                &says("Reachable", word),
                StatusFence::default(),
            )
            .await
            .unwrap();
        assert_eq!(
            notices.iter().any(|notice| notice.id == waiting.id()),
            woken,
            "{word:?}"
        );
    }
});

database_test!(a_status_follows_on_the_one_that_was_read, bed, {
    bed.definition("web").await;
    let (_, version) = bed.store.status_get("WorkloadDefinition", "web").await.unwrap();
    let fence = StatusFence {
        version: Some(version),
        ..StatusFence::default()
    };
    let put = async |word| {
        let update = status(word, 1, None);
        bed.store
            .status_put("WorkloadDefinition", "web", &update, fence)
            .await
    };
    put(ConditionStatus::True).await.unwrap();
    let refused = put(ConditionStatus::False).await.unwrap_err();
    assert_eq!(refused.code(), Code::PreconditionFailed);
    assert_eq!(ready(&bed.get("WorkloadDefinition", "web").await).0, "True");
});
