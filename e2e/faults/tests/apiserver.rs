//! The proxy before a real API server: what the client sees, and what was executed.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config, Error,
    api::{ListParams, PostParams, WatchEvent, WatchParams},
    config::AuthInfo,
};
use threeport_faults::kubernetes::{Fault, Plan, Proxy};
use threeport_testbed::{ControlPlane, ControlPlaneOptions};
use tokio::time::{sleep, timeout};

/// How long a client waits for what is to come.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long a client waits that is never answered: longer than an answer takes, and shorter than a plan holds it.
const PATIENCE: Duration = Duration::from_secs(2);
const SEED: u64 = 11;

struct World {
    cluster: ControlPlane,
    proxy: Proxy,
    /// Through the proxy.
    client: Client,
    /// The namespace of the part that is being told.
    namespace: &'static str,
}

impl World {
    async fn start() -> Self {
        let cluster =
            tokio::task::spawn_blocking(|| ControlPlane::start(&ControlPlaneOptions::default()).unwrap());
        let cluster = cluster.await.unwrap();
        let kubectl = cluster.kubectl().unwrap();
        kubectl.run(&["create", "serviceaccount", "tester"]).unwrap();
        let binding = [
            "create",
            "clusterrolebinding",
            "tester",
            "--clusterrole=cluster-admin",
            "--serviceaccount=default:tester",
        ];
        kubectl.run(&binding).unwrap();
        let token = kubectl.run(&["create", "token", "tester"]).unwrap();
        let authority = std::fs::read_to_string(cluster.authority()).unwrap();
        let proxy = Proxy::start(cluster.url(), &authority).await.unwrap();

        let mut config = Config::new(proxy.url().parse().unwrap());
        config.root_cert = Some(vec![der(proxy.certificate())]);
        config.auth_info = AuthInfo {
            token: Some(token.trim().to_owned().into()),
            ..AuthInfo::default()
        };
        Self {
            cluster,
            proxy,
            client: Client::try_from(config).unwrap(),
            namespace: "default",
        }
    }

    /// A namespace of its own for each part.
    fn enter(&mut self, namespace: &'static str) {
        self.proxy.calm();
        self.kubectl(&["create", "namespace", namespace]);
        self.namespace = namespace;
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    /// Past the proxy.
    fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl().unwrap().run(arguments).unwrap()
    }

    fn is_there(&self, name: &str) -> bool {
        let get = ["get", "configmap", name, "-n", self.namespace];
        let found = self.kubectl(&[&get[..], &["--ignore-not-found", "-o", "name"]].concat());
        !found.is_empty()
    }

    async fn create(&self, name: &str) -> Result<ConfigMap, Error> {
        self.maps().create(&PostParams::default(), &map(name)).await
    }

    /// What a client sees of a create; nothing where its request was held, and it gave up a while after that.
    async fn create_in_vain(&self, name: &str, fault: Fault) -> Option<Result<ConfigMap, Error>> {
        let is_held = matches!(fault, Fault::Held | Fault::HeldAfter);
        let gives_up = async {
            while !is_held || self.count(fault) == 0 {
                sleep(Duration::from_millis(10)).await;
            }
            sleep(PATIENCE).await;
        };
        let seen = async {
            tokio::select! {
                answer = self.create(name) => Some(answer),
                () = gives_up => None,
            }
        };
        timeout(DEADLINE, seen).await.unwrap()
    }

    fn count(&self, fault: Fault) -> u64 {
        self.proxy.counts().get(&fault).copied().unwrap_or_default()
    }
}

fn der(pem: &str) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject;
    let certificate = rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes());
    certificate.unwrap().to_vec()
}

fn map(name: &str) -> ConfigMap {
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "value"},
    });
    serde_json::from_value(map).unwrap()
}

/// One cluster for all: starting one takes longer than the rest.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_sees_and_what_was_executed() {
    let mut world = World::start().await;
    world.enter("calm");
    without_a_plan_everything_is_passed_on(&world).await;
    world.enter("writes");
    a_write_fails_before_or_after_it_was_executed(&world).await;
    world.enter("lists");
    the_rest_of_a_list_fails(&world).await;
    world.enter("watches");
    a_watch_ends_between_two_events_or_in_one(&world).await;
}

