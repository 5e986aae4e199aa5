//! With the real API: on SQLite, over TLS, with the facade's own ServiceAccount token, vouched for by the cluster.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Parser;
use serde_json::{Value, json};
use threeport_client::{ApplyBody, Client, Options, Token};
use threeport_model::{ManagedBy, Object, find_kind, object::Metadata};
use threeport_server::{bootstrap, configuration, serve};
use threeport_store::Store;
use threeport_testbed::ports;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::{DEADLINE, Place, condition, is};

#[derive(Parser)]
struct Bootstrap {
    #[command(flatten)]
    arguments: bootstrap::Arguments,
}

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    configuration: configuration::Configuration,
}

/// A control plane's API of its own, and a facade that serves its namespace.
struct Whole {
    place: Place,
    admin: Client,
    flags: Vec<String>,
    server: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
    folder: tempfile::TempDir,
}

impl Whole {
    /// Applies a definition `web` as `kubectl` does, and waits until the API has it.
    async fn bring_web(&self) {
        self.place.apply(&definition("web", &document("one"))).unwrap();
        self.place
            .wait("sent", "tpwd", "web", |found| {
                is(found, "Synced", "True", "Synced")
            })
            .await;
    }

    async fn start(namespace: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let place = Place::prepare(namespace).await;
        let arguments = ["bootstrap", "--directory", &file(""), "--dns", "localhost"];
        let arguments = Bootstrap::try_parse_from(arguments).unwrap().arguments;
        bootstrap::run(&arguments, jiff::Timestamp::now()).await.unwrap();
        let url = format!("sqlite://{}", file("threeport.db"));
        Store::migrate(&threeport_store::Options::new(url.clone()))
            .await
            .unwrap();
        std::fs::write(file("database-url"), url).unwrap();
        let (api, probes) = (free(), free());
        let account = format!("{namespace}/threeport-facade");
        let kubeconfig = place.kubeconfig().display().to_string();
        let flags = [
            ("listen", api.to_string()),
            ("probes-listen", probes.to_string()),
            ("tls-certificate", file("api.crt")),
            ("tls-key", file("api.key")),
            ("database-url-file", file("database-url")),
            ("encryption-key-file", file("encryption-key")),
            ("admin-token-file", file("admin-token")),
            ("facade-account", account),
            ("kubeconfig", kubeconfig),
            ("namespace", namespace.to_owned()),
        ];
        let flags = flags.iter().map(|(name, value)| format!("--{name}={value}"));
        let flags = ["serve".to_owned(), "--kubernetes-authentication".to_owned()]
            .into_iter()
            .chain(flags)
            .collect();

        let client = |token: Token| {
            let mut options = Options::new(format!("https://localhost:{}", api.port()), "test");
            options.ca_file = Some(file("ca.crt").into());
            options.token = Some(token);
            Client::new(options).unwrap()
        };
        let admin = client(Token::file(file("admin-token")));
        let token = place
            .run(&["create", "token", "threeport-facade", "--audience=threeport"])
            .unwrap();
        let facade = client(Token::value(&token));
        let mut whole = Self {
            place,
            admin,
            flags,
            server: None,
            folder,
        };
        whole.start_api().await;
        whole.place.start_facade_with(facade).await;
        whole
    }

    /// Starts the API and waits until it answers.
    async fn start_api(&mut self) {
        let configuration = Serve::try_parse_from(&self.flags).unwrap().configuration;
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve::run(configuration, shutdown.clone()));
        self.server = Some((shutdown, task));
        let started = Instant::now();
        while let Err(error) = self.admin.whoami().await {
            assert!(started.elapsed() < DEADLINE, "the API does not answer: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop_api(&mut self) {
        let (shutdown, task) = self.server.take().unwrap();
        shutdown.cancel();
        task.await.unwrap().unwrap();
    }

    /// The embedded database's files.
    fn database(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        let paths = files.map(|entry| entry.unwrap().path());
        let ours = |path: &PathBuf| path.display().to_string().contains("threeport.db");
        paths
            .filter(ours)
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect()
    }

    fn restore(&self, backup: &BTreeMap<PathBuf, Vec<u8>>) {
        for path in self.database().keys() {
            std::fs::remove_file(path).unwrap();
        }
        for (path, content) in backup {
            std::fs::write(path, content).unwrap();
        }
    }

    async fn get(&self, kind: &str, name: &str) -> Option<Object> {
        self.admin.object_get(find_kind(kind).unwrap(), name).await.ok()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some((shutdown, _)) = &self.server {
            shutdown.cancel();
        }
    }
}

fn free() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().unwrap()))
}

fn document(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

fn definition(name: &str, text: &str) -> String {
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {{name: {name}, namespace: NAMESPACE}}\n\
         spec:\n  yamlDocument: |\n{indented}"
    )
}

