//! Many objects in one transaction.

use serde_json::json;
use threeport_model::{
    Code, ConditionStatus, ManagedBy, Object,
    protocol::{apply::Outcome, claim::CompleteRequest, source::SourceRequest},
};

use super::{
    harness::{Bed, database_test, definition_spec, done, object, ready, status},
    operations::keyed,
};
use crate::{
    ListQuery,
    database::sql::{Fetch, Sql},
};

fn outcomes(written: &crate::Written) -> Vec<Outcome> {
    written.results.iter().map(|result| result.outcome).collect()
}

async fn count(bed: &Bed, kind: &str) -> usize {
    let query = ListQuery {
        kind: kind.to_owned(),
        limit: 1000,
        ..ListQuery::default()
    };
    bed.store.object_list(&query).await.unwrap().items.len()
}

fn pair(index: usize) -> [Object; 2] {
    let instance = object(
        "WorkloadInstance",
        &format!("w{index}"),
        json!({"definition": format!("w{index}")}),
    );
    [
        instance,
        object("WorkloadDefinition", &format!("w{index}"), definition_spec("one")),
    ]
}

database_test!(any_order_and_equal_is_unchanged, bed, {
    let objects: Vec<Object> = (0..5).flat_map(pair).collect();
    let written = bed
        .store
        .object_apply(&bed.request(), objects.clone(), false)
        .await
        .unwrap();
    assert_eq!(outcomes(&written), [Outcome::Created; 10]);
    let names: Vec<_> = written
        .results
        .iter()
        .map(|result| result.object.reference())
        .collect();
    assert_eq!(
        names[..2],
        ["WorkloadInstance/w0", "WorkloadDefinition/w0"],
        "in the order that was sent"
    );
    assert_eq!(written.notices.len(), 10);
    let again = bed
        .store
        .object_apply(&bed.request(), objects.clone(), false)
        .await
        .unwrap();
    assert_eq!(outcomes(&again), [Outcome::Unchanged; 10]);
    assert!(again.notices.is_empty());
    let got: Vec<Object> = written
        .results
        .iter()
        .map(|result| result.object.clone())
        .collect();
    let same = bed.store.object_apply(&bed.request(), got, false).await.unwrap();
    assert_eq!(outcomes(&same), [Outcome::Unchanged; 10]);
    assert_eq!(bed.store.operation_list(10, None).await.unwrap().0.len(), 1);
});

database_test!(labels_are_merged_and_nothing_is_pruned, bed, {
    let mut first = object("WorkloadDefinition", "web", definition_spec("one"));
    first.metadata.labels.insert("a".to_owned(), "1".to_owned());
    bed.store
        .object_apply(&bed.request(), vec![first], false)
        .await
        .unwrap();
    let mut second = object("WorkloadDefinition", "web", definition_spec("two"));
    second.metadata.labels.insert("b".to_owned(), "2".to_owned());
    let written = bed
        .store
        .object_apply(&bed.request(), vec![second], false)
        .await
        .unwrap();
    assert_eq!(outcomes(&written), [Outcome::Configured]);
    let read = bed.get("WorkloadDefinition", "web").await;
    let labels: Vec<_> = read
        .metadata
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(labels, ["a=1", "b=2"]);
    assert_eq!(read.generation(), 2);
});

database_test!(all_or_nothing, bed, {
    let mut objects: Vec<Object> = (0..150).flat_map(pair).collect();
    objects.push(object(
        "WorkloadInstance",
        "broken",
        json!({"definition": "missing"}),
    ));
    let error = bed
        .store
        .object_apply(&bed.request(), objects.clone(), false)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ReferenceNotFound);
    assert_eq!(
        (
            count(bed, "WorkloadDefinition").await,
            count(bed, "WorkloadInstance").await
        ),
        (0, 0)
    );
    objects.pop();
    let written = bed
        .store
        .object_apply(&bed.request(), objects, false)
        .await
        .unwrap();
    assert_eq!(written.results.len(), 300);
    assert_eq!(
        (
            count(bed, "WorkloadDefinition").await,
            count(bed, "WorkloadInstance").await
        ),
        (150, 150)
    );
});

