//! The way out.

use serde_json::json;
use threeport_model::{Code, ConditionStatus, kinds::operation::ChangeKind, protocol::apply::Outcome};

use super::{
    faults::Fault,
    harness::{database_test, definition_spec, done, object, status},
    inventories::{intend, row},
    operations::keyed,
};
use crate::{Cursor, Error, Idempotency, Request, StatusFence};

database_test!(what_nobody_refers_to_is_gone_at_once, bed, {
    let created = bed.definition("web").await;
    let written = bed.delete("WorkloadDefinition", "web").await.unwrap();
    assert!(written.object().unwrap().is_deleting());
    assert!(
        bed.store
            .object_get("WorkloadDefinition", "web")
            .await
            .unwrap_err()
            .is_not_found()
    );
    let again = bed.definition("web").await;
    assert_ne!(
        again.id(),
        created.id(),
        "the name is free, the id is not used again"
    );
    assert_eq!(again.generation(), 1);
});

database_test!(what_is_referred_to_names_its_referrers, bed, {
    bed.definition("web").await;
    bed.instance("a", "web").await;
    bed.instance("b", "web").await;
    let error = bed.delete("WorkloadDefinition", "web").await.unwrap_err();
    assert_eq!(error.code(), Code::Referenced);
    assert_eq!(error.referrers(), ["WorkloadInstance/a", "WorkloadInstance/b"]);
    assert!(!bed.get("WorkloadDefinition", "web").await.is_deleting());
});

database_test!(a_cascade_takes_referrers_along_and_ends_by_itself, bed, {
    bed.definition("web").await;
    let first = bed.instance("a", "web").await;
    let second = bed.instance("b", "web").await;
    bed.settle().await;
    let request = bed.request();
    let written = bed
        .store
        .object_delete(&request, "WorkloadDefinition", "web", None, true)
        .await
        .unwrap();
    assert_eq!(written.notices.len(), 3, "{:?}", written.notices);
    let operation = bed.store.operation_get(request.operation_id).await.unwrap();
    assert_eq!(operation.objects.len(), 3);
    assert!(
        operation
            .objects
            .iter()
            .all(|changed| changed.change == ChangeKind::Deleted)
    );
    for (id, name) in [(first.id(), "a"), (second.id(), "b")] {
        assert!(bed.get("WorkloadDefinition", "web").await.is_deleting());
        let claim = bed.claim_one(id).await;
        assert!(claim.object.is_deleting());
        assert_eq!(claim.object.generation(), 2);
        let end = threeport_model::protocol::claim::CompleteRequest {
            finalize: true,
            ..done(&claim)
        };
        bed.store.claim_complete(&end).await.unwrap();
        assert!(
            bed.store
                .object_get("WorkloadInstance", name)
                .await
                .unwrap_err()
                .is_not_found()
        );
    }
    let gone = bed
        .store
        .object_get("WorkloadDefinition", "web")
        .await
        .unwrap_err();
    assert!(gone.is_not_found(), "the last referrer took it along");
    assert!(
        bed.store.pending_oldest().await.unwrap().is_empty(),
        "tombstones have no work"
    );
});

database_test!(a_new_reference_to_what_is_being_deleted_is_refused, bed, {
    bed.definition("web").await;
    let instance = bed.instance("a", "web").await;
    bed.delete("WorkloadInstance", "a").await.unwrap();
    bed.delete("WorkloadDefinition", "web").await.unwrap();
    let definition = bed.get("WorkloadDefinition", "web").await;
    assert!(definition.is_deleting(), "its referrer is still there");
    let late = object("WorkloadInstance", "b", json!({"definition": "web"}));
    let error = bed.store.object_create(&bed.request(), late).await.unwrap_err();
    assert_eq!(error.code(), Code::ReferenceDeleting);
    let orphan = json!({"definition": "web", "deletionPolicy": "Orphan"});
    bed.update("WorkloadInstance", "a", orphan)
        .await
        .expect("who refers to it already may still be changed");
    let applied = bed
        .store
        .object_apply(&bed.request(), vec![definition], false)
        .await
        .unwrap_err();
    assert_eq!(applied.code(), Code::Conflict);
    let claim = bed.claim_one(instance.id()).await;
    assert_eq!(claim.object.spec["deletionPolicy"], "Orphan");
});

