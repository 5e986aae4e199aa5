//! A second control plane in a second namespace: the same names, no crosstalk, CRDs shared.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::Api;
use serde_json::json;
use threeport_client::{Client, Options, Token};
use threeport_e2e::{World, kubectl, workload};
use threeport_model::{ManagedBy, Object, kinds};

use crate::{
    installation::{install, uninstall},
    scene::Scene,
    steps::{apply, gone, live, uid, wait_ready},
    story_5_crds::definitions,
};

const OTHER: &str = "threeport-other";
/// Where the other control plane puts an instance of that name.
const OTHER_WORKLOAD: &str = "threeport-same";

/// The API of another control plane, as its administrator, at its Service's address.
async fn client_of(world: &World, namespace: &str) -> Result<Client> {
    let cluster = || world.cluster.clone();
    let service: Service = Api::namespaced(cluster(), namespace).get("threeport-api").await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip);
    let address = address.context("the API's Service has no address")?.parse()?;
    let authority: ConfigMap = Api::namespaced(cluster(), namespace).get("threeport-ca").await?;
    let authority = authority.data.unwrap_or_default().remove("ca.crt");
    let token: Secret = Api::namespaced(cluster(), namespace)
        .get("threeport-admin-token")
        .await?;
    let token = token.data.unwrap_or_default().remove("token");
    let token = String::from_utf8(token.context("the Secret has no token")?.0)?;
    let mut options = Options::new(format!("https://threeport-api.{namespace}.svc"), "threeport-e2e");
    options.address = Some(SocketAddr::new(address, 443));
    options.ca_pem = authority.map(String::into_bytes);
    options.token = Some(Token::value(token.trim()));
    Ok(Client::new(options)?)
}

/// `Kind/name` of everything that an API has but what it knows of itself, sorted.
async fn objects(api: &Client) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for kind in kinds::ALL.iter().filter(|kind| kind.custom_resource) {
        let (objects, _) = api.object_list_all(kind, None).await?;
        let made = objects
            .iter()
            .filter(|object| object.metadata.managed_by != Some(ManagedBy::System));
        all.extend(made.map(Object::reference));
    }
    all.sort();
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn story_9_two_control_planes_share_a_cluster_without_crosstalk() -> Result<()> {
    let same = [
        workload::definition("same", &workload::service("same", workload::IMAGE)),
        workload::instance("same", "same", &json!({})),
    ];
    let text = workload::text(&same);
    let both = ["WorkloadDefinition/same", "WorkloadInstance/same"];
    Scene::of(&same)
        .alone()
        .and_namespace(OTHER_WORKLOAD)
        .and_control_plane(OTHER)
        .play(async |world| {
            let crds = definitions().await?;
            install(world, OTHER).await?;
            let other = client_of(world, OTHER).await?;
            apply(world, &same).await?;
            wait_ready(world, &same).await?;
            let own = objects(&world.api).await?;
            ensure!(own == both, "positive control: the first lists {own:?}");
            let foreign = objects(&other).await?;
            ensure!(foreign.is_empty(), "the other control plane lists {foreign:?}");

            kubectl(&format!("-n {OTHER} apply -f -"), Some(&text))
                .await?
                .success()?;
            kubectl(
                &format!("-n {OTHER} wait --for=condition=Ready --timeout=90s -f -"),
                Some(&text),
            )
            .await?
            .success()?;
            for api in [&world.api, &other] {
                let listed = objects(api).await?;
                ensure!(listed == both, "one of them lists {listed:?}");
            }
            for kind in kinds::ALL.iter().filter(|kind| kind.kind.starts_with("Workload")) {
                let (mine, theirs) = (
                    world.api.object_get(kind, "same").await?.id(),
                    other.object_get(kind, "same").await?.id(),
                );
                ensure!(mine != theirs, "both control planes have {} {mine}", kind.kind);
            }
            let instance = live(OTHER, "workloadinstance/same").await?.unwrap_or_default();
            let namespace = &instance["status"]["namespace"];
            ensure!(
                *namespace == OTHER_WORKLOAD,
                "the other control plane uses namespace {namespace}"
            );
            let mine = uid("same", "deployment/same").await?;
            uid(OTHER_WORKLOAD, "deployment/same").await?;

            kubectl(&format!("-n {OTHER} delete --timeout=90s -f -"), Some(&text))
                .await?
                .success()?;
            gone(OTHER_WORKLOAD, "deployment/same", Duration::from_secs(60)).await?;
            ensure!(
                uid("same", "deployment/same").await? == mine,
                "the first control plane's workload was touched"
            );
            uninstall(OTHER).await?;
            kubectl(&format!("delete namespace {OTHER} --timeout=90s"), None)
                .await?
                .success()?;
            ensure!(
                definitions().await? == crds && !crds.is_empty(),
                "the definitions were made anew"
            );
            wait_ready(world, &same).await?;
            ensure!(
                uid("same", "deployment/same").await? == mine,
                "the first control plane's workload was touched"
            );
            Ok(())
        })
        .await
}