database_test!(a_dry_run_answers_the_same_and_stores_nothing, bed, {
    let objects: Vec<Object> = (0..2).flat_map(pair).collect();
    let dry = bed
        .store
        .object_apply(&bed.request(), objects.clone(), true)
        .await
        .unwrap();
    assert_eq!(outcomes(&dry), [Outcome::Created; 4]);
    assert!(dry.notices.is_empty());
    assert_eq!(count(bed, "WorkloadDefinition").await, 0);
    assert!(bed.store.operation_list(10, None).await.unwrap().0.is_empty());
    let wet = bed
        .store
        .object_apply(&bed.request(), objects, false)
        .await
        .unwrap();
    assert_eq!(outcomes(&wet), outcomes(&dry));
});

database_test!(what_belongs_to_others_refuses_the_whole, bed, {
    let source = SourceRequest {
        kind: "WorkloadDefinition".to_owned(),
        name: "theirs".to_owned(),
        generation: 1,
        spec: object("WorkloadDefinition", "x", definition_spec("one")).spec,
        labels: [].into(),
        annotations: [].into(),
        regressed: false,
        on_behalf_of: None,
    };
    bed.store
        .source_put(&bed.request(), "uid", &source)
        .await
        .unwrap();
    let mine = object("WorkloadDefinition", "mine", definition_spec("one"));
    let theirs = object("WorkloadDefinition", "theirs", definition_spec("two"));
    let error = bed
        .store
        .object_apply(&bed.request(), vec![mine.clone(), theirs], false)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::OwnedBy);
    assert_eq!(error.referrers(), ["WorkloadDefinition/theirs"]);
    assert_eq!(count(bed, "WorkloadDefinition").await, 1);
    let equal = object("WorkloadDefinition", "theirs", definition_spec("one"));
    let written = bed
        .store
        .object_apply(&bed.request(), vec![mine, equal], false)
        .await
        .unwrap();
    assert_eq!(outcomes(&written), [Outcome::Created, Outcome::Unchanged]);
    assert_eq!(
        written.results[1].object.metadata.managed_by,
        Some(ManagedBy::Kubernetes)
    );
});

database_test!(one_object_twice_is_refused, bed, {
    let twice = vec![
        object("WorkloadDefinition", "web", definition_spec("one")),
        object("WorkloadDefinition", "web", definition_spec("two")),
    ];
    let error = bed
        .store
        .object_apply(&bed.request(), twice, false)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Invalid);
    assert_eq!(error.field_errors()[0].field, "objects[1]");
});

database_test!(applies_that_race_all_end_and_agree, bed, {
    let mut tasks = Vec::new();
    for index in 0..8 {
        let (store, request) = (bed.store.clone(), bed.request());
        let mut objects: Vec<Object> = (0..10).flat_map(pair).collect();
        if index % 2 == 0 {
            objects.reverse();
        }
        tasks.push(tokio::spawn(async move {
            store.object_apply(&request, objects, false).await
        }));
    }
    let mut created = 0;
    for task in tasks {
        let written = task.await.unwrap().unwrap();
        created += written
            .results
            .iter()
            .filter(|result| result.outcome == Outcome::Created)
            .count();
    }
    assert_eq!(created, 20, "each object was created by exactly one of them");
});