database_test!(
    a_cascade_is_answered_with_what_was_asked_for_however_often,
    bed,
    {
        for round in 0..6 {
            let name = format!("web{round}");
            bed.definition(&name).await;
            for instance in ["a", "b", "c"] {
                bed.instance(&format!("{name}{instance}"), &name).await;
            }
            let request = Request {
                idempotency: (round % 2 == 0).then(|| Idempotency {
                    key: name.clone(),
                    body_digest: "body".to_owned(),
                }),
                ..bed.request()
            };
            // With a key the client sends it again; without, the store does, whose COMMIT was not answered.
            if request.idempotency.is_none() {
                bed.store
                    .transactions()
                    .faults
                    .plan("object_delete", Fault::AfterCommit);
            }
            let delete = async |request: &Request| {
                let kind = "WorkloadDefinition";
                bed.store
                    .object_delete(request, kind, &name, None, true)
                    .await
                    .unwrap()
            };
            let mut answered = delete(&request).await;
            if request.idempotency.is_some() {
                let again = Request {
                    operation_id: uuid::Uuid::new_v4(),
                    ..request
                };
                answered = delete(&again).await;
            }
            assert!(answered.replayed);
            assert_eq!(answered.object().unwrap().metadata.name, name);
        }
    }
);

database_test!(a_cascade_on_what_is_being_deleted_is_answered_with_it, bed, {
    bed.create("KubernetesRuntimeDefinition", "local", json!({}))
        .await;
    let spec = json!({"definition": "local", "defaultRuntime": true, "connection": {"inCluster": {}}});
    let runtime = bed.create("KubernetesRuntimeInstance", "local", spec).await;
    bed.definition("web").await;
    let spec = json!({"definition": "web", "runtime": "local"});
    bed.create("WorkloadInstance", "first", spec).await;
    let cascade = async |request: &Request| {
        let kind = "KubernetesRuntimeInstance";
        bed.store
            .object_delete(request, kind, "local", None, true)
            .await
            .unwrap()
    };
    cascade(&bed.request()).await;
    for way in ["answered", "lost", "keyed"] {
        let late = bed.instance(way, "web").await;
        let claim = bed.claim_one(late.id()).await;
        intend(bed, &claim, &[row(&claim, runtime.id(), way)]).await;
        let request = || match way {
            "keyed" => keyed(bed.request(), way),
            _ => bed.request(),
        };
        if way == "lost" {
            bed.store
                .transactions()
                .faults
                .plan("object_delete", Fault::AfterCommit);
        }
        let mut written = cascade(&request()).await;
        if way == "keyed" {
            written = cascade(&request()).await;
        }
        assert_eq!(written.replayed, way != "answered", "{way}");
        let answered = &written.results[0];
        assert_eq!(
            (&answered.object.metadata.name[..], answered.object.generation()),
            ("local", 2),
            "{way}"
        );
        assert_eq!(answered.outcome == Outcome::Unchanged, way != "lost", "{way}");
        assert!(bed.get("WorkloadInstance", way).await.is_deleting());
    }
});

database_test!(asking_twice_changes_nothing, bed, {
    bed.definition("web").await;
    bed.instance("a", "web").await;
    let first = bed.delete("WorkloadInstance", "a").await.unwrap();
    let second = bed.delete("WorkloadInstance", "a").await.unwrap();
    assert_eq!(
        second.object().unwrap().metadata,
        first.object().unwrap().metadata
    );
    assert!(second.notices.is_empty());
});

