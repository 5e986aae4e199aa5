//! What the API does with a Kubernetes cluster: Secrets of bootstrap, and whose a token is. On a real API server.

use std::{collections::BTreeMap, path::PathBuf};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Namespace, Secret, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{ListParams, ObjectMeta, PostParams},
};
use threeport_model::problem::Code;
use threeport_server::{authentication::token_review::TokenReviewer, bootstrap};
use threeport_testbed::{ControlPlane, ControlPlaneOptions};

const NAMESPACE: &str = "plane";

async fn start() -> (ControlPlane, Client) {
    crate::harness::init_log();
    let plane = tokio::task::spawn_blocking(|| ControlPlane::start(&ControlPlaneOptions::default()));
    let plane = plane.await.unwrap().unwrap();
    let client = threeport_cluster::client(Some(&plane.kubeconfig()))
        .await
        .unwrap();
    let metadata = ObjectMeta {
        name: Some(NAMESPACE.to_owned()),
        ..ObjectMeta::default()
    };
    let namespace = Namespace {
        metadata,
        ..Namespace::default()
    };
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    (plane, client)
}

async fn run(kubeconfig: PathBuf, dns: &[&str]) {
    let arguments = bootstrap::Arguments {
        directory: None,
        namespace: Some(NAMESPACE.to_owned()),
        name: Some("threeport".to_owned()),
        kubeconfig: Some(kubeconfig),
        dns: dns.iter().map(ToString::to_string).collect(),
    };
    bootstrap::run(&arguments, jiff::Timestamp::now()).await.unwrap();
}

/// `Secret/entry` to its bytes.
async fn secrets(client: &Client) -> BTreeMap<String, Vec<u8>> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let list = secrets.list(&ListParams::default()).await.unwrap();
    let entries = list.items.into_iter().flat_map(|secret| {
        let name = secret.metadata.name.unwrap();
        let data = secret.data.unwrap_or_default();
        data.into_iter()
            .map(move |(key, value)| (format!("{name}/{key}"), value.0))
    });
    entries.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_made_once_whoever_runs_at_the_same_time() {
    let (plane, client) = start().await;
    let runs = (0..4).map(|_| tokio::spawn(run(plane.kubeconfig(), &[])));
    for run in futures::future::join_all(runs).await {
        run.unwrap();
    }
    let first = secrets(&client).await;
    let names: Vec<_> = first.keys().map(String::as_str).collect();
    let expected = [
        "threeport-admin-token/token",
        "threeport-api-tls/ca.crt",
        "threeport-api-tls/tls.crt",
        "threeport-api-tls/tls.key",
        "threeport-ca/ca.crt",
        "threeport-ca/ca.key",
        "threeport-encryption-key/key",
        "threeport-nats-auth/api",
        "threeport-nats-auth/auth.conf",
        "threeport-nats-auth/controllers",
        "threeport-nats-tls/ca.crt",
        "threeport-nats-tls/tls.crt",
        "threeport-nats-tls/tls.key",
    ];
    assert_eq!(names, expected);
    assert_eq!(first["threeport-api-tls/ca.crt"], first["threeport-ca/ca.crt"]);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let published = maps.get("threeport-ca").await.unwrap().data.unwrap();
    assert_eq!(published["ca.crt"].as_bytes(), first["threeport-ca/ca.crt"]);

    run(plane.kubeconfig(), &[]).await;
    assert_eq!(secrets(&client).await, first);
    // The control: a new name is seen, and only certificates follow it.
    run(plane.kubeconfig(), &["further.example"]).await;
    let after = secrets(&client).await;
    let changed: Vec<_> = after
        .iter()
        .filter(|(name, bytes)| first.get(*name) != Some(bytes))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        changed,
        ["threeport-api-tls/tls.crt", "threeport-nats-tls/tls.crt"]
    );
}

async fn token(client: &Client, audience: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let spec = TokenRequestSpec {
        audiences: vec![audience.to_owned()],
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest {
        spec,
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request("agent", &PostParams::default(), &request)
        .await
        .unwrap();
    answer.status.unwrap().token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_only_if_it_is_meant_for_threeport() {
    let (mut plane, client) = start().await;
    let metadata = ObjectMeta {
        name: Some("agent".to_owned()),
        ..ObjectMeta::default()
    };
    let account = ServiceAccount {
        metadata,
        ..ServiceAccount::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let (good, other, late) = (
        token(&client, "threeport").await,
        token(&client, "elsewhere").await,
        token(&client, "threeport").await,
    );
    let reviewer = TokenReviewer::new(client);
    assert_eq!(
        reviewer.user(&good).await.unwrap(),
        "system:serviceaccount:plane:agent"
    );
    assert_eq!(
        reviewer.user(&other).await.unwrap_err().code,
        Code::Unauthenticated
    );
    assert_eq!(
        reviewer.user("nonsense").await.unwrap_err().code,
        Code::Unauthenticated
    );
    // A cluster that does not answer refuses nobody: what is known counts on, what is not is 503.
    plane.process("kube-apiserver").unwrap().kill().unwrap();
    assert_eq!(
        reviewer.user(&good).await.unwrap(),
        "system:serviceaccount:plane:agent"
    );
    assert_eq!(reviewer.user(&late).await.unwrap_err().code, Code::Unavailable);
}
