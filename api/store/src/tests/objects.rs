//! Creating, reading, replacing, listing.

use std::collections::BTreeSet;

use serde_json::json;
use threeport_model::{Code, ConditionStatus, Etag, ManagedBy, Object, protocol::apply::Outcome};

use super::harness::{database_test, definition_spec, object, ready, status};
use crate::{Error, ListQuery, StatusFence};

database_test!(what_was_created_is_read, bed, {
    let mut wanted = object("WorkloadDefinition", "web", definition_spec("one"));
    wanted.metadata.labels.insert("app".to_owned(), "web".to_owned());
    wanted
        .metadata
        .annotations
        .insert("note".to_owned(), "ä\u{1F600}".to_owned());
    let written = bed
        .store
        .object_create(&bed.request(), wanted.clone())
        .await
        .unwrap();
    assert_eq!(written.results[0].outcome, Outcome::Created);
    let created = written.object().unwrap();
    let read = bed.get("WorkloadDefinition", "web").await;
    assert_eq!(&read, created);
    assert_eq!(read.spec, wanted.spec);
    assert_eq!(read.metadata.labels, wanted.metadata.labels);
    assert_eq!(read.metadata.annotations, wanted.metadata.annotations);
    assert_eq!((read.generation(), read.metadata.resource_version), (1, Some(1)));
    assert_eq!(read.metadata.managed_by, Some(ManagedBy::Api));
    assert_eq!(ready(&read), ("False".to_owned(), "Progressing".to_owned()));
    assert_eq!(bed.store.object_get_by_id(read.id()).await.unwrap(), read);
    assert_eq!(written.notices.len(), 1, "it has work");
    let missing = bed
        .store
        .object_get("WorkloadDefinition", "other")
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
});

database_test!(of_fifty_creates_of_one_name_one_succeeds, bed, {
    let other = bed.another().await;
    let mut tasks = Vec::new();
    for index in 0..50 {
        let store = if index % 2 == 0 {
            bed.store.clone()
        } else {
            other.clone()
        };
        let request = bed.request();
        tasks.push(tokio::spawn(async move {
            store
                .object_create(
                    &request,
                    object("WorkloadDefinition", "web", definition_spec("one")),
                )
                .await
        }));
    }
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => created += 1,
            Err(error) => assert_eq!(error.code(), Code::AlreadyExists, "{error:?}"),
        }
    }
    assert_eq!(created, 1);
    let operations = bed.store.operation_list(100, None).await.unwrap().0;
    assert_eq!(operations.len(), 1, "what was refused leaves no operation");
    other.close().await;
});

database_test!(of_two_writers_with_one_etag_one_succeeds, bed, {
    let etag = Etag::of(&bed.definition("web").await);
    let mut tasks = Vec::new();
    for index in 0..2 {
        let (store, request) = (bed.store.clone(), bed.request());
        let changed = object(
            "WorkloadDefinition",
            "web",
            definition_spec(&format!("changed {index}")),
        );
        tasks.push(tokio::spawn(async move {
            store.object_update(&request, changed, Some(etag)).await
        }));
    }
    let mut codes = Vec::new();
    for task in tasks {
        codes.push(
            task.await
                .unwrap()
                .map_err(|error| error.code())
                .map(|written| written.results[0].outcome),
        );
    }
    codes.sort_by_key(Result::is_err);
    assert_eq!(codes, [Ok(Outcome::Configured), Err(Code::PreconditionFailed)]);
});

