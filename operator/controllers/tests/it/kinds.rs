use serde_json::json;
use threeport_model::kinds::workload_instance::Health;

use crate::harness::{World, assert_done};

pub(crate) const WIDGETS: &str = "
apiVersion: example.org/v1
kind: Widget
metadata: {name: first}
spec: {size: 1}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
";

/// A kind that comes with a CRD of the same set is waited for, in whichever order the documents stand.
#[tokio::test(flavor = "multi_thread")]
async fn a_custom_resource_waits_for_its_definition() {
    let world = World::start(false).await;
    world.define("widgets", WIDGETS);
    world.place("widgets", json!({}));
    assert_done(&world.run("widgets").await);
    assert_eq!(
        world.get("widgets.example.org", "widgets", "first")["spec"]["size"],
        1
    );
    world.observe("widgets", Health::Current);
    world.run("widgets").await;
    assert_eq!(world.ready("widgets").0, "Ready");
}

/// Somebody deletes a CRD of the set, and its custom resources with it: that they can't be read is no reason to make none.
#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_was_deleted_is_made_again_with_its_custom_resources() {
    let world = World::start(false).await;
    world.define("widgets", WIDGETS);
    world.place("widgets", json!({}));
    world.settle("widgets").await;
    world.kubectl(&["delete", "crd", "widgets.example.org"]);
    let path = "/apis/example.org/v1/namespaces/widgets/widgets/first";
    let mut said = String::new();
    for _ in 0..100 {
        said = world.tool().run(&["get", "--raw", path]).unwrap_err().to_string();
        if said.contains("the server could not find the requested resource") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(said.contains("could not find the requested resource"), "{said}");
    // What an agent saw go.
    for row in &mut world.api.0.lock().unwrap().rows {
        if row.kind != "Namespace" {
            row.observed.health = Health::Missing;
        }
    }
    assert_done(&world.run("widgets").await);
    assert_eq!(
        world.get("widgets.example.org", "widgets", "first")["spec"]["size"],
        1
    );
}
