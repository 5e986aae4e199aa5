//! Variables of the environment that are set to nothing.

use std::collections::BTreeMap;

use crate::world::{World, program};

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_empty_is_one_that_is_not_set() {
    let world = World::new().await;
    let mut environment = world.environment();
    for empty in ["THREEPORT_CONTEXT", "THREEPORT_CONFIG", "THREEPORT_NAMESPACE"] {
        environment.insert(empty, "".into());
    }
    let me = program(&["whoami", "-o", "name"], "", environment).await;
    assert_eq!(me.code, 0, "{me:?}");

    let empty = ["THREEPORT_SERVER", "THREEPORT_CA_FILE", "THREEPORT_TOKEN_FILE"];
    let mut environment: BTreeMap<_, _> = empty.into_iter().map(|name| (name, "".into())).collect();
    environment.insert("KUBECONFIG", "/nowhere".into());
    let kubeconfig = program(&["whoami"], "", environment).await;
    assert_eq!(kubeconfig.code, 1, "{kubeconfig:?}");
    assert!(
        kubeconfig.stderr.contains("no server was named") && kubeconfig.stderr.contains("/nowhere"),
        "{kubeconfig:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_quiet_is_not_told_what_to_do_next() {
    let world = World::new().await;
    let manifest = "{apiVersion: v1, kind: ConfigMap, metadata: {name: web}}";
    let run = ["run", "web", "-f", "-"];
    let told = world.run_with(&run, manifest).await;
    assert!(
        told.code == 0 && told.stderr.starts_with("watch it with: tptctl wait"),
        "{told:?}"
    );
    let quiet = world.run_with(&[&run[..], &["--quiet"]].concat(), manifest).await;
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{quiet:?}");
}
