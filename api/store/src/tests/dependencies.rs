//! What an instance depends on: how ready it sees it, when it hears of it, and that it is never the instance itself.

use serde_json::{Value, json};
use threeport_model::{
    Code, ConditionStatus, Object,
    protocol::claim::{CompleteRequest, Next},
};

use super::harness::{Bed, database_test, definition_spec, done, object, ready, status};
use crate::{
    Error,
    database::sql::{Fetch, Sql},
};

/// An instance of `web` that depends on others.
fn waiting_for(names: &[&str]) -> Value {
    let dependencies: Vec<Value> = names
        .iter()
        .map(|name| json!({"kind": "WorkloadInstance", "name": name}))
        .collect();
    json!({"definition": "web", "dependsOn": dependencies})
}

/// Stores that an instance depends on another, whatever comes of it: as former versions did.
pub(super) async fn store_dependency(bed: &Bed, from: &Object, to: &Object) {
    let name = &from.metadata.name;
    let spec = object(&from.kind, name, waiting_for(&[&to.metadata.name])).spec;
    let statements = [
        Sql::new("UPDATE object SET spec = $1 WHERE id = $2")
            .values([spec.to_string().into(), from.id().into()]),
        Sql::new(
            "INSERT INTO reference (from_id, field, to_id, to_kind, resolved_by) \
             VALUES ($1, 'spec.dependsOn[0]', $2, $3, 'name')",
        )
        .values([from.id().into(), to.id().into(), to.kind.as_str().into()]),
    ];
    for statement in statements {
        bed.store.0.connections.writer.run(statement).await.unwrap();
    }
}

/// Where a refused change is wrong, and why.
fn refusal(error: &Error) -> (String, String) {
    assert_eq!(error.code(), Code::Invalid, "{error:?}");
    let errors = error.field_errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    (errors[0].field.clone(), errors[0].message.clone())
}

database_test!(what_is_depended_on_is_ready_when_its_newest_is, bed, {
    bed.definition("job").await;
    bed.definition("web").await;
    let migrations = bed.instance("migrations", "job").await;
    let depends =
        json!({"definition": "web", "dependsOn": [{"kind": "WorkloadInstance", "name": "migrations"}]});
    let web = bed.create("WorkloadInstance", "web", depends).await;
    // A run of the one that waits: sees how ready the other is, and then waits for longer than the test does.
    let seen = async || {
        let claim = bed.claim_one(web.id()).await;
        let wait = CompleteRequest {
            next: Next::After {
                milliseconds: 600_000,
            },
            ..done(&claim)
        };
        bed.store.claim_complete(&wait).await.unwrap();
        assert_eq!(claim.references[1].reference(), "WorkloadInstance/migrations");
        ready(&claim.references[1])
    };
    let becomes_ready = async |generation: i64, revision: (i64, i64)| {
        let claim = bed.claim_one(migrations.id()).await;
        let update = CompleteRequest {
            status: Some(status(ConditionStatus::True, generation, Some(revision))),
            ..done(&claim)
        };
        let (_, notices) = bed.store.claim_complete(&update).await.unwrap();
        assert!(notices.iter().any(|notice| notice.id == web.id()), "{notices:?}");
    };
    let is_ready = ("True".to_owned(), "Tested".to_owned());
    let is_progressing = ("False".to_owned(), "Progressing".to_owned());

    becomes_ready(1, (1, 1)).await;
    assert_eq!(seen().await, is_ready);
    for definition in ["web", "job"] {
        bed.update("WorkloadDefinition", definition, definition_spec("two"))
            .await
            .unwrap();
    }
    assert_eq!(seen().await, is_progressing, "its definition is newer");
    assert!(bed.claim(&[web.id()]).await.is_empty(), "it waits");
    becomes_ready(1, (2, 1)).await;
    assert_eq!(seen().await, is_ready);

    let suspended = json!({"definition": "job", "suspend": true});
    bed.update("WorkloadInstance", "migrations", suspended)
        .await
        .unwrap();
    assert_eq!(seen().await, is_progressing, "it is newer itself");
    becomes_ready(2, (2, 2)).await;
    assert_eq!(seen().await, is_ready);
});

