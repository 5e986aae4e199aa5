use serde_json::json;
use threeport_model::kinds::workload_instance::Health;

use crate::harness::{World, assert_done};

const INSTANCES: usize = 10;
/// ConfigMaps per instance; with its namespace ten objects.
const CONFIGS: usize = 9;

/// A hundred objects that are as they should be: neither a restart nor any number of looks writes anything, to the
/// cluster (its audit log says so) or to the API.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_a_no_op() {
    let mut world = World::start(false).await;
    let documents: Vec<_> = (0..CONFIGS)
        .map(|number| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: config-{number}}}\ndata: {{key: ours}}\n"
            )
        })
        .collect();
    world.define("web", &documents.join("---\n"));
    let names: Vec<_> = (0..INSTANCES).map(|number| format!("web-{number}")).collect();
    for name in &names {
        world.place(name, json!({"definition": "web"}));
        world.settle(name).await;
        assert_eq!(world.ready(name).0, "Ready");
    }
    let settled = world.writes();
    assert_eq!(
        settled.len(),
        INSTANCES * (CONFIGS + 1),
        "each object with one write"
    );

    for _ in 0..3 {
        world.restart().await;
        for name in &names {
            let before = world.status(name);
            let report = world.run(name).await;
            assert_done(&report);
            assert_eq!(world.status(name), before);
            assert!(
                report.inventory.is_empty()
                    && report.inventory_removed.is_empty()
                    && report.events.is_empty()
            );
        }
    }
    let restarted = world.writes();
    assert_eq!(
        restarted.len(),
        settled.len(),
        "{:?}",
        &restarted[settled.len()..]
    );

    // The positive control: one object is changed by somebody, and exactly its healing is in the log.
    let change = r#"{"data":{"key":"theirs"}}"#;
    world.kubectl(&[
        "patch",
        "configmap",
        "config-3",
        "-n",
        "web-7",
        "--type=merge",
        "-p",
        change,
    ]);
    world.observe("web-7", Health::Current);
    world.restart().await;
    for name in &names {
        world.run(name).await;
    }
    let healed = world.writes();
    assert_eq!(
        &healed[settled.len()..],
        ["patch 200 /api/v1/namespaces/web-7/configmaps/config-3"]
    );
}
