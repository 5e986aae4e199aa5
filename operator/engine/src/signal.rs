//! Signals: JetStream messages that name an object which may need work. A hint; nothing here is needed for correctness.
//!
//! One durable pull consumer per domain, shared by all replicas. A message is acknowledged when its key is queued: the
//! pending row, not the message, is what a crash leaves behind. The consumer is ensured at every connect and whenever it is
//! found missing, and updated in place, never deleted and made anew; the stream is the API's to ensure (the controllers'
//! NATS user has no right to). Without NATS this waits, with growing pauses, and the sweep does the work.

use std::time::Duration;

use async_nats::{
    Client,
    jetstream::{
        self, AckKind, Message,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
    },
};
use futures::StreamExt;
use threeport_failpoint::around;
use threeport_model::{
    explain,
    protocol::notification::{MANY, Notification, ORIGIN_HEADER, STREAM, SUBJECT_PREFIX},
};
use threeport_nats::{ConnectError, Nats};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    backoff,
    intake::Intake,
    metrics::Metrics,
    queue::{Class, Found},
    writes,
};

/// The longest pause between two tries.
const PAUSE_CAP: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(2);

/// A connection that makes itself anew, and the number of times it was made.
#[derive(Clone, Debug)]
pub struct Connection {
    client: Client,
    connects: watch::Receiver<u64>,
}

/// Connects in the background, where a server is named: an absent server is not an error.
pub async fn connect(nats: &Nats) -> Result<Option<Connection>, ConnectError> {
    let (sender, connects) = watch::channel(0);
    let changed = move |is_connected: bool| {
        if is_connected {
            sender.send_modify(|connects| *connects += 1);
        }
    };
    let client = threeport_nats::connect(nats, "threeport-controllers", "controllers", changed).await?;
    Ok(client.map(|client| Connection { client, connects }))
}

/// What a domain listens to.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// As in `workload`; names the durable consumer.
    pub domain: &'static str,
    /// The plurals of its kinds.
    pub plurals: Vec<&'static str>,
}

impl Subscription {
    fn consumer(&self) -> pull::Config {
        pull::Config {
            durable_name: Some(format!("threeport-{}", self.domain)),
            filter_subjects: self
                .plurals
                .iter()
                .map(|plural| format!("{SUBJECT_PREFIX}.{plural}.>"))
                .collect(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(30),
            max_ack_pending: 20_000,
            ..pull::Config::default()
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum SignalError {
    #[error("failed to find the stream {STREAM}, which the API makes: {0}")]
    FindStream(String),
    #[error("failed to ensure the consumer: {0}")]
    EnsureConsumer(String),
    #[error("failed to pull messages: {0}")]
    Pull(String),
}

/// Feeds a domain's queue until `shutdown`.
pub async fn run(
    connection: Connection,
    subscription: Subscription,
    intake: Intake,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let domain = subscription.domain;
    let mut connects = connection.connects.clone();
    let mut failures = 0;
    loop {
        // Seen before the consumer is ensured, so that a reconnect during that is not missed.
        connects.mark_unchanged();
        let mut received = false;
        let consumed = consume(
            &connection.client,
            &subscription,
            &intake,
            &metrics,
            &mut received,
        );
        let result = tokio::select! {
            () = shutdown.cancelled() => return,
            _ = connects.changed() => continue,
            result = consumed => result,
        };
        metrics.connected(domain, false);
        failures = if received { 0 } else { failures + 1 };
        let pause = backoff::after(failures, PAUSE_CAP, rand::random());
        match result {
            Ok(()) => {}
            // Said once, not with every try.
            Err(error) if failures <= 1 => {
                tracing::warn!(domain, error = %explain(&error), ?pause, "no signals: work is found by the sweep");
            }
            Err(error) => {
                tracing::debug!(domain, error = %explain(&error), ?pause, failures, "still no signals");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = connects.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn consume(
    client: &Client,
    subscription: &Subscription,
    intake: &Intake,
    metrics: &Metrics,
    received: &mut bool,
) -> Result<(), SignalError> {
    let context = jetstream::new(client.clone());
    let stream = context
        .get_stream(STREAM)
        .await
        .map_err(|error| SignalError::FindStream(explain(&error)))?;
    let ensured = around(writes::CONSUMER, stream.create_consumer(subscription.consumer()));
    let consumer: PullConsumer = ensured
        .await
        .map_err(|error| SignalError::EnsureConsumer(explain(&error)))?;
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(500)
        .expires(HEARTBEAT * 5)
        .heartbeat(HEARTBEAT)
        .messages()
        .await
        .map_err(|error| SignalError::Pull(explain(&error)))?;
    metrics.connected(subscription.domain, true);
    tracing::info!(domain = subscription.domain, "receiving signals");
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| SignalError::Pull(explain(&error)))?;
        *received = true;
        accept(&message, subscription.domain, intake, metrics).await;
    }
    Err(SignalError::Pull("the server ended the subscription".to_owned()))
}

async fn accept(message: &Message, domain: &str, intake: &Intake, metrics: &Metrics) {
    let acknowledgement = match serde_json::from_slice::<Notification>(&message.payload) {
        Ok(notification) => {
            let (class, found) = origin(message);
            intake.offer(notification.id, class, found).await;
            AckKind::Ack
        }
        Err(error) => {
            metrics.undecodable(domain);
            let (subject, bytes) = (message.subject.as_str(), message.payload.len());
            tracing::error!(domain, subject, bytes, error = %explain(&error), "failed to decode a message, it is terminated");
            AckKind::Term
        }
    };
    if let Err(error) = around(writes::ACKNOWLEDGE, message.ack_with(acknowledgement)).await {
        // It comes again and merges with what is queued.
        tracing::debug!(domain, error = %explain(error.as_ref()), "failed to acknowledge a message");
    }
}

fn origin(message: &Message) -> (Class, Found) {
    let origin = message
        .headers
        .as_ref()
        .and_then(|headers| headers.get(ORIGIN_HEADER));
    match origin.map(async_nats::HeaderValue::as_str) {
        Some(MANY) => (Class::Many, Found::Signal),
        Some("relay") => (Class::Retry, Found::Retry),
        _ => (Class::Fresh, Found::Signal),
    }
}