database_test!(a_circle_of_dependencies_is_refused_where_it_is_made, bed, {
    const KIND: &str = "WorkloadInstance";
    bed.definition("web").await;
    let chain: [(&str, &[&str]); 4] = [("a", &[]), ("d", &[]), ("b", &["a"]), ("c", &["d", "b"])];
    for (name, others) in chain {
        bed.create(KIND, name, waiting_for(others)).await;
    }
    let error = bed.update(KIND, "a", waiting_for(&["d", "c"])).await.unwrap_err();
    assert_eq!(
        refusal(&error),
        (
            "spec.dependsOn[1]".to_owned(),
            "would wait for ever: a waits for c waits for b waits for a".to_owned()
        )
    );
    assert_eq!(bed.get(KIND, "a").await.generation(), 1);
    let itself = object(KIND, "e", waiting_for(&["e"]));
    let error = bed.store.object_create(&bed.request(), itself).await.unwrap_err();
    assert_eq!(refusal(&error).1, "would wait for ever: e waits for e");

    let apply = async |objects: [(&str, &[&str]); 2]| {
        let objects = objects.map(|(name, others)| object(KIND, name, waiting_for(others)));
        bed.store
            .object_apply(&bed.request(), objects.into(), false)
            .await
    };
    let error = apply([("f", &["a", "g"]), ("g", &["f"])]).await.unwrap_err();
    let (field, message) = refusal(&error);
    let both = [
        (
            "spec.dependsOn[1]",
            "would wait for ever: f waits for g waits for f",
        ),
        (
            "spec.dependsOn[0]",
            "would wait for ever: g waits for f waits for g",
        ),
    ];
    assert!(
        both.contains(&(field.as_str(), message.as_str())),
        "{field}: {message}"
    );
    assert!(bed.store.object_get(KIND, "g").await.unwrap_err().is_not_found());
    apply([("a", &["b"]), ("b", &["d"])])
        .await
        .expect("turned round in one apply, it is none");
});

database_test!(
    two_that_begin_to_depend_on_each_other_at_once_are_not_both_stored,
    bed,
    {
        const KIND: &str = "WorkloadInstance";
        bed.definition("web").await;
        for round in 0..10 {
            let [a, b] = ["a", "b"].map(|name| format!("{name}{round}"));
            bed.instance(&a, "web").await;
            bed.instance(&b, "web").await;
            let (first, second) = tokio::join!(
                bed.update(KIND, &a, waiting_for(&[&b])),
                bed.update(KIND, &b, waiting_for(&[&a]))
            );
            let error = match (first, second) {
                (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
                both => panic!("{both:?}"),
            };
            assert_eq!(refusal(&error).0, "spec.dependsOn[0]");
        }
    }
);

database_test!(a_circle_that_is_stored_says_how_to_get_out_of_it, bed, {
    const KIND: &str = "WorkloadInstance";
    bed.definition("web").await;
    let a = bed.instance("a", "web").await;
    let b = bed.instance("b", "web").await;
    store_dependency(bed, &b, &a).await;
    let chained = bed.delete(KIND, "a").await.unwrap_err();
    assert!(
        chained.next().starts_with("delete what refers to it first"),
        "{chained:?}"
    );
    store_dependency(bed, &a, &b).await;

    let mut suspended = waiting_for(&["b"]);
    suspended["suspend"] = true.into();
    bed.update(KIND, "a", suspended)
        .await
        .expect("what else changes is no new circle");
    for name in ["a", "b"] {
        let error = bed.delete(KIND, name).await.unwrap_err();
        assert_eq!(error.code(), Code::Referenced);
        assert!(error.next().starts_with("it depends on itself"), "{error:?}");
    }
    bed.store
        .object_delete(&bed.request(), KIND, "a", None, true)
        .await
        .unwrap();
    assert!(bed.get(KIND, "b").await.is_deleting());
});
