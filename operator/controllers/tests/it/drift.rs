use serde_json::{Value, json};
use threeport_engine::Outcome;
use threeport_model::{condition, kinds::workload_instance::Health};

use crate::harness::{World, assert_done};

/// Somebody's, and of no definition.
const AUTOSCALER: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: theirs, namespace: web}
spec:
  minReplicas: 1
  maxReplicas: 9
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
";

const APP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {key: ours}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: localhost/web:1}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: seed}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: seed, image: localhost/seed:1}]}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_healed_with_manners() {
    let mut world = World::start(false).await;
    world.define("web", APP);
    world.place("web", json!({}));
    assert!(world.settle("web").await.resources.ready == 4);

    // A foreign change of a field of ours, and one of a field that is not.
    world.kubectl(&["annotate", "configmap", "config", "-n", "web", "note=theirs"]);
    world.kubectl(&[
        "patch",
        "configmap",
        "config",
        "-n",
        "web",
        "--type=merge",
        "-p",
        r#"{"data":{"key":"theirs"}}"#,
    ]);
    world.observe("web", Health::Current);
    let report = world.run("web").await;
    assert_done(&report);
    assert!(
        report.events.iter().any(|event| event.reason == "Healed"),
        "{:?}",
        report.events
    );
    let healed = world.get("configmap", "web", "config");
    assert_eq!(
        (&healed["data"]["key"], &healed["metadata"]["annotations"]["note"]),
        (&json!("ours"), &json!("theirs"))
    );

    // Deleted: made again, once it is known to be gone.
    world.kubectl(&["delete", "configmap", "config", "-n", "web"]);
    world.observe("web", Health::Current);
    assert_done(&world.run("web").await);
    assert_eq!(world.get("configmap", "web", "config")["data"]["key"], "ours");

    // An observation that says Missing while the object is there (a snapshot that was under way): nothing is written.
    world.observe("web", Health::Current);
    let writes = world.writes().len();
    for row in &mut world.api.0.lock().unwrap().rows {
        row.observed.health = Health::Missing;
    }
    world.run("web").await;
    assert_eq!(world.writes().len(), writes);

    // What an agent saw untouched is changed without being read; whether an autoscaler names it is asked.
    world.observe("web", Health::Current);
    let reads = || world.requests(&["get"]).len();
    let before = reads();
    world.define("web", &APP.replace("web:1", "web:3"));
    assert_done(&world.run("web").await);
    assert_eq!(reads(), before);
    world.observe("web", Health::Current);

    // Who scales owns the replicas from then on, and the image stays ours.
    world.kubectl(&["scale", "deployment", "web", "-n", "web", "--replicas=5"]);
    world.observe("web", Health::Current);
    assert_done(&world.run("web").await);
    assert_eq!(world.get("deployment", "web", "web")["spec"]["replicas"], 5);
    world.define("web", &APP.replace("web:1", "web:2"));
    assert_done(&world.run("web").await);
    let deployment = world.get("deployment", "web", "web");
    assert_eq!(deployment["spec"]["replicas"], 5);
    assert_eq!(
        deployment["spec"]["template"]["spec"]["containers"][0]["image"],
        "localhost/web:2"
    );
    world.observe("web", Health::Current);
    let writes = world.writes().len();
    world.run("web").await;
    assert_eq!(world.writes().len(), writes, "left alone is not drift");

    somebody_s_autoscaler_is_heeded(&mut world).await;
}

/// Whoever edits replicas takes them from us, and not through the scale subresource: whether they are to be left alone,
/// only the reference of an autoscaler tells.
async fn somebody_s_autoscaler_is_heeded(world: &mut World) {
    edit_replicas(world, 3);
    world.define("web", &APP.replace("web:1", "web:4"));
    assert_done(&world.run("web").await);
    assert_eq!(
        replicas_and_image(world),
        (json!(2), json!("localhost/web:4")),
        "without an autoscaler they are ours"
    );

    world.tool().apply(AUTOSCALER).unwrap();
    // What a controller knows of autoscalers may be some seconds old.
    world.restart().await;
    let heals = heals_of_deployment(world);
    edit_replicas(world, 4);
    assert_done(&world.run("web").await);
    assert_eq!(replicas_and_image(world), (json!(4), json!("localhost/web:4")));
    assert_eq!(
        heals_of_deployment(world),
        heals,
        "what an autoscaler does is no fight"
    );
    world.define("web", &APP.replace("web:1", "web:5"));
    assert_done(&world.run("web").await);
    assert_eq!(replicas_and_image(world), (json!(4), json!("localhost/web:5")));
}

fn edit_replicas(world: &World, replicas: u32) {
    edit(world, "deployment/web", &json!({"spec": {"replicas": replicas}}));
}

/// Somebody else's edit of what is in the namespace, which the agent sees.
fn edit(world: &World, object: &str, patch: &Value) {
    let patch = patch.to_string();
    world.kubectl(&["patch", object, "-n", "web", "--type=merge", "-p", &patch]);
    world.observe("web", Health::Current);
}

