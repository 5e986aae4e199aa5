use threeport_model::{kinds::workload_definition::Spec, manifest};

use super::*;

const TEXT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, uid: x, creationTimestamp: null, labels: {app: web}}
spec: {template: {metadata: {labels: {app: web}}}}
status: {replicas: 1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: other}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader, namespace: nonsense}
";

fn manifests(text: &str) -> Vec<Manifest> {
    manifest::of_spec(&Spec {
        yaml_document: Some(text.to_owned()),
        manifests: None,
    })
    .unwrap()
}

fn kinds(manifests: &[Manifest]) -> Kinds {
    let served = |manifest: &Manifest| {
        let ResourceIdentity {
            group, version, kind, ..
        } = manifest.identity.clone();
        let plural = format!("{}s", kind.to_lowercase());
        let namespaced = kind != "ClusterRole";
        (
            kind_key(&manifest.identity),
            ServedKind {
                resource: Resource {
                    group,
                    version,
                    kind,
                    plural,
                    namespaced,
                },
                served: true,
            },
        )
    };
    manifests.iter().map(served).collect()
}

fn rendered(owns_namespace: bool, labels: &BTreeMap<String, String>) -> Vec<Desired> {
    let manifests = manifests(TEXT);
    render(
        &manifests,
        &kinds(&manifests),
        &Placement {
            namespace: "shop",
            owns_namespace,
            labels,
        },
    )
}

#[test]
fn the_default_namespace_goes_where_none_is_named_and_nowhere_else() {
    let desired = rendered(true, &BTreeMap::new());
    let places: Vec<_> = desired
        .iter()
        .map(|one| (one.identity.kind.as_str(), one.identity.namespace.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            ("Namespace", ""),
            ("ClusterRole", ""),
            ("ConfigMap", "other"),
            ("Deployment", "shop")
        ]
    );
    assert!(desired[1].object["metadata"].get("namespace").is_none());
    assert_eq!(desired[3].object["metadata"]["namespace"], "shop");
}

#[test]
fn a_namespace_that_is_not_ours_is_not_rendered() {
    assert!(
        rendered(false, &BTreeMap::new())
            .iter()
            .all(|one| one.rank != Rank::Namespace)
    );
}

#[test]
fn identity_is_on_objects_and_not_in_pod_templates_and_not_in_the_hash() {
    let labels = BTreeMap::from([("threeport.io/instance".to_owned(), "1".to_owned())]);
    let (with, without) = (rendered(true, &labels), rendered(true, &BTreeMap::new()));
    let deployment = &with[3].object;
    assert_eq!(
        deployment["metadata"]["labels"],
        json!({"app": "web", "threeport.io/instance": "1"})
    );
    assert_eq!(
        deployment["spec"]["template"]["metadata"]["labels"],
        json!({"app": "web"})
    );
    assert_eq!(with[3].hash, without[3].hash);
}

#[test]
fn what_the_server_owns_is_left_out() {
    let deployment = &rendered(true, &BTreeMap::new())[3].object;
    assert!(deployment.get("status").is_none());
    assert!(
        deployment["metadata"].get("uid").is_none()
            && deployment["metadata"].get("creationTimestamp").is_none()
    );
}

#[test]
fn a_kind_is_found_in_a_crd_of_the_same_set() {
    let text = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec: {group: example.org, scope: Namespaced, names: {kind: Widget, plural: widgets}, versions: [{name: v1}]}
";
    let wanted = |version: &str| ResourceIdentity {
        group: "example.org".to_owned(),
        version: version.to_owned(),
        kind: "Widget".to_owned(),
        ..ResourceIdentity::default()
    };
    assert_eq!(
        kind_of_set(&manifests(text), &wanted("v1")).unwrap().plural,
        "widgets"
    );
    assert_eq!(kind_of_set(&manifests(text), &wanted("v2")), None);
}