const INSTANCE: &str = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadInstance\nmetadata: {name: web, namespace: NAMESPACE}\nspec: {definition: web}\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_applies_reaches_the_database_and_back() {
    let whole = Whole::start("whole-kubectl").await;
    let place = &whole.place;
    place.apply(INSTANCE).unwrap();
    place
        .wait("waiting", "tpwi", "web", |found| {
            is(found, "Synced", "False", "WaitingForReference")
        })
        .await;
    place.apply(&definition("web", &document("one"))).unwrap();
    for kind in ["tpwd", "tpwi"] {
        place
            .wait("sent", kind, "web", |found| is(found, "Synced", "True", "Synced"))
            .await;
    }
    let stored = whole.get("tpwd", "web").await.unwrap();
    assert_eq!(
        (stored.metadata.managed_by, stored.generation()),
        (Some(ManagedBy::Kubernetes), 1)
    );

    place.apply(&definition("web", &document("two"))).unwrap();
    let edited = place
        .wait("edited", "tpwd", "web", |found| {
            condition(found, "Synced").is_some_and(|synced| synced.2 == 2)
        })
        .await;
    assert_eq!(edited["status"]["api"]["generation"], 2);
    assert_ne!(
        condition(&edited, "Ready").unwrap().0,
        "True",
        "nobody has observed it: {edited}"
    );

    // Bad input is answered within two seconds, with code, field and line. By the cluster's log, from the end of kubectl:
    // how long a process takes to start is not the product's.
    place
        .apply(&definition(
            "web",
            "apiVersion: v1\nkind: ConfigMap\nkind: ConfigMap\nmetadata: {name: a}\n",
        ))
        .unwrap();
    let applied = jiff::Timestamp::now();
    let refused = place
        .wait("refused", "tpwd", "web", |found| {
            is(found, "Synced", "False", "Invalid")
        })
        .await;
    let written = place.written("workloaddefinitions", "web");
    let is_write = |(verb, _): &&(String, jiff::Timestamp)| ["patch", "update"].contains(&verb.as_str());
    let (_, told) = written.iter().rfind(is_write).unwrap();
    let took = told.duration_since(applied);
    assert!(took < jiff::SignedDuration::from_secs(2), "it took {took}");
    let text = refused["status"].to_string();
    assert!(
        text.contains("spec.yamlDocument") && text.contains("line 3"),
        "{text}"
    );
    assert_eq!(
        whole.get("tpwd", "web").await.unwrap().generation(),
        2,
        "nothing is stored"
    );
    place.apply(&definition("web", &document("two"))).unwrap();
    place
        .wait("mended", "tpwd", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;

    // A definition that is referred to says so, and both end by themselves.
    place.run(&["delete", "tpwd", "web", "--wait=false"]).unwrap();
    let blocked = place
        .wait("blocked", "tpwd", "web", |found| {
            is(found, "DeletionBlocked", "True", "Referenced")
        })
        .await;
    assert!(
        blocked["status"].to_string().contains("WorkloadInstance/web"),
        "{blocked}"
    );
}

/// A definition whose manifest is nested more deeply than serde_json reads.
fn nested(name: &str, open: &str, close: &str) -> String {
    let data = format!("{}1{}", open.repeat(300), close.repeat(300));
    format!(
        "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {{name: {name}, namespace: NAMESPACE}}\n\
         spec:\n  manifests:\n  - {{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {data}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_nested_too_deeply_is_refused_and_holds_up_no_other() {
    let mut whole = Whole::start("whole-nested").await;
    let deep = [
        ("lists", nested("lists", "[", "]"), "spec.manifests[0].data[0][0]"),
        ("maps", nested("maps", "{a: ", "}"), "spec.manifests[0].data.a.a"),
    ];
    // Nothing of ours reads all of it.
    let part = |place: &Place, name: &str, path: &str| {
        let output = format!("jsonpath={{{path}}}");
        place
            .run(&["get", "tpwd", name, "-o", &output])
            .unwrap_or_default()
    };
    for (name, text, field) in &deep {
        whole.place.apply(text).unwrap();
        whole
            .place
            .until("it is refused", || {
                let status: Value =
                    serde_json::from_str(&part(&whole.place, name, ".status")).unwrap_or_default();
                let refused = is(&json!({"status": status}), "Synced", "False", "Malformed");
                refused && status.to_string().contains(field)
            })
            .await;
        assert!(whole.get("tpwd", name).await.is_none(), "{name} was stored");
    }

    // Who only begins to look is not held up either, and lets go of all.
    whole.place.stop_facade().await;
    let held = |place: &Place, name: &str| part(place, name, ".metadata.finalizers").contains("threeport.io");
    assert!(deep.iter().all(|(name, ..)| held(&whole.place, name)));
    let kube = whole.place.client().await;
    threeport_facade::strip_finalizers(&kube, &whole.place.namespace, None)
        .await
        .unwrap();
    assert!(!deep.iter().any(|(name, ..)| held(&whole.place, name)));
    whole.place.start_facade().await;
    whole.bring_web().await;
    let delete = ["delete", "tpwd", "lists", "maps", "--timeout=30s"];
    whole.place.run(&delete).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rest_creates_is_mirrored_and_can_be_applied_again() {
    let whole = Whole::start("whole-rest").await;
    let place = &whole.place;
    let own = place
        .wait("its own runtime is shown", "tpkri", "local", |found| {
            found["status"]["api"]["id"].is_string()
        })
        .await;
    assert_eq!(own["metadata"]["labels"]["threeport.io/managed-by"], "system");

    let kind = find_kind("tpwd").unwrap();
    let large = format!("{}data: {{text: {}}}\n", document("large"), "x".repeat(300 << 10));
    for (name, text) in [("small", document("small")), ("large", large)] {
        let mut object = Object::new(kind.kind, name, json!({"yamlDocument": text}));
        object.metadata = Metadata {
            name: name.to_owned(),
            ..Metadata::default()
        };
        whole.admin.object_create(kind, &object).await.unwrap();
    }
    for name in ["small", "large"] {
        let found = place
            .wait("mirrored", "tpwd", name, |found| {
                found["status"]["api"]["id"].is_string()
            })
            .await;
        let applied = whole
            .admin
            .apply(ApplyBody::Objects(vec![found]), false)
            .await
            .unwrap();
        assert_eq!(
            serde_json::to_value(applied.results[0].outcome).unwrap(),
            json!("unchanged"),
            "{name}"
        );
    }
    let shown: Value = place.get("tpwd", "large").unwrap();
    assert!(shown.to_string().len() < 8 << 10, "{shown}");

    let mut small = whole.get("tpwd", "small").await.unwrap();
    small.spec = json!({"yamlDocument": document("other")});
    whole.admin.object_replace(kind, &small, None).await.unwrap();
    let changed = place
        .wait("changed", "tpwd", "small", |found| {
            found["status"]["api"]["generation"] == 2
        })
        .await;
    assert_eq!(changed["metadata"]["generation"], 2);
    whole
        .admin
        .object_delete(kind, "small", threeport_client::Propagation::Refuse)
        .await
        .unwrap();
    place.wait_gone("tpwd", "small").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_resource_comes_back_and_a_take_over_makes_it_a_mirror() {
    let mut whole = Whole::start("whole-owner").await;
    whole.bring_web().await;
    whole.place.stop_facade().await;
    let place = &mut whole.place;
    place
        .run(&[
            "patch",
            "tpwd",
            "web",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .unwrap();
    place.run(&["delete", "tpwd", "web"]).unwrap();
    place.start_facade().await;
    let again = place
        .wait("made again", "tpwd", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
    let stored = whole.get("tpwd", "web").await.unwrap();
    assert_eq!(
        stored.metadata.source.as_ref().unwrap().uid,
        again["metadata"]["uid"].as_str().unwrap()
    );
    assert_eq!(stored.generation(), 1, "it was not changed");

    whole
        .admin
        .object_take_over(find_kind("tpwd").unwrap(), "web")
        .await
        .unwrap();
    let mirror = whole
        .place
        .wait("a mirror", "tpwd", "web", |found| {
            found["metadata"]["labels"]["threeport.io/managed-by"] == "api"
        })
        .await;
    assert!(mirror["metadata"]["finalizers"].is_null(), "{mirror}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_database_says_is_shown_when_it_is_back() {
    let mut whole = Whole::start("whole-restored").await;
    let kind = find_kind("tpwd").unwrap();
    let web = |text: &str| Object::new(kind.kind, "web", json!({"yamlDocument": document(text)}));
    let row = |generation: i64| move |found: &Value| found["status"]["api"]["generation"] == generation;
    whole.admin.object_create(kind, &web("one")).await.unwrap();
    whole.place.wait("mirrored", "tpwd", "web", row(1)).await;
    whole.stop_api().await;
    let backup = whole.database();
    whole.start_api().await;
    whole.admin.object_replace(kind, &web("two"), None).await.unwrap();
    whole.place.wait("changed", "tpwd", "web", row(2)).await;
    let late = Object::new(kind.kind, "late", json!({"yamlDocument": document("late")}));
    whole.admin.object_create(kind, &late).await.unwrap();
    whole.place.wait("mirrored", "tpwd", "late", row(1)).await;

    whole.stop_api().await;
    whole.restore(&backup);
    whole.start_api().await;
    // No watch tells what a restore changed, least of all what is no more, and the next full list is minutes away.
    whole.place.wait_gone("tpwd", "late").await;
    let restored = whole.place.wait("restored", "tpwd", "web", row(1)).await;
    assert_eq!(
        (
            &restored["spec"]["yamlDocument"],
            restored["metadata"]["generation"].as_i64()
        ),
        (&json!(document("one")), Some(3))
    );
}
