//! The JetStream side: one connection that is never given up, one stream that is ensured at every connect and
//! whenever it is found missing. It is updated in place, never deleted and made anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{
    Client, HeaderMap,
    jetstream::{
        self, Context,
        context::PublishErrorKind,
        message::PublishMessage,
        stream::{Config, DiscardPolicy, StorageType},
    },
};
use threeport_failpoint::around;
use threeport_model::{
    explain,
    protocol::notification::{self, Notification, ORIGIN_HEADER, STREAM, SUBJECT_PREFIX, TRACE_HEADER},
};
use threeport_nats::{ConnectError, Nats};
use tokio::sync::Notify;
use uuid::Uuid;

use super::told::Told;
use crate::{metrics::Metrics, writes};

/// How long an acknowledgement is waited for.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Within this time JetStream drops a message whose id it has seen.
const DUPLICATES: Duration = Duration::from_secs(120);

/// One notification on its way.
pub struct Message {
    /// The object.
    pub id: Uuid,
    /// Its kind.
    pub plural: &'static str,
    /// Of its pending row.
    pub token: String,
    /// `commit` or `relay`.
    pub origin: &'static str,
    /// Makes the id of a repetition another one.
    pub bucket: Option<i64>,
    /// The operation that made the work; its id is the trace's.
    pub operation: Option<Uuid>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged.
    Published,
    /// Not sent, since there is no connection.
    Dropped,
    /// Not acknowledged.
    Failed,
}

impl Outcome {
    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// A connection to NATS; cheap to clone.
#[derive(Clone)]
pub struct JetStream {
    client: Client,
    context: Context,
    connected: Arc<AtomicBool>,
    stream_wanted: Arc<Notify>,
    told: Arc<Told>,
}

impl JetStream {
    /// Begins to connect, and never stops to. Fails only where the configuration is wrong.
    pub async fn connect(nats: &Nats, metrics: Metrics) -> Result<Option<Self>, ConnectError> {
        let connected = Arc::new(AtomicBool::new(false));
        let stream_wanted = Arc::new(Notify::new());
        let (seen, wanted) = (Arc::clone(&connected), Arc::clone(&stream_wanted));
        let changed = move |is_connected: bool| {
            seen.store(is_connected, Ordering::Relaxed);
            metrics.nats_connected(is_connected);
            if is_connected {
                wanted.notify_one();
            }
        };
        let client = threeport_nats::connect(nats, "threeport-api", "api", changed).await?;
        let Some(client) = client else {
            return Ok(None);
        };
        let mut context = jetstream::new(client.clone());
        context.set_timeout(TIMEOUT);
        Ok(Some(Self {
            client,
            context,
            connected,
            stream_wanted,
            told: Arc::default(),
        }))
    }

    /// Whether NATS is there now.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Whether JetStream acknowledged the same a moment ago.
    pub fn knows(&self, id: Uuid, token: &str) -> bool {
        self.told.is_known(id, token, Instant::now())
    }

    /// Publishes and waits for the acknowledgement. Without a connection nothing is queued: old hints are worthless.
    pub async fn publish(&self, message: Message) -> Outcome {
        if !self.is_connected() {
            return Outcome::Dropped;
        }
        let subject = notification::subject(message.plural, message.id);
        let (id, token) = (message.id, message.token.clone());
        let Ok(publish) = encode(message) else {
            return Outcome::Failed;
        };
        let published = match self.context.send_publish(subject, publish).await {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match published {
            Ok(_) => {
                self.told.note(id, token, Instant::now());
                Outcome::Published
            }
            Err(error) => {
                if error.kind() == PublishErrorKind::StreamNotFound {
                    self.stream_wanted.notify_one();
                }
                Outcome::Failed
            }
        }
    }

    /// Ensures the stream at every connect and whenever it was found missing.
    pub async fn keep_stream(&self) {
        loop {
            self.stream_wanted.notified().await;
            while let Err(error) =
                around(writes::STREAM, self.context.create_or_update_stream(stream())).await
            {
                tracing::warn!("failed to ensure the stream {STREAM}: {}", explain(&error));
                tokio::time::sleep(Duration::from_secs(1)).await;
                if !self.is_connected() {
                    break;
                }
            }
            self.told.forget();
        }
    }

    /// Calls `wake` whenever another replica published anything; what this one published is not sent back to it.
    pub async fn keep_waking(&self, wake: &Notify) {
        use futures::StreamExt;
        loop {
            match self.client.subscribe(format!("{SUBJECT_PREFIX}.>")).await {
                Ok(mut messages) => {
                    while messages.next().await.is_some() {
                        wake.notify_one();
                    }
                }
                Err(error) => tracing::debug!("failed to subscribe: {}", explain(&error)),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

fn encode(message: Message) -> serde_json::Result<PublishMessage> {
    let mut headers = HeaderMap::new();
    headers.insert(ORIGIN_HEADER, message.origin);
    if let Some(operation) = message.operation {
        // W3C trace context: the operation is the trace, the object's first bytes are the span.
        let span = &message.id.simple().to_string()[..16];
        headers.insert(TRACE_HEADER, format!("00-{}-{span}-01", operation.simple()));
    }
    let id = match message.bucket {
        Some(bucket) => format!("{}:{}:{bucket}", message.id, message.token),
        None => format!("{}:{}", message.id, message.token),
    };
    let payload = serde_json::to_vec(&Notification {
        id: message.id,
        token: message.token,
    })?;
    Ok(PublishMessage::build()
        .payload(payload.into())
        .headers(headers)
        .message_id(id))
}

/// One stream for all kinds: the newest message per object, for an hour, in memory.
fn stream() -> Config {
    Config {
        name: STREAM.to_owned(),
        subjects: vec![format!("{SUBJECT_PREFIX}.>")],
        description: Some(
            "which Threeport object may need work; a hint that the database repeats".to_owned(),
        ),
        max_messages_per_subject: 1,
        max_age: Duration::from_secs(3600),
        max_bytes: 64 << 20,
        discard: DiscardPolicy::Old,
        storage: StorageType::Memory,
        num_replicas: 1,
        duplicate_window: DUPLICATES,
        ..Config::default()
    }
}
