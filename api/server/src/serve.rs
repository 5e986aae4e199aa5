//! `threeport-api serve`: opens the store, makes the app, starts what runs beside it, serves until SIGTERM.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use axum_server::{Handle, accept::NoDelayAcceptor, tls_rustls::RustlsAcceptor};
use threeport_model::protocol::whoami::Role;
use threeport_store::{EncryptionKey, Options, SelfRecord, Store};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::{App, Parts},
    authentication::{Authenticator, account_user, admin_token::AdminToken, token_review::TokenReviewer},
    changes::Changes,
    configuration::{Authentication, Configuration, Mode},
    connections::{self, Limits},
    files,
    health::Health,
    limits::Admission,
    metrics::Metrics,
    notifications::{self, Notifier, jetstream::JetStream, relay},
    router, tasks,
    tls::ServingCertificate,
};

/// What is left of the ten seconds for requests, after which background tasks end.
const DRAIN_REQUESTS: Duration = Duration::from_secs(7);
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves until `shutdown`.
pub async fn run(configuration: Configuration, shutdown: CancellationToken) -> anyhow::Result<()> {
    configuration.validate()?;
    let (store, control_plane) = open(&configuration).await?;
    let metrics = Metrics::default();
    let changes = Changes::default();
    let (notifier, queue) = Notifier::new(metrics.clone(), Arc::clone(&changes.wake));
    let disabled = configuration.authentication.authentication == Mode::Disabled;
    let limits = &configuration.limits;
    let app = App::new(Parts {
        store: store.clone(),
        control_plane,
        namespace: configuration.namespace.clone(),
        authenticator: authenticator(&configuration.authentication).await?,
        admission: Admission::new(limits.rate_limit, limits.concurrency_limit, limits.watch_limit),
        timeout: limits.timeout(),
        metrics: metrics.clone(),
        notifier,
        changes: changes.clone(),
        health: Health::default(),
        shutdown: shutdown.clone(),
    });
    if disabled {
        tracing::warn!(
            "AUTHENTICATION IS DISABLED: everybody who reaches {} is admin",
            configuration.listen
        );
        metrics.authentication_disabled();
    }
    let jetstream = JetStream::connect(&configuration.nats, metrics.clone())
        .await
        .context("failed to set NATS up")?;
    if jetstream.is_none() {
        tracing::warn!("degraded: no --nats-url; controllers find work by their sweep only");
    }
    let certificate = ServingCertificate::from_files(configuration.tls_certificate, configuration.tls_key)?;
    let certificate = Arc::new(certificate);

    let background = TaskTracker::new();
    background.spawn(notifications::publish(
        queue,
        jetstream.clone(),
        metrics.clone(),
        shutdown.clone(),
    ));
    if let Some(jetstream) = jetstream.clone() {
        background.spawn(relay::run(
            store.clone(),
            jetstream.clone(),
            metrics.clone(),
            shutdown.clone(),
        ));
        let (keeper, token) = (jetstream.clone(), shutdown.clone());
        background.spawn(async move { token.run_until_cancelled(keeper.keep_stream()).await });
        let (wake, token) = (Arc::clone(&changes.wake), shutdown.clone());
        background.spawn(async move { token.run_until_cancelled(jetstream.keep_waking(&wake)).await });
    }
    let (tailing, token, tailed) = (changes, shutdown.clone(), store.clone());
    background.spawn(async move { tailing.tail(tailed, token).await });
    background.spawn(tasks::health(app.clone(), jetstream, shutdown.clone()));
    background.spawn(tasks::verification(app.clone(), shutdown.clone()));
    background.spawn(tasks::retention(app.clone(), shutdown.clone()));
    background.spawn(tasks::metrics(app.clone(), shutdown.clone()));
    background.spawn(tasks::own_record(app.clone(), disabled, shutdown.clone()));
    background.spawn(files::watch(
        app.clone(),
        Arc::clone(&certificate),
        shutdown.clone(),
    ));

    let health = app.health.clone();
    let readiness: threeport_telemetry::Readiness = Arc::new(move || health.ready());
    let probes = threeport_telemetry::serve_probes(
        configuration.probes_listen,
        metrics.registry(),
        readiness,
        shutdown.clone(),
    );
    let api = listen(configuration.listen, &certificate, app, shutdown.clone());
    // Whichever fails first ends the process; both end with the shutdown token.
    let served = tokio::try_join!(probes, api).map(drop);
    shutdown.cancel();
    background.close();
    let _ = tokio::time::timeout(Duration::from_secs(2), background.wait()).await;
    // Nothing is written any more when this returns: whoever copies an embedded database then has all of it.
    let _ = tokio::time::timeout(Duration::from_secs(2), store.close()).await;
    served
}

