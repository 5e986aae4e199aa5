//! Runs a test on SQLite and on every server that `THREEPORT_TEST_DATABASES` names (`name=url`, comma-separated).
//!
//! Each test has a database (SQLite: a file; servers: a schema) of its own. No server is a failure, unless
//! `THREEPORT_TEST_DATABASES_OPTIONAL=1` says that it may be missing. The seed of ids and jitter is printed; set
//! `THREEPORT_TEST_SEED` to run with it again.
//!
//! Ten tests are about what an embedded database has not, and call [`on_servers`] alone: the isolation of a session that
//! writes (SQLite has one writer) and of one that reads, work that is taken while somebody has left it as it is, a plan that
//! a session keeps, a session that the server ends, a server that is gone without a word, one that is a standby, one that
//! takes no writes, one that refuses or is not there, and what work costs at 50,000 objects by what the server counts (which
//! indexes SQLite walks is asked in `indexes`). All but the first, the one that is gone and the one that is not there ask for
//! what only PostgreSQL can be asked, and say so where they end at once on another server.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use threeport_model::{
    Condition, ConditionStatus, Object, find_kind,
    kinds::operation::Revision,
    protocol::claim::{Claim, ClaimRequest, CompleteRequest, Next, StatusUpdate},
};
use uuid::Uuid;

use crate::{
    EncryptionKey, Inner, Options, Random, Request, Result, Store, Written,
    database::{connection::Connections, together::Together, transaction::Transactions},
};

/// Changes nothing, and needs the same locks as what does.
pub(crate) const TOUCH: &str = "UPDATE object SET name = name WHERE name = 'web'";

/// A store of its own for one test.
pub(crate) struct Bed {
    pub(crate) store: Store,
    pub(crate) options: Options,
    /// What all randomness of the test begins with.
    pub(crate) seed: u64,
    server: Option<(String, String)>,
    _folder: Option<Arc<tempfile::TempDir>>,
}

/// Declares a test: `database_test!(name, bed, { body });`
macro_rules! database_test {
    ($name:ident, $bed:ident, $body:block) => {
        mod $name {
            #[allow(unused_imports, reason = "what the tests of a module share")]
            use super::*;

            async fn test($bed: &$crate::tests::harness::Bed) $body

            #[test]
            fn sqlite() {
                $crate::tests::harness::on_sqlite(&async |bed| test(bed).await);
            }

            #[test]
            fn servers() {
                $crate::tests::harness::on_servers(&async |bed| test(bed).await);
            }
        }
    };
}
pub(crate) use database_test;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) fn on_sqlite(test: &impl AsyncFn(&Bed)) {
    runtime().block_on(async {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let url = format!("sqlite://{}/store.db", folder.path().display());
        let bed = Bed::new(url, None, Some(folder)).await;
        test(&bed).await;
        bed.store.close().await;
    });
}

pub(crate) fn on_servers(test: &impl AsyncFn(&Bed)) {
    let named = std::env::var("THREEPORT_TEST_DATABASES").unwrap_or_default();
    let servers: Vec<(&str, &str)> = named
        .split(',')
        .filter_map(|server| server.split_once('='))
        .collect();
    let optional = std::env::var("THREEPORT_TEST_DATABASES_OPTIONAL").is_ok_and(|word| word == "1");
    if servers.is_empty() {
        assert!(
            optional,
            "THREEPORT_TEST_DATABASES names no server; make test starts a PostgreSQL and sets it"
        );
        println!("no server: THREEPORT_TEST_DATABASES is empty and THREEPORT_TEST_DATABASES_OPTIONAL=1");
    }
    for (name, url) in servers {
        println!("on {name}");
        runtime().block_on(async {
            let bed = Bed::on_server(url).await;
            test(&bed).await;
            bed.end().await;
        });
    }
}

async fn execute(url: &str, statement: &str) {
    let connection = Database::connect(url.replacen("postgresql://", "postgres://", 1))
        .await
        .unwrap();
    connection.execute_unprepared(statement).await.unwrap();
    connection.close().await.unwrap();
}