database_test!(a_runtime_with_inventory_is_referred_to, bed, {
    let runtime = bed.runtime().await;
    bed.store
        .object_take_over(&bed.request(), "KubernetesRuntimeInstance", "local")
        .await
        .unwrap();
    let error = bed
        .delete("KubernetesRuntimeInstance", "local")
        .await
        .unwrap_err();
    assert_eq!(error.referrers(), ["ControlPlaneInstance/threeport"]);
    bed.definition("web").await;
    let instance = bed.instance("a", "web").await;
    let claim = bed.claim_one(instance.id()).await;
    intend(bed, &claim, &[row(&claim, runtime.id(), "web")]).await;
    let error = bed
        .delete("KubernetesRuntimeInstance", "local")
        .await
        .unwrap_err();
    assert_eq!(
        error.referrers(),
        ["ControlPlaneInstance/threeport", "WorkloadInstance/a"]
    );
});

database_test!(nothing_ends_while_something_is_left, bed, {
    let runtime = bed.runtime().await;
    bed.definition("web").await;
    let instance = bed.instance("a", "web").await;
    let claim = bed.claim_one(instance.id()).await;
    let row = row(&claim, runtime.id(), "web");
    intend(bed, &claim, std::slice::from_ref(&row)).await;
    let end = threeport_model::protocol::claim::CompleteRequest {
        finalize: true,
        ..done(&claim)
    };
    let error = bed.store.claim_complete(&end).await.unwrap_err();
    assert_eq!(error.code(), Code::Conflict, "nobody asked for its deletion");
    bed.delete("WorkloadInstance", "a").await.unwrap();
    let error = bed.store.claim_complete(&end).await.unwrap_err();
    assert!(
        matches!(&error, Error::Conflict(message) if message.contains("1 objects are left")),
        "{error:?}"
    );
    let removed = threeport_model::protocol::claim::CompleteRequest {
        inventory_removed: vec![row.id],
        ..end
    };
    bed.store.claim_complete(&removed).await.unwrap();
    assert!(
        bed.store
            .object_get("WorkloadInstance", "a")
            .await
            .unwrap_err()
            .is_not_found()
    );
});

database_test!(the_control_plane_itself_stays, bed, {
    bed.runtime().await;
    bed.store
        .object_take_over(&bed.request(), "ControlPlaneInstance", "threeport")
        .await
        .unwrap();
    let error = bed.delete("ControlPlaneInstance", "threeport").await.unwrap_err();
    assert_eq!(error.code(), Code::Conflict, "{error:?}");
});

database_test!(a_deleted_object_is_a_tombstone_for_watchers, bed, {
    let start = bed.store.watch_start().await.unwrap();
    let created = bed.definition("web").await;
    bed.store
        .status_put(
            "WorkloadDefinition",
            "web",
            &status(ConditionStatus::True, 1, None),
            StatusFence::default(),
        )
        .await
        .unwrap();
    bed.delete("WorkloadDefinition", "web").await.unwrap();
    let start = Cursor {
        at: start.at - 1,
        ..start
    };
    let changes = bed
        .store
        .watch_changes(start, 10, std::time::Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(changes.items.len(), 1);
    assert!(changes.items[0].deleted);
    assert_eq!(changes.items[0].object.id(), created.id());
    assert_eq!(
        changes.items[0].object.spec,
        object("WorkloadDefinition", "x", definition_spec("one")).spec
    );
});

database_test!(a_definition_goes_when_its_last_instance_turns_to_another, bed, {
    bed.definition("old").await;
    bed.definition("new").await;
    bed.instance("web", "old").await;
    let all = bed
        .store
        .object_delete(&bed.request(), "WorkloadDefinition", "old", None, true)
        .await;
    all.unwrap();
    bed.get("WorkloadDefinition", "old").await;
    bed.update(
        "WorkloadInstance",
        "web",
        serde_json::json!({"definition": "new"}),
    )
    .await
    .unwrap();
    let gone = bed.store.object_get("WorkloadDefinition", "old").await;
    assert!(gone.unwrap_err().is_not_found());
});
