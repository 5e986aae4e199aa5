use serde_json::{Value, json};
use threeport_engine::Outcome;
use threeport_testbed::process;

use crate::harness::{World, assert_done};

const GRANTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: writer, namespace: shop}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get, create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: writer, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: writer}
subjects: [{kind: ServiceAccount, name: limited, namespace: accounts}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: namespace-reader}
rules:
- {apiGroups: [''], resources: [namespaces], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: namespace-reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: namespace-reader}
subjects: [{kind: ServiceAccount, name: limited, namespace: accounts}]
";

/// Everything is done as the runtime's account; what that may not is said with verb and resource.
#[tokio::test(flavor = "multi_thread")]
async fn writes_are_made_as_the_runtime_s_account() {
    let mut world = World::start(false).await;
    world.tool().apply(GRANTS).unwrap();
    world.account = Some("accounts/limited".to_owned());
    world.define(
        "web",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: ours}\n",
    );

    world.place("web", json!({}));
    let report = world.run("web").await;
    assert!(
        matches!(report.outcome, Outcome::Stalled { retried: true, .. }),
        "{:?}",
        report.outcome
    );
    let (reason, message) = world.stalled("web");
    assert_eq!(reason, "Forbidden");
    assert!(
        message.contains("Namespace web") && message.contains("patch of namespaces"),
        "{message}"
    );
    assert!(world.rows("web").is_empty(), "what was refused was never made");

    world.place("shop", json!({"definition": "web", "namespace": "shop"}));
    assert_done(&world.run("shop").await);
    let log = process::whole_lines(&world.cluster.audit_log()).unwrap();
    let writes = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| {
            event["verb"] == "patch"
                && event["requestURI"]
                    .as_str()
                    .unwrap_or_default()
                    .contains("/shop/configmaps/")
        });
    let users: Vec<_> = writes
        .map(|event| event["impersonatedUser"]["username"].clone())
        .collect();
    assert_eq!(users, ["system:serviceaccount:accounts:limited"]);
}
