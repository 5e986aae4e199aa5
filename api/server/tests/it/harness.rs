//! One API of its own per test: router, store in a temporary SQLite database, and a cluster that vouches for tokens.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use http_body_util::BodyExt;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewStatus, UserInfo};
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tempfile::TempDir;
use threeport_model::protocol::whoami::Role;
use threeport_server::{
    app::{App, Parts},
    authentication::{Authenticator, admin_token::AdminToken, token_review::TokenReviewer},
    changes::Changes,
    health::Health,
    limits::Admission,
    metrics::Metrics,
    notifications::Notifier,
    router::router,
};
use threeport_store::{EncryptionKey, Options, SelfRecord, Store};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

pub(crate) const ADMIN: &str = "an-admin-token-of-tests";
pub(crate) const FACADE: &str = "eyJhbGciOiJub25lIn0.token-of-facade.x";
pub(crate) const CONTROLLERS: &str = "eyJhbGciOiJub25lIn0.token-of-controllers.x";
pub(crate) const AGENT: &str = "eyJhbGciOiJub25lIn0.token-of-agent.x";
/// Known to the cluster, but without a role.
pub(crate) const STRANGER: &str = "eyJhbGciOiJub25lIn0.token-of-stranger.x";
/// Of the right form, but of nobody.
pub(crate) const UNKNOWN: &str = "eyJhbGciOiJub25lIn0.token-of-nobody.x";
/// The cluster never answers to what begins so.
pub(crate) const HANGING: &str = "eyJhbGciOiJub25lIn0.hanging.";
pub(crate) const NAMESPACE: &str = "threeport-system";

const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Api {
    pub(crate) app: App,
    pub(crate) store: Store,
    pub(crate) shutdown: CancellationToken,
    pub(crate) reviews: Arc<AtomicUsize>,
    /// Of its database.
    pub(crate) url: String,
    router: Router,
    _folder: TempDir,
}

/// The databases that a test runs on: SQLite, and what `THREEPORT_TEST_DATABASES` names (`name=url`, separated by
/// commas). No server is a failure, unless `THREEPORT_TEST_DATABASES_OPTIONAL=1` says that it may be missing.
async fn databases(folder: &TempDir) -> Vec<String> {
    let mut urls = vec![sqlite(folder)];
    let named = std::env::var("THREEPORT_TEST_DATABASES").unwrap_or_default();
    for (_, url) in named.split(',').filter_map(|server| server.split_once('=')) {
        // A database of its own; the server is one for tests.
        let name = format!("test_{}", uuid::Uuid::new_v4().as_simple());
        let connection = Database::connect(url.replacen("postgresql://", "postgres://", 1))
            .await
            .unwrap();
        connection
            .execute_unprepared(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        connection.close().await.unwrap();
        urls.push(with_database(url, &name));
    }
    let optional = std::env::var("THREEPORT_TEST_DATABASES_OPTIONAL").is_ok_and(|word| word == "1");
    assert!(
        urls.len() > 1 || optional,
        "THREEPORT_TEST_DATABASES names no server; make test starts a PostgreSQL"
    );
    urls
}

/// `postgresql://user@host:port/NAME?parameters` with another name.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
    let server = address.rsplit_once('/').map_or(address, |(server, _)| server);
    let mark = if parameters.is_empty() { "" } else { "?" };
    format!("{server}/{name}{mark}{parameters}")
}

fn sqlite(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("threeport.db").display())
}

/// Whether the long form of tests that have two is asked for: `make soak` does.
pub(crate) fn is_long() -> bool {
    std::env::var("THREEPORT_SOAK").is_ok_and(|value| value == "1")
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl Api {
    pub(crate) async fn new() -> Self {
        Self::with(Admission::new(100_000, 512, 16)).await
    }

    pub(crate) async fn with(admission: Admission) -> Self {
        init_log();
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite(&folder);
        Self::on(&url, folder, admission).await
    }

    /// One per database.
    pub(crate) async fn everywhere() -> Vec<Self> {
        init_log();
        let folder = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for url in databases(&folder).await {
            let own = tempfile::tempdir().unwrap();
            let url = if url.starts_with("sqlite") {
                sqlite(&own)
            } else {
                url
            };
            all.push(Self::on(&url, own, Admission::new(100_000, 512, 16)).await);
        }
        all
    }

    async fn on(url: &str, folder: TempDir, admission: Admission) -> Self {
        let store = store(url).await;
        let token = folder.path().join("admin-token");
        std::fs::write(&token, format!("{ADMIN}\n")).unwrap();
        let metrics = Metrics::default();
        let changes = Changes::default();
        let (notifier, queue) = Notifier::new(metrics.clone(), Arc::clone(&changes.wake));
        let shutdown = CancellationToken::new();
        let publisher =
            threeport_server::notifications::publish(queue, None, metrics.clone(), shutdown.clone());
        tokio::spawn(publisher);
        let (tailing, tailed, token_of_tail) = (changes.clone(), store.clone(), shutdown.clone());
        tokio::spawn(async move { tailing.tail(tailed, token_of_tail).await });
        let reviews = Arc::new(AtomicUsize::new(0));
        let health = Health::default();
        health.set_ready(Ok(()));
        let app = App::new(Parts {
            store: store.clone(),
            control_plane: "threeport".to_owned(),
            namespace: NAMESPACE.to_owned(),
            authenticator: Authenticator::Enabled {
                admin: Some(AdminToken::from_file(token).unwrap()),
                accounts: Some(Box::new(TokenReviewer::new(cluster(Arc::clone(&reviews))))),
                roles: BTreeMap::from([
                    (user("facade"), Role::Facade),
                    (user("controllers"), Role::Controller),
                    (user("agent"), Role::Agent),
                ]),
            },
            admission,
            timeout: TIMEOUT,
            metrics,
            notifier,
            changes,
            health,
            shutdown: shutdown.clone(),
        });
        let router = router(app.clone());
        Self {
            app,
            store,
            shutdown,
            reviews,
            url: url.to_owned(),
            router,
            _folder: folder,
        }
    }

    /// A request as admin; the content type is JSON where there is a body.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: impl Into<Option<Value>>) -> Answer {
        self.send(method, path, ADMIN, &[], body.into()).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let bytes = body.as_ref().map(|body| body.to_string().into_bytes());
        let given = headers.iter().any(|(name, _)| *name == "content-type");
        let mut headers = headers.to_vec();
        if bytes.is_some() && !given {
            headers.push(("content-type", "application/json"));
        }
        self.raw(method, path, token, &headers, bytes.unwrap_or_default())
            .await
    }

    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let response = self.open(method, path, token, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text,
        }
    }

    /// The response without its body read.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> axum::response::Response {
        let mut request = axum::http::Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router
            .clone()
            .oneshot(request.body(Body::from(body)).unwrap())
            .await
            .unwrap()
    }
}

