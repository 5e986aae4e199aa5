//! Large documents and secret values.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use threeport_model::{
    Code, ManagedBy, Object, digest, document,
    protocol::{apply::Outcome, source::SourceRequest},
};

use super::harness::{Bed, database_test, definition_spec, object};
use crate::database::sql::{Fetch, Sql};

async fn count(bed: &Bed, table: &str) -> i64 {
    let query = Sql::new(format!("SELECT COUNT(*) AS count FROM {table}"));
    bed.store
        .reader()
        .one(query)
        .await
        .unwrap()
        .unwrap()
        .get("count")
        .unwrap()
}

/// All text that the database holds, in every column of every table.
async fn all_text(bed: &Bed) -> String {
    let columns = Sql::new(if bed.is_sqlite() {
        "SELECT m.name AS table_name, c.name AS column_name FROM sqlite_master m, pragma_table_info(m.name) c \
         WHERE m.type = 'table'"
    } else {
        "SELECT CAST(table_name AS TEXT) AS table_name, CAST(column_name AS TEXT) AS column_name \
         FROM information_schema.columns WHERE table_schema = current_schema()"
    });
    let mut text = String::new();
    for row in bed.store.reader().all(columns).await.unwrap() {
        let (table, column): (String, String) =
            (row.get("table_name").unwrap(), row.get("column_name").unwrap());
        let cast = if bed.is_sqlite() {
            format!("CASE typeof({column}) WHEN 'blob' THEN hex({column}) ELSE CAST({column} AS TEXT) END")
        } else {
            format!("CAST({column} AS TEXT)")
        };
        let query = Sql::new(format!("SELECT COALESCE({cast}, '') AS text FROM {table}"));
        for row in bed.store.reader().all(query).await.unwrap() {
            text.push_str(&row.get::<String>("text").unwrap());
            text.push('\n');
        }
    }
    text
}

database_test!(a_large_document_is_stored_once, bed, {
    let manifest = |name: &str| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let text: String = (0..200).map(|index| manifest(&format!("c{index}"))).collect();
    let spec = json!({"yamlDocument": text});
    bed.create("WorkloadDefinition", "a", spec.clone()).await;
    bed.create("WorkloadDefinition", "b", spec.clone()).await;
    assert_eq!(count(bed, "document").await, 1);
    assert_eq!(
        bed.get("WorkloadDefinition", "b").await.spec["yamlDocument"],
        text
    );
    let longer = json!({"yamlDocument": format!("{text}{}", manifest("more"))});
    bed.update("WorkloadDefinition", "b", longer.clone())
        .await
        .unwrap();
    assert_eq!(count(bed, "document").await, 2);
    let history = bed.history("WorkloadDefinition", "b").await;
    assert_eq!(history[0].spec["yamlDocument"], longer["yamlDocument"]);
    assert_eq!(history[1].spec["yamlDocument"], text);
    bed.update("WorkloadDefinition", "b", definition_spec("small"))
        .await
        .unwrap();
    assert!(
        bed.get("WorkloadDefinition", "b")
            .await
            .spec
            .get("yamlDocument")
            .is_none()
    );
});

database_test!(secret_values_are_nowhere_in_clear, bed, {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n";
    let encoded = STANDARD.encode("hunter3");
    let manifest = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": encoded}});
    let definition = bed
        .create("WorkloadDefinition", "text", json!({"yamlDocument": secret}))
        .await;
    bed.create("WorkloadDefinition", "objects", json!({"manifests": [manifest]}))
        .await;
    let stored = all_text(bed).await;
    assert!(
        stored.contains("threeport.io/secret:"),
        "the control: there is something to find"
    );
    for clear in ["hunter2", "hunter3", &encoded, &STANDARD.encode("hunter2")] {
        assert!(!stored.contains(clear), "{clear}");
        assert!(!definition.spec.to_string().contains(clear));
    }
    let claim = bed.claim_one(definition.id()).await;
    let values: Vec<_> = claim
        .secrets
        .values()
        .map(|value| STANDARD.decode(value).unwrap())
        .collect();
    assert_eq!(values, [b"hunter2"]);
    let placeholder = claim.secrets.keys().next().unwrap();
    assert!(
        claim.object.spec["yamlDocument"]
            .as_str()
            .unwrap()
            .contains(placeholder)
    );
    let instance = bed.instance("web", "text").await;
    let claim = bed.claim_one(instance.id()).await;
    assert_eq!(
        claim.secrets.len(),
        1,
        "an instance gets what its definition holds"
    );
});