database_test!(annotations_that_come_one_by_one_are_bounded_together, bed, {
    let apply = async |value: &str, annotations: &[(&str, usize)]| {
        let mut web = object("WorkloadDefinition", "web", definition_spec(value));
        for (key, kibibytes) in annotations {
            let text = "x".repeat(kibibytes << 10);
            web.metadata.annotations.insert((*key).to_owned(), text);
        }
        bed.store.object_apply(&bed.request(), vec![web], false).await
    };
    apply("one", &[("first", 200)]).await.unwrap();
    let error = apply("two", &[("second", 56)]).await.unwrap_err();
    assert_eq!(error.code(), Code::Invalid);
    assert_eq!(error.field_errors()[0].field, "metadata.annotations");
    let web = bed.get("WorkloadDefinition", "web").await;
    assert_eq!((web.generation(), web.metadata.annotations.len()), (1, 1));
    apply("two", &[("second", 50)]).await.unwrap();
    assert_eq!(
        bed.get("WorkloadDefinition", "web")
            .await
            .metadata
            .annotations
            .len(),
        2
    );

    let former = json!({"former": "x".repeat(300 << 10)}).to_string();
    let more = Sql::new("UPDATE object SET annotations = $1 WHERE id = $2");
    let more = more.values([former.into(), web.id().into()]);
    bed.store.0.connections.writer.run(more).await.unwrap();
    let kept = apply("three", &[]).await.expect("it brings none");
    assert_eq!(outcomes(&kept), [Outcome::Configured]);
    let error = apply("three", &[("third", 0)]).await.unwrap_err();
    assert_eq!(error.code(), Code::Invalid);
});

database_test!(labels_that_come_one_by_one_are_bounded_together, bed, {
    let apply = async |value: &str, prefix: &str, count: usize| {
        let mut web = object("WorkloadDefinition", "web", definition_spec(value));
        let labels = (0..count).map(|index| (format!("{prefix}{index}"), "x".repeat(60)));
        web.metadata.labels = labels.collect();
        bed.store.object_apply(&bed.request(), vec![web], false).await
    };
    apply("one", "first", 200).await.unwrap();
    let error = apply("two", "second", 60).await.unwrap_err();
    assert_eq!(error.code(), Code::Invalid);
    assert_eq!(error.field_errors()[0].field, "metadata.labels");
    apply("two", "second", 30).await.unwrap();
    let web = bed.get("WorkloadDefinition", "web").await;
    assert_eq!((web.generation(), web.metadata.labels.len()), (2, 230));

    let former = json!({"former": "x".repeat(20 << 10)}).to_string();
    let more = Sql::new("UPDATE object SET labels = $1 WHERE id = $2");
    let more = more.values([former.into(), web.id().into()]);
    bed.store.0.connections.writer.run(more).await.unwrap();
    let kept = apply("three", "none", 0).await.expect("it brings none");
    assert_eq!(outcomes(&kept), [Outcome::Configured]);
    let error = apply("three", "third", 1).await.unwrap_err();
    assert_eq!(error.code(), Code::Invalid);
});

database_test!(an_answer_is_not_ready_for_the_revision_that_it_replaces, bed, {
    let [instance, definition] = pair(0);
    let both = vec![instance.clone(), definition];
    bed.store.object_apply(&bed.request(), both, false).await.unwrap();
    let get = async || bed.get("WorkloadInstance", "w0").await;
    let claim = bed.claim_one(get().await.id()).await;
    let end = CompleteRequest {
        status: Some(status(ConditionStatus::True, 1, Some((1, 1)))),
        ..done(&claim)
    };
    bed.store.claim_complete(&end).await.unwrap();
    assert_eq!(ready(&get().await).0, "True");

    let both = vec![
        instance,
        object("WorkloadDefinition", "w0", definition_spec("two")),
    ];
    for way in ["answered", "kept"] {
        let request = keyed(bed.request(), "key");
        let written = bed
            .store
            .object_apply(&request, both.clone(), false)
            .await
            .unwrap();
        assert_eq!(outcomes(&written), [Outcome::Unchanged, Outcome::Configured]);
        let answered = &written.results[0].object;
        assert_eq!(ready(answered).1, "Progressing", "{way}");
        assert_eq!(
            answered.status,
            get().await.status,
            "{way}: as whoever reads it now is told"
        );
    }
});