/// The store, and the name under which this control plane is recorded in it.
async fn open(configuration: &Configuration) -> anyhow::Result<(Store, String)> {
    let file = &configuration.encryption_key_file;
    let key = std::fs::read_to_string(file)
        .with_context(|| format!("failed to read the encryption key {}", file.display()))?;
    let key = EncryptionKey::from_base64(key.trim())
        .with_context(|| format!("failed to use the encryption key {}", file.display()))?;
    let options = Options {
        encryption_key: Some(key),
        readers: configuration.database.database_readers,
        writers: configuration.database.database_writers,
        ..Options::new(configuration.database.url()?)
    };
    let store = Store::open(options)
        .await
        .context("failed to open the database")?;
    let record = SelfRecord {
        name: configuration.control_plane_name.clone(),
        namespace: configuration.namespace.clone(),
        service_account: configuration.workloads_account.clone(),
    };
    let ensured = store
        .system_ensure(&record)
        .await
        .context("failed to record this control plane in its own database")?;
    Ok((store, ensured.name))
}

async fn authenticator(flags: &Authentication) -> anyhow::Result<Authenticator> {
    if flags.authentication == Mode::Disabled {
        return Ok(Authenticator::Disabled);
    }
    let admin = flags
        .admin_token_file
        .clone()
        .map(AdminToken::from_file)
        .transpose()?;
    let accounts = if flags.kubernetes_authentication {
        let client = threeport_cluster::client(flags.kubeconfig.as_deref()).await?;
        Some(Box::new(TokenReviewer::new(client)))
    } else {
        None
    };
    let mut roles = BTreeMap::new();
    let groups = [
        (&flags.facade_account, Role::Facade),
        (&flags.controllers_account, Role::Controller),
        (&flags.agent_account, Role::Agent),
    ];
    for (names, role) in groups {
        for name in names {
            let user = account_user(name).with_context(|| format!("{name:?} is not namespace/name"))?;
            if roles.insert(user, role).is_some_and(|other| other != role) {
                bail!("the account {name} has two roles");
            }
        }
    }
    Ok(Authenticator::Enabled {
        admin,
        accounts,
        roles,
    })
}

async fn listen(
    address: std::net::SocketAddr,
    certificate: &ServingCertificate,
    app: App,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let handle = Handle::new();
    let draining = handle.clone();
    tokio::spawn(async move {
        shutdown.cancelled().await;
        draining.graceful_shutdown(Some(DRAIN_REQUESTS));
    });
    let acceptor = RustlsAcceptor::new(certificate.served())
        .handshake_timeout(HANDSHAKE)
        .acceptor(NoDelayAcceptor::new());
    let server = connections::server(address, acceptor, &Limits::default()).handle(handle.clone());
    let announced = handle.clone();
    tokio::spawn(async move {
        if let Some(address) = announced.listening().await {
            tracing::info!("serving https://{address}");
        }
    });
    let service = router::router(app).into_make_service();
    server
        .serve(service)
        .await
        .with_context(|| format!("failed to serve on {address}"))
}
