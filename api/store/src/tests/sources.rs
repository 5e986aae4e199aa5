//! Objects that Kubernetes manages.

use threeport_model::{
    Code, ManagedBy,
    protocol::{apply::Outcome, source::SourceRequest},
};

use super::harness::{Bed, database_test, definition_spec, object};
use crate::{Result, Written};

pub(super) fn request(generation: i64, value: &str) -> SourceRequest {
    SourceRequest {
        kind: "WorkloadDefinition".to_owned(),
        name: "web".to_owned(),
        generation,
        spec: object("WorkloadDefinition", "web", definition_spec(value)).spec,
        labels: [].into(),
        annotations: [].into(),
        regressed: false,
        on_behalf_of: Some("jane".to_owned()),
    }
}

async fn put(bed: &Bed, uid: &str, generation: i64, value: &str) -> Result<Written> {
    bed.store
        .source_put(&bed.request(), uid, &request(generation, value))
        .await
}

database_test!(an_older_generation_of_the_same_resource_is_refused, bed, {
    let first = put(bed, "a", 3, "three").await.unwrap();
    assert_eq!(first.results[0].outcome, Outcome::Created);
    assert_eq!(
        first.object().unwrap().metadata.managed_by,
        Some(ManagedBy::Kubernetes)
    );
    assert_eq!(
        put(bed, "a", 2, "two").await.unwrap_err().code(),
        Code::PreconditionFailed
    );
    let same = put(bed, "a", 3, "three").await.unwrap();
    assert_eq!(same.results[0].outcome, Outcome::Unchanged);
    let newer = put(bed, "a", 4, "four").await.unwrap();
    assert_eq!(newer.object().unwrap().generation(), 2);
    assert_eq!(
        newer
            .object()
            .unwrap()
            .metadata
            .source
            .as_ref()
            .unwrap()
            .generation,
        4
    );
});

database_test!(a_resource_made_anew_goes_on_from_the_databases_generation, bed, {
    put(bed, "a", 1, "0").await.unwrap();
    for generation in 2..=57 {
        put(bed, "a", generation, &generation.to_string()).await.unwrap();
    }
    assert_eq!(bed.get("WorkloadDefinition", "web").await.generation(), 57);
    let anew = put(bed, "b", 1, "57").await.unwrap();
    assert_eq!(
        anew.object().unwrap().generation(),
        57,
        "the same specification is no new generation"
    );
    assert_eq!(anew.object().unwrap().metadata.source.as_ref().unwrap().uid, "b");
    let edited = put(bed, "b", 2, "edited").await.unwrap();
    assert_eq!(edited.object().unwrap().generation(), 58);
    let late = put(bed, "a", 58, "late").await.unwrap_err();
    assert_eq!(
        late.code(),
        Code::PreconditionFailed,
        "what still comes from the resource before is refused"
    );
    assert_eq!(
        bed.get("WorkloadDefinition", "web").await.spec,
        edited.object().unwrap().spec
    );
});

database_test!(a_resource_ahead_of_a_restored_row_is_taken, bed, {
    put(bed, "a", 3, "three").await.unwrap();
    let ahead = put(bed, "a", 57, "fifty-seven").await.unwrap();
    assert_eq!(ahead.object().unwrap().generation(), 2);
});

database_test!(names_of_other_owners_are_not_taken, bed, {
    bed.definition("web").await;
    let error = put(bed, "a", 1, "one").await.unwrap_err();
    assert_eq!(error.code(), Code::OwnedBy);
});

