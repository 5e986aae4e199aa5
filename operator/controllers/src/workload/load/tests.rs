use serde_json::json;
use threeport_model::kinds::WorkloadInstance;

use super::*;
use crate::{
    fixture::{identity, nowhere, run_of},
    target::{Resource, fake},
    workload::fixture::world,
};

#[test]
fn dependencies_are_waited_for() {
    let mut world = world();
    world.spec.depends_on =
        serde_json::from_value(json!([{"kind": "WorkloadInstance", "name": "db"}])).unwrap();
    assert_eq!(
        wait_for_dependencies(&world).unwrap_err().reason,
        Reason::WaitingForDependency
    );
    let mut database = Object::new(WorkloadInstance::KIND, "db", json!({}));
    for (status, holds) in [("Unknown", false), ("False", false), ("True", true)] {
        let ready = json!({"type": "Ready", "status": status, "reason": "X"});
        database.status = json!({"conditions": [ready]});
        world.claim.references = vec![database.clone()];
        assert_eq!(wait_for_dependencies(&world).is_ok(), holds, "{status}");
    }
}

#[test]
fn what_runs_already_is_healed_whatever_became_of_its_dependencies() {
    let mut world = world();
    world.spec.depends_on =
        serde_json::from_value(json!([{"kind": "WorkloadInstance", "name": "db"}])).unwrap();
    world.previous.revision = world.revision();
    assert!(world.previous.revision.is_some() && wait_for_dependencies(&world).is_ok());
    world.claim.object.metadata.generation = Some(3);
    assert!(
        wait_for_dependencies(&world).is_err(),
        "what is new waits as ever"
    );
}

/// It was written by another version, before a downgrade say, and only a run of this instance writes it anew.
#[tokio::test]
async fn a_status_of_which_something_can_t_be_read_holds_up_no_instance() {
    let mut claim = world().claim;
    let novel = json!({"type": "Novel", "status": "Perhaps", "reason": "R"});
    let ready = json!({"type": "Ready", "status": "True", "reason": "Ready"});
    let revision = json!({"definition": 5, "instance": 2});
    claim.object.status = json!({"namespace": "elsewhere", "revision": revision, "resources": "many", "worst": 7,
        "conditions": [novel, ready]});
    let targets = Targets::new(nowhere());
    let world = load(&run_of(claim), &identity(), &targets).await.unwrap();
    assert_eq!(world.namespace.as_deref(), Some("elsewhere"));
    assert!(world.previous.revision.is_some() && world.previous.revision == world.revision());
    let conditions = world.previous.conditions.iter();
    let kinds: Vec<&str> = conditions.map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds, ["Ready"]);
    assert_eq!(world.previous.resources.total, 0);
}

#[test]
fn the_default_runtime_is_not_mistaken_for_another() {
    let mut world = world();
    let other = Object::new(
        KubernetesRuntimeInstance::KIND,
        "other",
        json!({"defaultRuntime": false}),
    );
    let default = Object::new(
        KubernetesRuntimeInstance::KIND,
        "local",
        json!({"defaultRuntime": true}),
    );
    world.claim.references = vec![other, default];
    let found =
        |name: Option<&String>| reference(&world.claim, KubernetesRuntimeInstance::KIND, name).unwrap();
    assert_eq!(found(None).metadata.name, "local");
    assert_eq!(found(Some(&"other".to_owned())).metadata.name, "other");
}

/// The name is another control plane's, and with our own before it too long for a namespace.
#[tokio::test]
async fn a_default_namespace_that_would_be_too_long_is_told_and_decided_again() {
    for (length, fits) in [(53, true), (54, false)] {
        let mut world = world();
        world.namespace = None;
        world.claim.object.metadata.name = "w".repeat(length);
        let (target, _) = fake::target(|_| {
            let labels = threeport_model::identity::labels(Uuid::from_u128(8), Uuid::from_u128(7), "other");
            Some((200, json!({"metadata": {"uid": "u", "labels": labels}})))
        });
        world.target = Some(target);
        let placed = place(&mut world, &[], &Kinds::new()).await;
        if fits {
            assert_eq!(placed, Ok(()));
            assert_eq!(world.namespace, Some(format!("threeport-{}", "w".repeat(length))));
            continue;
        }
        let obstacle = placed.unwrap_err();
        assert_eq!(obstacle.reason, Reason::Conflict);
        for said in ["at most 63 characters", "spec.namespace", "control plane"] {
            assert!(obstacle.message.contains(said), "{obstacle:?}");
        }
        assert_eq!(world.namespace, None);
    }
}

/// Each would undo what the other one says.
#[tokio::test]
async fn documents_that_become_one_object_are_refused() {
    for (namespace, refused) in [("web", true), ("other", false)] {
        let of = |namespace: Option<&str>| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace}});
        let spec = workload_definition::Spec {
            yaml_document: None,
            manifests: serde_json::from_value(json!([of(None), of(Some(namespace))])).unwrap(),
        };
        let manifests = manifest::of_spec(&spec).unwrap();
        let resource = Resource {
            version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            plural: "configmaps".to_owned(),
            namespaced: true,
            ..Resource::namespace()
        };
        let served = ServedKind {
            resource,
            served: true,
        };
        let kinds = Kinds::from([(kind_key(&manifests[0].identity), served)]);
        let mut world = world();
        let placed = place(&mut world, &manifests, &kinds).await;
        match placed {
            Err(obstacle) => {
                assert!(refused && obstacle.reason == Reason::Invalid, "{obstacle:?}");
                assert!(obstacle.message.contains("ConfigMap web/a"), "{obstacle:?}");
            }
            Ok(()) => assert!(!refused),
        }
    }
}