database_test!(generation_counts_specifications_only, bed, {
    let created = bed.definition("web").await;
    bed.settle().await;
    let mut labelled = created.clone();
    labelled.metadata.labels.insert("a".to_owned(), "b".to_owned());
    let written = bed
        .store
        .object_update(&bed.request(), labelled.clone(), None)
        .await
        .unwrap();
    let relabelled = written.object().unwrap();
    assert_eq!(
        (relabelled.generation(), relabelled.metadata.resource_version),
        (1, Some(2))
    );
    assert!(written.notices.is_empty(), "labels are no work");
    let same = bed
        .store
        .object_update(&bed.request(), labelled, None)
        .await
        .unwrap();
    assert_eq!(same.results[0].outcome, Outcome::Unchanged);
    assert_eq!(same.object().unwrap().metadata, relabelled.metadata);
    let changed = bed
        .update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    let changed_object = changed.object().unwrap();
    assert_eq!(
        (
            changed_object.generation(),
            changed_object.metadata.resource_version
        ),
        (2, Some(3))
    );
    assert!(changed_object.metadata.labels.is_empty(), "PUT replaces");
    assert_eq!(changed.notices.len(), 1);
    assert_eq!(&bed.get("WorkloadDefinition", "web").await, changed_object);
    let history = bed.history("WorkloadDefinition", "web").await;
    let generations: Vec<_> = history.iter().map(|revision| revision.generation).collect();
    assert_eq!(generations, [2, 1]);
    assert_eq!(history[0].spec, changed_object.spec);
    assert_eq!(history[1].spec, created.spec);
});

database_test!(immutable_fields_are_refused, bed, {
    bed.definition("web").await;
    bed.instance("web", "web").await;
    let spec = json!({"definition": "web", "namespace": "elsewhere"});
    let error = bed.update("WorkloadInstance", "web", spec).await.unwrap_err();
    assert_eq!(error.code(), Code::Invalid);
    assert_eq!(error.field_errors()[0].field, "spec.namespace");
});

database_test!(others_objects_are_read_only, bed, {
    bed.runtime().await;
    let spec = json!({"definition": "local", "connection": {"inCluster": {}}});
    let error = bed
        .update("KubernetesRuntimeInstance", "local", spec.clone())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::OwnedBy { owner: ManagedBy::System, objects } if objects == &["KubernetesRuntimeInstance/local"])
    );
    assert!(!error.next().is_empty());
    let same = bed.get("KubernetesRuntimeInstance", "local").await;
    let unchanged = bed.store.object_update(&bed.request(), same, None).await.unwrap();
    assert_eq!(
        unchanged.results[0].outcome,
        Outcome::Unchanged,
        "what changes nothing is allowed to everybody"
    );
    let taken = bed
        .store
        .object_take_over(&bed.request(), "KubernetesRuntimeInstance", "local")
        .await
        .unwrap();
    assert_eq!(taken.object().unwrap().metadata.managed_by, Some(ManagedBy::Api));
    assert_eq!(taken.object().unwrap().generation(), 1);
    bed.update("KubernetesRuntimeInstance", "local", spec)
        .await
        .unwrap();
});

database_test!(a_slot_has_one_holder, bed, {
    bed.runtime().await;
    let spec = json!({"definition": "local", "defaultRuntime": true, "connection": {"inCluster": {}}});
    let second = object("KubernetesRuntimeInstance", "second", spec.clone());
    let error = bed.store.object_create(&bed.request(), second).await.unwrap_err();
    assert!(
        matches!(&error, Error::SlotTaken { slot, .. } if slot == "runtime/default"),
        "{error:?}"
    );
    assert_eq!(error.code(), Code::AlreadyExists);
});

database_test!(references_must_exist, bed, {
    let missing = object(
        "WorkloadInstance",
        "web",
        json!({"definition": "web", "dependsOn": [{"kind": "WorkloadInstance", "name": "db"}]}),
    );
    let error = bed
        .store
        .object_create(&bed.request(), missing)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ReferenceNotFound);
    let fields: Vec<_> = error
        .field_errors()
        .into_iter()
        .map(|error| error.field)
        .collect();
    assert_eq!(fields, ["spec.definition", "spec.dependsOn[0]"]);
});