async fn without_a_plan_everything_is_passed_on(world: &World) {
    let maps = world.maps();
    let watch = maps
        .watch(&WatchParams::default().disable_bookmarks(), "0")
        .await
        .unwrap();
    let mut watch = std::pin::pin!(watch);
    for name in ["one", "two", "three"] {
        world.create(name).await.unwrap();
        let seen = timeout(DEADLINE, watch.try_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(
            matches!(&seen, WatchEvent::Added(map) if map.metadata.name.as_deref() == Some(name)),
            "{seen:?}"
        );
    }
    let page = world.maps().list(&ListParams::default().limit(2)).await.unwrap();
    let rest = ListParams::default()
        .limit(2)
        .continue_token(&page.metadata.continue_.unwrap());
    let rest = world.maps().list(&rest).await.unwrap();
    assert_eq!((page.items.len(), rest.items.len()), (2, 1));
    assert!(
        world.maps().get_opt("four").await.unwrap().is_none(),
        "404 is 404"
    );
    assert!(world.proxy.counts().is_empty());
}

async fn a_write_fails_before_or_after_it_was_executed(world: &World) {
    for (fault, is_executed) in [
        (Fault::Refused, false),
        (Fault::RefusedAfter, true),
        (Fault::Held, false),
        (Fault::HeldAfter, true),
        (Fault::Cut, false),
        (Fault::CutAfter, true),
        (Fault::Truncated, true),
        (Fault::Garbled, true),
    ] {
        world.proxy.disturb(Plan::only(SEED, fault));
        let name = format!("{fault:?}").to_lowercase();
        match world.create_in_vain(&name, fault).await {
            None => assert!(matches!(fault, Fault::Held | Fault::HeldAfter), "{fault:?}"),
            Some(Err(Error::Api(status))) => {
                assert!(matches!(fault, Fault::Refused | Fault::RefusedAfter), "{fault:?}");
                assert!(status.code >= 429, "{status:?}");
            }
            Some(Err(error)) => {
                let silent = [Fault::Cut, Fault::CutAfter, Fault::Truncated, Fault::Garbled];
                assert!(silent.contains(&fault), "{fault:?}: {error}");
            }
            Some(Ok(created)) => panic!("{fault:?}: {created:?}"),
        }
        world.proxy.calm();
        assert_eq!(world.is_there(&name), is_executed, "{fault:?}");
        assert!(world.count(fault) >= 1, "{:?}", world.proxy.counts());
    }
    world.create("calm").await.unwrap();
}

async fn the_rest_of_a_list_fails(world: &World) {
    for name in ["one", "two", "three"] {
        world.create(name).await.unwrap();
    }
    world.proxy.disturb(Plan::only(SEED, Fault::PartialList));
    // As a client asks that is content with the API server's cache, where a list is always whole.
    let parameters = ListParams::default().match_any();
    let page = world.maps().list(&parameters).await.unwrap();
    let rest = page.metadata.continue_.unwrap();
    assert_eq!(page.items.len(), 1);
    let error = world
        .maps()
        .list(&ListParams::default().continue_token(&rest))
        .await;
    assert!(
        matches!(&error, Err(Error::Api(status)) if [410, 500].contains(&status.code)),
        "{error:?}"
    );
    assert_eq!(world.count(Fault::PartialList), 1);
    world.proxy.calm();
    assert_eq!(world.maps().list(&parameters).await.unwrap().items.len(), 3);
}

async fn a_watch_ends_between_two_events_or_in_one(world: &World) {
    for name in ["one", "two", "three"] {
        world.create(name).await.unwrap();
    }
    for (fault, most) in [(Fault::WatchCut, 3), (Fault::WatchTruncated, 2)] {
        let mut plan = Plan::only(SEED, fault);
        plan.watch = Duration::from_secs(1);
        world.proxy.disturb(plan);
        let maps = world.maps();
        let watch = maps
            .watch(&WatchParams::default().disable_bookmarks(), "0")
            .await
            .unwrap();
        let seen = timeout(DEADLINE, count(watch)).await.unwrap();
        assert!(seen <= most, "{fault:?}: {seen} whole events");
        assert_eq!(world.count(fault), 1, "{fault:?}");
    }
    world.proxy.calm();
    let maps = world.maps();
    let watch = maps
        .watch(&WatchParams::default().disable_bookmarks(), "0")
        .await
        .unwrap();
    world.proxy.disturb(Plan::new(SEED, 0.0));
    let seen = timeout(DEADLINE, count(watch)).await.unwrap();
    assert!(seen <= 3, "an open watch outlives a new plan");
    assert_eq!(world.count(Fault::WatchCut), 2);
}

/// How many whole events there are, until the watch ends in whatever way.
async fn count(watch: impl futures::Stream<Item = Result<WatchEvent<ConfigMap>, Error>>) -> usize {
    let mut watch = std::pin::pin!(watch);
    let mut seen = 0;
    while let Ok(Some(_)) = watch.try_next().await {
        seen += 1;
    }
    seen
}
