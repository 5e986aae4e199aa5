//! `kubectl wait` can't be fooled: the generation that it compares is the resource's own.

use serde_json::json;

use crate::{
    api::{condition as status, object, ready},
    cluster::{Place, condition, is},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_57_made_anew_at_1_and_edited_does_not_return_early() {
    let mut place = Place::start("generation-57").await;
    place.api.set(object(
        "WorkloadDefinition",
        "web",
        57,
        json!({"yamlDocument": "a"}),
    ));
    place
        .wait("mirrored", "tpwd", "web", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    place.stop_facade().await;
    // As the namespace's controller may, and etcd's restore does.
    let collector = [
        "--as=system:serviceaccount:kube-system:namespace-controller",
        "--as-group=system:masters",
    ];
    place
        .run(&[&["delete", "tpwd", "web"], &collector[..]].concat())
        .unwrap();
    place.start_facade().await;
    let anew = place
        .wait("made anew", "tpwd", "web", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    assert_eq!(
        (
            anew["metadata"]["generation"].as_i64(),
            condition(&anew, "Ready").unwrap().2
        ),
        (Some(1), 1)
    );

    // Edited: the database is at 58, and what it says of 57 is True.
    place.api.change("WorkloadDefinition", "web", |web| {
        web.spec = json!({"yamlDocument": "b"});
        web.metadata.generation = Some(58);
    });
    let edited = place
        .wait("edited", "tpwd", "web", |found| {
            found["spec"]["yamlDocument"] == "b"
        })
        .await;
    assert_eq!(edited["metadata"]["generation"], 2);
    let mut wait = place.kubectl_wait("workloaddefinition", "web");
    let shown = place
        .wait("shown", "tpwd", "web", |found| {
            found["status"]["api"]["generation"] == 58
        })
        .await;
    assert_eq!(
        condition(&shown, "Ready").unwrap(),
        ("False".to_owned(), "Progressing".to_owned(), 2)
    );
    place.api.change("WorkloadDefinition", "web", |web| {
        web.status = status(58, "False", "Progressing");
    });
    place
        .wait("progressing", "tpwd", "web", |found| {
            found["status"]["observedGeneration"] == 2
        })
        .await;
    assert!(
        wait.try_wait().unwrap().is_none(),
        "kubectl wait returned before 58 was Ready"
    );
    place
        .api
        .change("WorkloadDefinition", "web", |web| web.status = ready(58));
    let ended = tokio::task::spawn_blocking(move || wait.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(ended.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_at_57_over_a_restored_row_at_3_does_not_hang() {
    let place = Place::start("generation-3").await;
    let id = uuid::Uuid::new_v4();
    for generation in 1..=57 {
        let mut web = object(
            "WorkloadInstance",
            "web",
            generation,
            json!({"definition": format!("v{generation}")}),
        );
        web.metadata.id = Some(id);
        place.api.set(web);
        let wanted = format!("v{generation}");
        place
            .wait("mirrored", "tpwi", "web", |found| {
                found["spec"]["definition"] == wanted.as_str()
            })
            .await;
    }
    let mut restored = object("WorkloadInstance", "web", 3, json!({"definition": "v3"}));
    restored.metadata.id = Some(id);
    place.api.set(restored);
    let found = place
        .wait("restored", "tpwi", "web", |found| {
            found["spec"]["definition"] == "v3" && is(found, "Ready", "True", "Healthy")
        })
        .await;
    assert_eq!(found["metadata"]["generation"], 58);
    assert_eq!(
        (
            found["status"]["api"]["generation"].as_i64(),
            condition(&found, "Ready").unwrap().2
        ),
        (Some(3), 58)
    );
    let mut wait = place.kubectl_wait("workloadinstance", "web");
    assert!(
        tokio::task::spawn_blocking(move || wait.wait())
            .await
            .unwrap()
            .unwrap()
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_starts_with_the_edit_returns_with_the_new_generation() {
    let place = Place::start("generation-edit").await;
    let document = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {name: web, namespace: NAMESPACE}\n";
    let config = "apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: NAME}\\n";
    let edit = |name: &str| {
        place
            .apply(&format!(
                "{document}spec: {{yamlDocument: \"{}\"}}\n",
                config.replace("NAME", name)
            ))
            .unwrap();
    };
    edit("one");
    place
        .wait("sent", "tpwd", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
    place.api.change("WorkloadDefinition", "web", |web| {
        web.status = ready(web.generation());
    });
    place
        .wait("ready", "tpwd", "web", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    edit("two");
    let mut wait = place.kubectl_wait("workloaddefinition", "web");
    place
        .wait("sent", "tpwd", "web", |found| {
            condition(found, "Synced").is_some_and(|synced| synced.2 == 2)
        })
        .await;
    assert!(
        wait.try_wait().unwrap().is_none(),
        "kubectl wait returned before the edit was Ready"
    );
    place.api.change("WorkloadDefinition", "web", |web| {
        web.status = ready(web.generation());
    });
    assert!(
        tokio::task::spawn_blocking(move || wait.wait())
            .await
            .unwrap()
            .unwrap()
            .success()
    );
}
