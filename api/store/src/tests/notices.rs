//! Who is told of work that a commit makes: what the relay would find seconds later.

use std::collections::BTreeSet;

use serde_json::json;
use uuid::Uuid;

use super::harness::database_test;

database_test!(the_definition_that_loses_an_instance_is_told, bed, {
    let loses = bed.definition("loses").await.id();
    let gets = bed.definition("gets").await.id();
    bed.definition("other").await;
    let instance = bed.instance("web", "loses").await.id();
    bed.settle().await;
    let written = bed
        .update("WorkloadInstance", "web", json!({"definition": "gets"}))
        .await
        .unwrap();
    let told: BTreeSet<Uuid> = written.notices.iter().map(|notice| notice.id).collect();
    assert_eq!(told, BTreeSet::from([loses, gets, instance]));
});