impl Bed {
    async fn new(
        url: String,
        server: Option<(String, String)>,
        folder: Option<Arc<tempfile::TempDir>>,
    ) -> Self {
        let seed = std::env::var("THREEPORT_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(rand::random::<u64>);
        println!("THREEPORT_TEST_SEED={seed}");
        let mut options = Options::new(url);
        options.random = Random::seeded(seed);
        options.encryption_key = Some(EncryptionKey::from_base64(&STANDARD.encode([9; 32])).unwrap());
        Store::migrate(&options).await.unwrap();
        let store = Store::open(options.clone()).await.unwrap();
        Self {
            store,
            options,
            seed,
            server,
            _folder: folder,
        }
    }

    async fn on_server(url: &str) -> Self {
        let schema = format!("test_{}", Uuid::from_bytes(rand::random()).as_simple());
        execute(url, &format!("CREATE SCHEMA {schema}")).await;
        let separator = if url.contains('?') { '&' } else { '?' };
        let own = format!("{url}{separator}options[search_path]={schema}");
        Self::new(own, Some((url.to_owned(), schema)), None).await
    }

    /// A second one on the same server. Nothing where there is no server. Whoever takes it ends it.
    pub(crate) async fn beside(&self) -> Option<Self> {
        let (url, _) = self.server.as_ref()?;
        Some(Self::on_server(url).await)
    }

    /// Closes the store and drops what it is on.
    pub(crate) async fn end(&self) {
        self.store.close().await;
        if let Some((url, schema)) = &self.server {
            execute(url, &format!("DROP SCHEMA {schema} CASCADE")).await;
        }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.server.is_none()
    }

    /// Another process on the same database.
    pub(crate) async fn another(&self) -> Store {
        Store::open(self.options.clone()).await.unwrap()
    }

    /// Another one that waits for as long as a busy machine takes: for tests of what is large.
    pub(crate) async fn patient(&self) -> Store {
        let options = Options {
            timeout: Duration::from_secs(120),
            ..self.options.clone()
        };
        Store::open(options).await.unwrap()
    }

    /// The same one, which gives a transaction up after `timeout`. What the database allows a statement is as ever, so
    /// that it is not the database that gives up first.
    pub(crate) fn impatient(&self, timeout: Duration) -> Store {
        let options = Options {
            timeout,
            ..self.options.clone()
        };
        self.with(self.store.0.connections.clone(), options)
    }

    /// The same one, which tells `hear` the text of each of its statements, those apart that begin and end transactions.
    pub(crate) fn overheard(&self, hear: impl Fn(&str) + Clone + Send + Sync + 'static) -> Store {
        let mut connections = self.store.0.connections.clone();
        for pool in [&mut connections.writer, &mut connections.reader] {
            let hear = hear.clone();
            pool.set_metric_callback(move |info| hear(&info.statement.sql));
        }
        self.with(connections, self.options.clone())
    }

    fn with(&self, connections: Connections, options: Options) -> Store {
        let inner = &self.store.0;
        Store(Arc::new(Inner {
            transactions: Transactions::new(connections.clone(), &options),
            connections,
            creates: Together::default(),
            options,
            control_plane_id: inner.control_plane_id,
            incarnation: inner.incarnation,
            schema_version: inner.schema_version,
        }))
    }

    /// Another process that is about to change the object `web`, and does not come to an end.
    pub(crate) async fn holder(&self) -> Holder {
        let options = Options {
            writers: 1,
            ..self.options.clone()
        };
        let holder = Holder(Connections::open(&options).await.unwrap());
        // On the one connection that there is.
        holder.run("BEGIN").await;
        holder.run(TOUCH).await;
        holder
    }

    /// Waits until the database's clock says more than it did when what is written by now was written: that of SQLite counts
    /// milliseconds.
    pub(crate) async fn tick(&self) {
        let now = async || self.store.watch_start().await.unwrap().at;
        let before = now().await;
        while now().await == before {}
    }

    /// A request of the API.
    pub(crate) fn request(&self) -> Request {
        Request::new(self.store.random().uuid(), "tester", "TEST")
    }

    pub(crate) async fn create(&self, kind: &str, name: &str, spec: Value) -> Object {
        let written = self
            .store
            .object_create(&self.request(), object(kind, name, spec))
            .await
            .unwrap();
        written.object().unwrap().clone()
    }

    /// A definition with one ConfigMap.
    pub(crate) async fn definition(&self, name: &str) -> Object {
        self.create("WorkloadDefinition", name, definition_spec("one"))
            .await
    }

    /// An instance of a definition.
    pub(crate) async fn instance(&self, name: &str, definition: &str) -> Object {
        self.create("WorkloadInstance", name, json!({"definition": definition}))
            .await
    }

    /// The default runtime, and what else a control plane makes at its start.
    pub(crate) async fn runtime(&self) -> Object {
        let record = crate::SelfRecord {
            name: "threeport".to_owned(),
            namespace: "threeport-system".to_owned(),
            service_account: None,
        };
        self.store.system_ensure(&record).await.unwrap();
        self.store
            .object_get("KubernetesRuntimeInstance", "local")
            .await
            .unwrap()
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> Object {
        self.store.object_get(kind, name).await.unwrap()
    }

    /// All desired states that an object had, the newest first.
    pub(crate) async fn history(&self, kind: &str, name: &str) -> Vec<Revision> {
        let (revisions, next) = self.store.object_history(kind, name, 100, None).await.unwrap();
        assert_eq!(next, None, "there are more");
        revisions
    }

    pub(crate) async fn update(&self, kind: &str, name: &str, spec: Value) -> Result<Written> {
        self.store
            .object_update(&self.request(), object(kind, name, spec), None)
            .await
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) -> Result<Written> {
        self.store
            .object_delete(&self.request(), kind, name, None, false)
            .await
    }

    /// Claims the objects of those ids, whatever their kinds.
    pub(crate) async fn claim(&self, ids: &[Uuid]) -> Vec<Claim> {
        self.store
            .claim_take(&claim_request("holder", ids))
            .await
            .unwrap()
            .0
            .claims
    }

    /// Claims one object that must have work.
    pub(crate) async fn claim_one(&self, id: Uuid) -> Claim {
        self.claim(&[id]).await.pop().expect("the object has work")
    }

    /// Makes everything that is pending done.
    pub(crate) async fn settle(&self) {
        loop {
            let claims = self.claim(&[]).await;
            if claims.is_empty() {
                return;
            }
            for claim in claims {
                self.store.claim_complete(&done(&claim)).await.unwrap();
            }
        }
    }
}

/// See [`Bed::holder`].
pub(crate) struct Holder(Connections);

impl Holder {
    async fn run(&self, statement: &str) {
        self.0.writer.execute_unprepared(statement).await.unwrap();
    }

    /// Its end.
    pub(crate) async fn let_go(self) {
        self.run("ROLLBACK").await;
        self.0.close().await;
    }
}

pub(crate) fn all_kinds() -> Vec<String> {
    threeport_model::kinds::ALL
        .iter()
        .map(|kind| kind.kind.to_owned())
        .collect()
}

pub(crate) fn claim_request(holder: &str, ids: &[Uuid]) -> ClaimRequest {
    ClaimRequest {
        holder: holder.to_owned(),
        kinds: all_kinds(),
        ids: ids.to_vec(),
        limit: 64,
        ttl_seconds: 10,
    }
}

/// The end of a run that changed nothing.
pub(crate) fn done(claim: &Claim) -> CompleteRequest {
    CompleteRequest {
        id: claim.object.id(),
        epoch: claim.epoch,
        token: claim.token.clone(),
        status: None,
        next: Next::Done,
        inventory: Vec::new(),
        inventory_removed: Vec::new(),
        events: Vec::new(),
        finalize: false,
    }
}

/// A status of an instance.
pub(crate) fn status(ready: ConditionStatus, generation: i64, revision: Option<(i64, i64)>) -> StatusUpdate {
    let condition = Condition::new("Ready", ready, "Tested", "as the test says", generation);
    let mut status = json!({"observedGeneration": generation, "conditions": [condition]});
    if let Some((definition, instance)) = revision {
        status["revision"] = json!({"definition": definition, "instance": instance});
    }
    StatusUpdate {
        observed_generation: generation,
        status,
    }
}

/// An object whose specification is in normal form.
#[expect(
    clippy::needless_pass_by_value,
    reason = "specifications are written in place"
)]
pub(crate) fn object(kind: &str, name: &str, spec: Value) -> Object {
    let descriptor = find_kind(kind).unwrap();
    Object::new(kind, name, (descriptor.normalize)(&spec).unwrap())
}

/// A definition with one ConfigMap that says `value`.
pub(crate) fn definition_spec(value: &str) -> Value {
    let manifest =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"v": value}});
    json!({"manifests": [manifest]})
}

/// The Ready condition's status and reason.
pub(crate) fn ready(object: &Object) -> (String, String) {
    let conditions = object.status["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ready = conditions
        .iter()
        .find(|condition| condition["type"] == "Ready")
        .cloned()
        .unwrap_or_default();
    (
        ready["status"].as_str().unwrap_or("").to_owned(),
        ready["reason"].as_str().unwrap_or("").to_owned(),
    )
}