database_test!(no_way_of_writing_a_secret_keeps_it_in_clear, bed, {
    let secret = |value: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{password: {value}}}\n")
    };
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: stays}\n";
    let item = "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: hunter1}}";
    let annotated = secret("hunter5").replace(
        "name: s",
        "name: s, annotations: {kubectl.kubernetes.io/last-applied-configuration: 'hunter5'}",
    );
    let texts = [
        ("list", format!("{map}---\nkind: List\nitems: [{item}]\n")),
        ("after", format!("{map}...\n{}", secret("hunter2"))),
        ("before", format!("{}...\n{map}", secret("hunter3"))),
        (
            "cr",
            format!("{map}---\n{}", secret("hunter4")).replace('\n', "\r"),
        ),
        ("annotation", format!("{map}---\n{annotated}")),
    ];
    for (name, text) in texts {
        // A large one too, which is stored apart.
        let large = format!(
            "{text}---\n{}",
            map.replace("name: c", "name: d")
                .replace("stays", &"x".repeat(5000))
        );
        for (name, text) in [(name.to_owned(), text), (format!("{name}-large"), large)] {
            let stored = bed
                .create("WorkloadDefinition", &name, json!({"yamlDocument": text}))
                .await;
            let read = stored.spec["yamlDocument"].as_str().unwrap();
            assert!(read.contains("stays"), "{name} keeps what is no Secret: {read}");
            assert!(!read.contains("hunter"), "{name}: {read}");
            let claim = bed.claim_one(stored.id()).await;
            assert_eq!(claim.secrets.len(), 1, "{name}");
        }
    }
    let list = json!({"kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"password": "hunter6"}}]});
    bed.create("WorkloadDefinition", "objects", json!({"manifests": [list]}))
        .await;
    let stored = all_text(bed).await;
    assert!(
        stored.contains("threeport.io/secret:") && stored.contains("stays"),
        "the control"
    );
    let found: Vec<&str> = stored.lines().filter(|line| line.contains("hunter")).collect();
    assert!(found.is_empty(), "{found:?}");
    let encoded: Vec<String> = (1..=6)
        .map(|number| STANDARD.encode(format!("hunter{number}")))
        .collect();
    assert!(!encoded.iter().any(|value| stored.contains(value)));
});

database_test!(placeholders_come_back_only_where_their_values_are, bed, {
    let secret = |value: &str| json!({"manifests": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": value}}]});
    bed.create("WorkloadDefinition", "web", secret("one")).await;
    let read = bed.get("WorkloadDefinition", "web").await;
    let same = bed
        .store
        .object_apply(&bed.request(), vec![read.clone()], false)
        .await
        .unwrap();
    assert_eq!(same.results[0].outcome, Outcome::Unchanged);
    let retyped = bed
        .update("WorkloadDefinition", "web", secret("one"))
        .await
        .unwrap();
    assert_eq!(
        retyped.results[0].outcome,
        Outcome::Unchanged,
        "an equal value is an equal specification"
    );
    let mut other = read.clone();
    other.metadata.name = "other".to_owned();
    let error = bed.store.object_create(&bed.request(), other).await.unwrap_err();
    assert_eq!(error.code(), Code::Invalid);
    assert_eq!(error.field_errors()[0].field, "spec.manifests[0].data.a");
    bed.update("WorkloadDefinition", "web", secret("two"))
        .await
        .unwrap();
    let back = bed
        .store
        .object_update(&bed.request(), read.clone(), None)
        .await
        .unwrap();
    assert_eq!(
        back.results[0].outcome,
        Outcome::Configured,
        "a former specification can be applied as it is shown"
    );
    let claim = bed.claim_one(read.id()).await;
    assert_eq!(
        claim
            .secrets
            .values()
            .map(|value| STANDARD.decode(value).unwrap())
            .collect::<Vec<_>>(),
        [b"one"]
    );
});

database_test!(a_large_document_with_a_secret, bed, {
    let filler = "x".repeat(9000);
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{v: {filler}}}\n---\napiVersion: v1\n\
         kind: Secret\nmetadata: {{name: s}}\nstringData: {{password: hunter2}}\n"
    );
    let definition = bed
        .create("WorkloadDefinition", "web", json!({"yamlDocument": text}))
        .await;
    assert!(!all_text(bed).await.contains("hunter2"));
    assert_eq!(bed.claim_one(definition.id()).await.secrets.len(), 1);
    let same = bed
        .store
        .object_update(&bed.request(), bed.get("WorkloadDefinition", "web").await, None)
        .await;
    assert_eq!(same.unwrap().results[0].outcome, Outcome::Unchanged);
});

/// A document that a mirror shows by its digest.
fn large(value: usize) -> Value {
    let filler = "x".repeat(document::LIMIT);
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{v: {value}, w: {filler}}}\n"
    );
    json!({"yamlDocument": text})
}

/// An object as its mirror shows it, sent back.
fn shown(name: &str, spec: &Value) -> Object {
    let spec = document::mirrored(spec);
    assert!(document::shows_digest(&spec));
    Object::new("WorkloadDefinition", name, spec)
}

