//! A cluster that takes connections and never answers.

use std::{net::TcpListener, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::{watch::until, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_it_knows_before_it_has_heard_of_the_cluster() {
    let world = World::new().await;
    // Nobody accepts: that is as far as a connection gets.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let kubeconfig = format!(
        "clusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}]\n\
         contexts: [{{name: a, context: {{cluster: a}}}}]\ncurrent-context: a\n"
    );
    let mut program = Command::new(env!("CARGO_BIN_EXE_tptctl"))
        .arg("doctor")
        .env_clear()
        .envs(world.environment())
        .env("KUBECONFIG", world.write("kubeconfig", &kubeconfig))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(program.stdout.take().unwrap()).lines();
    // The last line about the API.
    let known = until(&mut said, "workloads: ").await;
    assert!(known[0].starts_with("ok       way to the API: "), "{known:?}");
    assert!(
        !known.iter().any(|line| line.contains("cluster:")),
        "it knows how the cluster is: {known:?}"
    );
}
