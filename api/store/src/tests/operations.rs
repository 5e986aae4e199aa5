//! Who did what, and requests that come twice.

use threeport_model::{
    Code,
    kinds::operation::ChangeKind,
    protocol::{apply::Outcome, claim::CompleteRequest},
};

use super::harness::{database_test, definition_spec, done, object};
use crate::{Idempotency, Request};

pub(super) fn keyed(request: Request, body: &str) -> Request {
    let idempotency = Idempotency {
        key: "key".to_owned(),
        body_digest: body.to_owned(),
    };
    Request {
        idempotency: Some(idempotency),
        ..request
    }
}

database_test!(the_same_request_happens_once, bed, {
    let wanted = || object("WorkloadDefinition", "web", definition_spec("one"));
    let first = keyed(bed.request(), "body");
    assert_eq!(bed.store.idempotency_find(&first).await.unwrap(), None);
    let created = bed.store.object_create(&first, wanted()).await.unwrap();
    bed.update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    for _ in 0..2 {
        let again = bed
            .store
            .object_create(&keyed(bed.request(), "body"), wanted())
            .await
            .unwrap();
        assert!(again.replayed);
        assert_eq!(
            (again.operation_id, &again.results),
            (first.operation_id, &created.results)
        );
    }
    let found = bed
        .store
        .idempotency_find(&keyed(bed.request(), "body"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.results, created.results);
    let other = bed
        .store
        .object_create(&keyed(bed.request(), "other"), wanted())
        .await
        .unwrap_err();
    assert_eq!(other.code(), Code::IdempotencyMismatch);
    let somebody = Request {
        actor: "somebody".to_owned(),
        ..keyed(bed.request(), "body")
    };
    assert_eq!(
        bed.store
            .object_create(&somebody, wanted())
            .await
            .unwrap_err()
            .code(),
        Code::AlreadyExists
    );
});

database_test!(the_same_request_sent_at_once_happens_once, bed, {
    let mut tasks = Vec::new();
    for _ in 0..10 {
        let (store, request) = (bed.store.clone(), keyed(bed.request(), "body"));
        let wanted = object("WorkloadDefinition", "web", definition_spec("one"));
        tasks.push(tokio::spawn(async move {
            store.object_create(&request, wanted).await.unwrap()
        }));
    }
    let mut fresh = 0;
    for task in tasks {
        fresh += i32::from(!task.await.unwrap().replayed);
    }
    assert_eq!(fresh, 1);
});

database_test!(a_refused_request_may_be_sent_again, bed, {
    let request = keyed(bed.request(), "body");
    let wanted = || {
        object(
            "WorkloadInstance",
            "web",
            serde_json::json!({"definition": "web"}),
        )
    };
    assert!(bed.store.object_create(&request, wanted()).await.is_err());
    bed.definition("web").await;
    let again = bed
        .store
        .object_create(&keyed(bed.request(), "body"), wanted())
        .await
        .unwrap();
    assert!(!again.replayed);
});

database_test!(an_answer_with_a_large_document_is_kept_whole, bed, {
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  v: {}\n",
        "x".repeat(10_000)
    );
    let wanted = || {
        object(
            "WorkloadDefinition",
            "web",
            serde_json::json!({"yamlDocument": text}),
        )
    };
    let created = bed
        .store
        .object_create(&keyed(bed.request(), "body"), wanted())
        .await
        .unwrap();
    let again = bed
        .store
        .object_create(&keyed(bed.request(), "body"), wanted())
        .await
        .unwrap();
    assert_eq!(again.results, created.results);
});

database_test!(
    a_second_deletion_is_answered_again_when_the_object_is_gone,
    bed,
    {
        bed.definition("web").await;
        let id = bed.instance("web", "web").await.id();
        bed.delete("WorkloadInstance", "web").await.unwrap();
        let delete = async |request: &Request| {
            let kind = "WorkloadInstance";
            bed.store.object_delete(request, kind, "web", None, false).await
        };
        let request = keyed(bed.request(), "");
        let first = delete(&request).await.unwrap();
        assert!(!first.replayed);
        assert_eq!(first.results[0].outcome, Outcome::Unchanged);
        let operation = bed.store.operation_get(request.operation_id).await.unwrap();
        assert!(operation.objects.is_empty(), "it changed nothing");
        let end = CompleteRequest {
            finalize: true,
            ..done(&bed.claim_one(id).await)
        };
        bed.store.claim_complete(&end).await.unwrap();
        assert!(delete(&bed.request()).await.unwrap_err().is_not_found());
        let again = delete(&keyed(bed.request(), "")).await.unwrap();
        assert!(again.replayed);
        assert_eq!(
            (again.operation_id, &again.results),
            (request.operation_id, &first.results)
        );
    }
);

database_test!(operations_are_pages_newest_first, bed, {
    let mut ids = Vec::new();
    for index in 0..7 {
        let request = Request {
            on_behalf_of: Some("jane".to_owned()),
            ..bed.request()
        };
        let wanted = object("WorkloadDefinition", &format!("w{index}"), definition_spec("one"));
        bed.store.object_create(&request, wanted).await.unwrap();
        ids.push(request.operation_id);
    }
    let mut listed = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let (page, next) = bed.store.operation_list(3, after.as_deref()).await.unwrap();
        listed.extend(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    let mut found: Vec<_> = listed.iter().map(|operation| operation.id).collect();
    assert!(listed.is_sorted_by(|left, right| left.at >= right.at));
    found.sort_unstable();
    ids.sort_unstable();
    assert_eq!(found, ids);
    assert_eq!(listed[0].on_behalf_of.as_deref(), Some("jane"));
    assert_eq!(
        (listed[0].actor.as_str(), listed[0].route.as_str()),
        ("tester", "TEST")
    );
    assert_eq!(listed[0].objects[0].change, ChangeKind::Created);
});