/// Writes the log where the test's output goes, keeps its messages, and counts what is logged at error level.
pub(crate) fn init_log() {
    let text = tracing_subscriber::fmt::layer().with_test_writer();
    let filter = tracing_subscriber::EnvFilter::new("info");
    // A second test of the process finds it installed already.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(text)
        .with(Errors)
        .try_init();
    threeport_telemetry::init();
}

thread_local! {
    static ERRORS: Cell<usize> = const { Cell::new(0) };
    static MESSAGES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// How much was logged at error level on this thread, which is where a test's requests are served.
pub(crate) fn errors_logged() -> usize {
    ERRORS.get()
}

/// The messages that were logged on this thread.
pub(crate) fn messages_logged() -> Vec<String> {
    MESSAGES.with_borrow(Clone::clone)
}

struct Errors;

/// The message of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Errors {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        MESSAGES.with_borrow_mut(|messages| messages.push(message.0));
        if *event.metadata().level() == Level::ERROR {
            ERRORS.set(ERRORS.get() + 1);
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) async fn store(url: &str) -> Store {
    let key = EncryptionKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let options = Options {
        encryption_key: Some(key),
        readers: 2,
        writers: 4,
        // As long as a request: what a busy machine delays is no answer.
        timeout: TIMEOUT,
        ..Options::new(url)
    };
    Store::migrate(&options).await.unwrap();
    let store = Store::open(options).await.unwrap();
    let record = SelfRecord {
        name: "threeport".to_owned(),
        namespace: NAMESPACE.to_owned(),
        service_account: None,
    };
    store.system_ensure(&record).await.unwrap();
    store
}

/// A definition with one ConfigMap.
pub(crate) fn definition(name: &str, value: &str) -> Value {
    let manifest =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"v": value}});
    object("WorkloadDefinition", name, &json!({"manifests": [manifest]}))
}

pub(crate) fn instance(name: &str, definition: &str) -> Value {
    object("WorkloadInstance", name, &json!({"definition": definition}))
}

pub(crate) fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "threeport.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn user(name: &str) -> String {
    format!("system:serviceaccount:{NAMESPACE}:{name}")
}

/// A token of the form that clusters make.
pub(crate) fn web_token(payload: &str) -> String {
    format!("eyJhbGciOiJub25lIn0.{payload}.x")
}

/// A cluster that knows tokens that say `token-of-<account>`, for the audience `threeport`, and nothing else.
fn cluster(reviews: Arc<AtomicUsize>) -> kube::Client {
    let service = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
        reviews.fetch_add(1, Ordering::SeqCst);
        async move {
            assert_eq!(
                request.uri().path(),
                "/apis/authentication.k8s.io/v1/tokenreviews"
            );
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut review: TokenReview = serde_json::from_slice(&body).unwrap();
            let token = review.spec.token.clone().unwrap_or_default();
            if token.starts_with(HANGING) {
                std::future::pending::<()>().await;
            }
            let name = token
                .split('.')
                .nth(1)
                .and_then(|payload| payload.strip_prefix("token-of-"));
            let known = ["facade", "controllers", "agent", "stranger"];
            review.status = Some(TokenReviewStatus {
                authenticated: Some(name.is_some_and(|name| known.contains(&name))),
                audiences: review.spec.audiences.clone(),
                user: name.map(|name| UserInfo {
                    username: Some(user(name)),
                    ..UserInfo::default()
                }),
                ..TokenReviewStatus::default()
            });
            let body = serde_json::to_vec(&review).unwrap();
            Ok::<_, std::convert::Infallible>(axum::http::Response::new(Body::from(body)))
        }
    });
    kube::Client::new(service, "default")
}
