use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{World, assert_done};

fn config(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{key: ours}}\n")
}

/// Another runtime becomes the default, and it is the same cluster: what the instance has is taken over, and not deleted as
/// what it has left elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_runtime_of_the_same_cluster_takes_over_is_not_deleted() {
    let mut world = World::start(false).await;
    world.define("web", &format!("{}---\n{}", config("kept"), config("dropped")));
    world.place("web", json!({}));
    world.settle("web").await;
    let uids = |world: &World| -> Vec<Value> {
        let of = |kind, name| world.get(kind, "web", name)["metadata"]["uid"].clone();
        vec![of("namespace", "web"), of("configmap", "kept")]
    };
    let before = uids(&world);
    assert!(before.iter().all(Value::is_string), "{before:?}");

    world.runtime = Uuid::from_u128(2);
    world.define("web", &config("kept"));
    assert_done(&world.run("web").await);
    assert_eq!(uids(&world), before);
    assert_eq!(
        world.deletions(),
        ["delete 200 /api/v1/namespaces/web/configmaps/dropped"],
        "what is desired no more goes, and nothing else"
    );
    let rows = world.rows("web");
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter()
            .all(|row| row.runtime_id == world.runtime && row.uid.is_some()),
        "{rows:?}"
    );
    world.delete("web");
    world.run("web").await;
    assert!(world.get("configmap", "web", "kept").is_null());
}