database_test!(a_digest_means_the_document_that_is_stored, bed, {
    bed.create("WorkloadDefinition", "web", large(1)).await;
    let request = || bed.request();
    let back = || shown("web", &large(1));
    let applied = bed.store.object_apply(&request(), vec![back()], false).await;
    assert_eq!(applied.unwrap().results[0].outcome, Outcome::Unchanged);
    let put = bed.store.object_update(&request(), back(), None).await;
    assert_eq!(put.unwrap().results[0].outcome, Outcome::Unchanged);
    let mut labelled = back();
    labelled.metadata.labels.insert("team".to_owned(), "a".to_owned());
    let labelled = bed.store.object_update(&request(), labelled, None).await.unwrap();
    assert_eq!(labelled.results[0].outcome, Outcome::Configured);
    let object = labelled.object().unwrap();
    assert_eq!((object.generation(), object.metadata.labels.len()), (1, 1));
    assert_eq!(object.spec, large(1));
    for (error, what) in [
        (
            bed.store
                .object_update(&request(), shown("web", &large(2)), None)
                .await,
            "another document",
        ),
        (
            bed.store.object_create(&request(), shown("new", &large(1))).await,
            "no document",
        ),
        (
            bed.store
                .object_apply(&request(), vec![shown("new", &large(1))], false)
                .await,
            "no document",
        ),
    ] {
        let error = error.unwrap_err();
        assert_eq!(error.code(), Code::Invalid, "{what}");
        assert_eq!(error.field_errors()[0].field, "spec.yamlDocument");
    }
});

database_test!(an_apply_of_which_too_much_is_stored_is_refused, bed, {
    const OBJECTS: usize = 12;
    let spec = |bytes: usize| {
        let filler = "x".repeat(bytes);
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{v: {filler}}}\n");
        json!({"yamlDocument": text})
    };
    let names: Vec<String> = (0..OBJECTS).map(|index| format!("w{index:02}")).collect();
    for name in &names {
        bed.create("WorkloadDefinition", name, spec(8 << 10)).await;
    }
    // To parse as many documents of that size takes its time; so they get one of 4 MiB where they are stored.
    let grown = spec(4 << 20);
    let text = grown["yamlDocument"].as_str().unwrap();
    let digest = digest::of_bytes(text.as_bytes());
    for sql in [
        Sql::new("INSERT INTO document (digest, content, created_at) VALUES ($1, $2, 1)")
            .values([digest.clone().into(), text.into()]),
        Sql::new("UPDATE object SET document = $1").values([digest.into()]),
    ] {
        bed.store.0.connections.writer.run(sql).await.unwrap();
    }
    let store = bed.patient().await;
    let apply = async |objects| store.object_apply(&bed.request(), objects, false).await;
    let shown: Vec<Object> = names.iter().map(|name| shown(name, &grown)).collect();
    let small = names
        .iter()
        .map(|name| object("WorkloadDefinition", name, definition_spec("small")));
    for objects in [shown.clone(), small.collect()] {
        let error = apply(objects).await.unwrap_err();
        assert_eq!(error.code(), Code::TooLarge, "{error}");
    }
    for part in shown.chunks(OBJECTS / 2) {
        let outcomes = apply(part.to_vec()).await.unwrap().results;
        assert!(outcomes.iter().all(|result| result.outcome == Outcome::Unchanged));
    }
    store.close().await;
});

database_test!(a_custom_resource_may_show_the_digest_of_what_is_stored, bed, {
    let mut source = SourceRequest {
        spec: large(1),
        ..crate::tests::sources::request(1, "one")
    };
    let mut request = bed.request();
    request.writer = ManagedBy::Kubernetes;
    bed.store.source_put(&request, "uid", &source).await.unwrap();
    source.spec = document::mirrored(&large(1));
    source.generation = 2;
    request.operation_id = bed.store.random().uuid();
    let written = bed.store.source_put(&request, "uid", &source).await.unwrap();
    let object = written.object().unwrap();
    assert_eq!((object.generation(), &object.spec), (1, &large(1)));
    assert_eq!(object.metadata.source.as_ref().unwrap().generation, 2);
});

database_test!(a_digest_never_brings_a_former_document_back, bed, {
    bed.create("WorkloadDefinition", "web", large(0)).await;
    let mut tasks = Vec::new();
    for value in 1..=8 {
        let (store, request) = (bed.store.clone(), bed.request());
        tasks.push(tokio::spawn(async move {
            let object = Object::new("WorkloadDefinition", "web", large(value));
            store.object_update(&request, object, None).await.unwrap();
        }));
        let (store, request) = (bed.store.clone(), bed.request());
        tasks.push(tokio::spawn(async move {
            let applied = store
                .object_apply(&request, vec![shown("web", &large(0))], false)
                .await;
            match applied {
                Ok(written) => assert_eq!(written.results[0].outcome, Outcome::Unchanged),
                Err(error) => assert_eq!(error.code(), Code::Invalid, "{error}"),
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let history = bed.history("WorkloadDefinition", "web").await;
    assert_eq!(
        history.len(),
        9,
        "one revision per document, and none by a digest"
    );
    let first = large(0);
    assert_eq!(
        history.iter().filter(|revision| revision.spec == first).count(),
        1
    );
});
