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
