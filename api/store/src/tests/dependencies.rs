//! What an instance depends on: how ready it sees it, and when it hears of it.

use serde_json::json;
use threeport_model::{
    ConditionStatus,
    protocol::claim::{CompleteRequest, Next},
};

use super::harness::{database_test, definition_spec, done, ready, status};

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