database_test!(lists_are_pages_in_the_order_of_names, bed, {
    let mut names = BTreeSet::new();
    for index in 0..25 {
        let name = format!("w{}-{index}", index % 3);
        let mut one = object("WorkloadDefinition", &name, definition_spec("one"));
        one.metadata.labels.insert(
            "parity".to_owned(),
            if index % 2 == 0 { "even" } else { "odd" }.to_owned(),
        );
        if index % 5 == 0 {
            one.metadata.labels.insert("five".to_owned(), String::new());
        }
        bed.store.object_create(&bed.request(), one).await.unwrap();
        names.insert(name);
    }
    bed.runtime().await;
    let mut query = ListQuery {
        kind: "WorkloadDefinition".to_owned(),
        limit: 7,
        ..ListQuery::default()
    };
    let mut listed = Vec::new();
    loop {
        let page = bed.store.object_list(&query).await.unwrap();
        assert!(page.items.len() <= 7);
        listed.extend(page.items.into_iter().map(|object| object.metadata.name));
        query.after = page.continue_token;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(listed, names.into_iter().collect::<Vec<_>>());
    for (labels, fields, expected) in [
        ("parity=even", "", 13),
        ("parity=even,five", "", 3),
        ("parity!=even", "", 12),
        ("parity in (even, odd),!five", "", 20),
        ("parity=even,parity=odd", "", 0),
        ("", "metadata.name=w0-0", 1),
        ("parity=odd", "metadata.managedBy=kubernetes", 0),
    ] {
        let query = ListQuery {
            kind: "WorkloadDefinition".to_owned(),
            limit: 100,
            after: None,
            labels: labels.parse().unwrap(),
            fields: fields.parse().unwrap(),
        };
        assert_eq!(
            bed.store.object_list(&query).await.unwrap().items.len(),
            expected,
            "{labels} {fields}"
        );
    }
    let wrong = ListQuery {
        after: Some("%".to_owned()),
        limit: 1,
        ..ListQuery::default()
    };
    assert_eq!(
        bed.store.object_list(&wrong).await.unwrap_err().code(),
        Code::Invalid
    );
});

database_test!(the_cluster_of_the_control_plane_is_one_runtime, bed, {
    bed.runtime().await;
    let runtime = |name: &str| {
        let spec = json!({"definition": "local", "connection": {"inCluster": {}}});
        object("KubernetesRuntimeInstance", name, spec)
    };
    let refused = |error: Error| {
        assert_eq!(error.code(), Code::NotSupported, "{error:?}");
        let fields = error.field_errors();
        assert_eq!(fields[0].field, "spec.connection.inCluster");
        assert!(
            fields[0].message.contains("KubernetesRuntimeInstance/local"),
            "{fields:?}"
        );
        assert!(!error.next().is_empty());
    };
    let created = bed.store.object_create(&bed.request(), runtime("other")).await;
    refused(created.unwrap_err());
    let beside = object("WorkloadDefinition", "beside", definition_spec("one"));
    let objects = vec![beside, runtime("other")];
    let applied = bed.store.object_apply(&bed.request(), objects, false).await;
    refused(applied.unwrap_err());
    let absent = bed.store.object_get("WorkloadDefinition", "beside").await;
    assert!(absent.unwrap_err().is_not_found(), "all of it is refused");

    // The one that there is may be changed.
    bed.store
        .object_take_over(&bed.request(), "KubernetesRuntimeInstance", "local")
        .await
        .unwrap();
    let objects = vec![runtime("local")];
    let changed = bed.store.object_apply(&bed.request(), objects, false).await;
    assert_eq!(changed.unwrap().results[0].outcome, Outcome::Configured);
});

database_test!(the_default_runtime_changes_in_one_apply, bed, {
    let runtime = |name: &str, is_default: bool| {
        let spec =
            json!({"definition": "local", "defaultRuntime": is_default, "connection": {"inCluster": {}}});
        object("KubernetesRuntimeInstance", name, spec)
    };
    // Before the control plane's own, since it is the same cluster.
    bed.create("KubernetesRuntimeDefinition", "local", json!({}))
        .await;
    bed.store
        .object_create(&bed.request(), runtime("other", false))
        .await
        .unwrap();
    bed.runtime().await;
    // Whichever row is written first, it goes in both directions.
    for (old, new) in [("local", "other"), ("other", "local")] {
        let mut request = bed.request();
        request.writer = ManagedBy::Api;
        if old == "local" {
            bed.store
                .object_take_over(&request, "KubernetesRuntimeInstance", "local")
                .await
                .unwrap();
        }
        let objects = vec![runtime(new, true), runtime(old, false)];
        bed.store
            .object_apply(&bed.request(), objects, false)
            .await
            .unwrap_or_else(|error| panic!("{old} to {new}: {error}"));
        let error = bed
            .store
            .object_apply(&bed.request(), vec![runtime(old, true)], false)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::SlotTaken { .. }), "{error:?}");
    }
});