database_test!(rest_reads_only_until_it_takes_over, bed, {
    put(bed, "a", 1, "one").await.unwrap();
    let error = bed
        .update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::OwnedBy);
    assert_eq!(
        bed.delete("WorkloadDefinition", "web").await.unwrap_err().code(),
        Code::OwnedBy
    );
    bed.store
        .object_take_over(&bed.request(), "WorkloadDefinition", "web")
        .await
        .unwrap();
    bed.update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    assert_eq!(put(bed, "a", 2, "three").await.unwrap_err().code(), Code::OwnedBy);
    let gone = bed
        .store
        .source_delete(&bed.request(), "a", "WorkloadDefinition", "web", 3, false)
        .await
        .unwrap();
    assert_eq!(gone, None, "its deletion is no longer meant for the object");
    assert_eq!(bed.get("WorkloadDefinition", "web").await.metadata.source, None);
});

database_test!(only_the_resource_that_it_was_taken_from_deletes_it, bed, {
    put(bed, "a", 1, "one").await.unwrap();
    put(bed, "b", 1, "one").await.unwrap();
    let delete = async |uid: &str| {
        bed.store
            .source_delete(&bed.request(), uid, "WorkloadDefinition", "web", 2, false)
            .await
    };
    assert_eq!(delete("a").await.unwrap(), None);
    assert!(!bed.get("WorkloadDefinition", "web").await.is_deleting());
    assert!(
        delete("b")
            .await
            .unwrap()
            .unwrap()
            .object()
            .unwrap()
            .is_deleting()
    );
    assert_eq!(delete("b").await.unwrap(), None, "it is gone");
});

database_test!(a_deletion_that_others_block_names_them, bed, {
    put(bed, "a", 1, "one").await.unwrap();
    bed.instance("web", "web").await;
    let error = bed
        .store
        .source_delete(&bed.request(), "a", "WorkloadDefinition", "web", 2, false)
        .await
        .unwrap_err();
    assert_eq!(error.referrers(), ["WorkloadInstance/web"]);
});

database_test!(a_resource_that_outlived_its_object_does_not_bring_it_back, bed, {
    put(bed, "a", 1, "one").await.unwrap();
    put(bed, "b", 1, "one").await.unwrap();
    bed.store
        .object_take_over(&bed.request(), "WorkloadDefinition", "web")
        .await
        .unwrap();
    bed.delete("WorkloadDefinition", "web").await.unwrap();
    for uid in ["a", "b"] {
        let error = put(bed, uid, 2, "two").await.unwrap_err();
        assert_eq!(error.code(), Code::Gone, "{uid}: {error}");
    }
    let anew = put(bed, "c", 1, "three").await.unwrap();
    assert_eq!(anew.results[0].outcome, Outcome::Created);
    let late = put(bed, "b", 3, "two").await.unwrap_err();
    assert_eq!(
        late.code(),
        Code::Gone,
        "nor does it take over what was made since"
    );
    bed.store
        .source_delete(&bed.request(), "c", "WorkloadDefinition", "web", 1, false)
        .await
        .unwrap();
    assert_eq!(put(bed, "c", 1, "three").await.unwrap_err().code(), Code::Gone);
});

database_test!(a_resource_that_went_back_is_taken_where_that_was_seen, bed, {
    put(bed, "a", 57, "one").await.unwrap();
    assert_eq!(
        put(bed, "a", 40, "one").await.unwrap_err().code(),
        Code::PreconditionFailed
    );
    let seen = SourceRequest {
        regressed: true,
        ..request(40, "one")
    };
    let taken = bed.store.source_put(&bed.request(), "a", &seen).await.unwrap();
    let object = taken.object().unwrap();
    assert_eq!(object.generation(), 1, "the same desired state");
    assert_eq!(object.metadata.source.as_ref().unwrap().generation, 40);
    put(bed, "a", 57, "two").await.unwrap();
    let delete = async |regressed| {
        bed.store
            .source_delete(&bed.request(), "a", "WorkloadDefinition", "web", 41, regressed)
            .await
    };
    assert_eq!(delete(false).await.unwrap_err().code(), Code::PreconditionFailed);
    assert!(
        delete(true)
            .await
            .unwrap()
            .unwrap()
            .object()
            .unwrap()
            .is_deleting()
    );
});