fn heals_of_deployment(world: &World) -> usize {
    let rows = world.rows("web");
    let deployment = rows.iter().find(|row| row.kind == "Deployment").unwrap();
    deployment.healed_at.len()
}

fn replicas_and_image(world: &World) -> (Value, Value) {
    let deployment = world.get("deployment", "web", "web");
    let spec = &deployment["spec"];
    let container = &spec["template"]["spec"]["containers"][0];
    (spec["replicas"].clone(), container["image"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_once_per_hash_and_immutable_fields_are_told() {
    let world = World::start(false).await;
    world.define("web", APP);
    world.place("web", json!({}));
    world.settle("web").await;
    let job = world
        .rows("web")
        .into_iter()
        .find(|row| row.kind == "Job")
        .unwrap();
    assert_eq!(job.completed_hash, job.plan_hash, "it was seen to complete");

    // Its TTL removed it, and something else changed: not run again.
    world.kubectl(&["delete", "job", "seed", "-n", "web"]);
    world.observe("web", Health::Current);
    world.define("web", &APP.replace("ours", "changed"));
    assert_done(&world.run("web").await);
    assert!(world.get("job", "web", "seed").is_null());
    world.observe("web", Health::Current);
    world.run("web").await;
    assert_eq!(world.ready("web").0, "Ready");

    // It changed itself: run again.
    world.define("web", &APP.replace("seed:1", "seed:2"));
    assert_done(&world.run("web").await);
    let second = world.get("job", "web", "seed");
    assert!(second.to_string().contains("localhost/seed:2"));

    // It changed while it is there: replaced.
    world.define("web", &APP.replace("seed:1", "seed:3"));
    let report = world.run("web").await;
    assert_done(&report);
    let third = world.get("job", "web", "seed");
    assert!(
        third.to_string().contains("localhost/seed:3")
            && third["metadata"]["uid"] != second["metadata"]["uid"]
    );
    assert!(report.events.iter().any(|event| event.reason == "Recreated"));

    // An immutable field of anything else: Stalled, naming it, until it is allowed.
    let other_selector = APP.replace("{app: web}", "{app: other}");
    world.define("web", &other_selector);
    let report = world.run("web").await;
    assert!(
        matches!(report.outcome, Outcome::Stalled { retried: false, .. }),
        "{:?}",
        report.outcome
    );
    let (reason, message) = world.stalled("web");
    assert_eq!(reason, "Immutable");
    assert!(
        message.contains("Deployment web/web") && message.contains("spec.selector"),
        "{message}"
    );
    let annotated = other_selector.replace(
        "kind: Deployment\nmetadata: {name: web}",
        "kind: Deployment\nmetadata: {name: web, annotations: {threeport.io/on-immutable: recreate}}",
    );
    world.define("web", &annotated);
    assert_done(&world.run("web").await);
    assert_eq!(
        world.get("deployment", "web", "web")["spec"]["selector"]["matchLabels"]["app"],
        "other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fight_is_told_and_not_fought_for_ever() {
    let world = World::start(false).await;
    world.define(
        "web",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: ours}\n",
    );
    world.place("web", json!({}));
    world.settle("web").await;
    let change = |value: usize| {
        let patch = json!({"data": {"key": format!("theirs{value}")}});
        edit(&world, "configmap/config", &patch);
    };
    for round in 0..5 {
        change(round);
        world.run("web").await;
        assert_eq!(
            world.get("configmap", "web", "config")["data"]["key"],
            "ours",
            "round {round}"
        );
    }
    change(5);
    let report = world.run("web").await;
    assert!(
        matches!(report.outcome, Outcome::RequeueAfter(_)),
        "{:?}",
        report.outcome
    );
    assert_eq!(world.get("configmap", "web", "config")["data"]["key"], "theirs5");
    let status = world.status("web");
    let fighting = condition::find(&status.conditions, condition::FIGHTING).unwrap();
    assert!(fighting.message.contains("ConfigMap web/config") && fighting.message.contains("kubectl-patch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_after_a_backup_is_set_back_by_the_restored_rows() {
    const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: before}\n";
    let world = World::start(false).await;
    world.define("web", MAP);
    world.place("web", json!({}));
    world.settle("web").await;
    let backup = world.rows("web");
    // Kubernetes counts an apply's time in seconds.
    let second = jiff::Timestamp::now().as_second();
    while jiff::Timestamp::now().as_second() == second {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    world.define("web", &MAP.replace("before", "after"));
    world.settle("web").await;
    assert_eq!(world.get("configmap", "web", "config")["data"]["key"], "after");

    world.api.0.lock().unwrap().rows = backup;
    world.define("web", MAP);
    world.observe("web", Health::Current);
    assert_done(&world.run("web").await);
    assert_eq!(world.get("configmap", "web", "config")["data"]["key"], "before");
    world.observe("web", Health::Current);
    let writes = world.writes().len();
    world.run("web").await;
    assert_eq!(world.writes().len(), writes, "set back once");
}