database_test!(a_status_has_a_time_of_change_of_its_own, bed, {
    bed.definition("web").await;
    bed.instance("web", "web").await;
    let times = async |kind: &str| {
        let Object { metadata, .. } = bed.get(kind, "web").await;
        (metadata.updated_at.unwrap(), metadata.status_updated_at.unwrap())
    };
    let put = async |word| {
        bed.tick().await;
        let update = status(word, 1, Some((1, 1)));
        let fence = StatusFence::default();
        bed.store
            .status_put("WorkloadInstance", "web", &update, fence)
            .await
            .unwrap();
    };
    let created = times("WorkloadInstance").await;
    assert_eq!(created.0, created.1);
    put(ConditionStatus::False).await;
    let observed = times("WorkloadInstance").await;
    assert!(observed.0 == created.0 && observed.1 > created.1, "{observed:?}");
    put(ConditionStatus::False).await;
    assert_eq!(times("WorkloadInstance").await, observed, "an equal one");
    bed.tick().await;
    bed.update(
        "WorkloadInstance",
        "web",
        json!({"definition": "web", "suspend": true}),
    )
    .await
    .unwrap();
    let changed = times("WorkloadInstance").await;
    assert!(changed.0 > observed.1 && changed.1 == observed.1, "{changed:?}");
    // What is served of an instance changes with its definition.
    let before = times("WorkloadDefinition").await;
    bed.tick().await;
    bed.update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    let served = times("WorkloadInstance").await;
    assert!(served.0 == changed.0 && served.1 > changed.0, "{served:?}");
    assert_eq!(times("WorkloadDefinition").await.1, before.1);
});

database_test!(
    what_was_read_is_not_written_over_another_object_of_its_name,
    bed,
    {
        let read = bed.definition("web").await;
        bed.delete("WorkloadDefinition", "web").await.unwrap();
        let other = bed.definition("web").await;
        assert_eq!(read.metadata.resource_version, other.metadata.resource_version);
        let former = Etag {
            id: None,
            ..Etag::of(&other)
        };
        for (etag, why) in [
            (Etag::of(&read), "is another object than the one that was read"),
            (former, r#"the ETag "1" does not say which"#),
        ] {
            let refused = |error: Error| {
                assert_eq!(error.code(), Code::PreconditionFailed);
                assert!(error.to_string().contains(why), "{error}");
            };
            let changed = object("WorkloadDefinition", "web", definition_spec("two"));
            let updated = bed.store.object_update(&bed.request(), changed, Some(etag)).await;
            refused(updated.unwrap_err());
            let deleted = bed
                .store
                .object_delete(&bed.request(), "WorkloadDefinition", "web", Some(etag), false)
                .await;
            refused(deleted.unwrap_err());
            assert_eq!(bed.get("WorkloadDefinition", "web").await, other);
        }
        let changed = object("WorkloadDefinition", "web", definition_spec("two"));
        let etag = Some(Etag::of(&other));
        let written = bed
            .store
            .object_update(&bed.request(), changed, etag)
            .await
            .unwrap();
        let etag = written.object().map(Etag::of);
        bed.store
            .object_delete(&bed.request(), "WorkloadDefinition", "web", etag, false)
            .await
            .unwrap();
    }
);
