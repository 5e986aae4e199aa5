//! The stream as JetStream has it: how it is made, and that it is changed in place.

use std::time::{Duration, Instant};

use async_nats::jetstream::{
    self, Context,
    stream::{Config, DiscardPolicy, Info, StorageType},
};
use threeport_model::protocol::notification::{STREAM, SUBJECT_PREFIX, subject};
use threeport_server::{
    metrics::Metrics,
    notifications::{
        COMMIT,
        jetstream::{JetStream, Message, Outcome},
    },
};
use threeport_testbed::{Nats, NatsOptions};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(20);
const PLURAL: &str = "workloadinstances";

/// Starts what ensures the stream.
async fn keep(nats: &Nats) -> JetStream {
    let configuration = threeport_nats::Nats {
        nats_url: Some(nats.url()),
        ..threeport_nats::Nats::default()
    };
    let connected = JetStream::connect(&configuration, Metrics::default()).await;
    let jetstream = connected.unwrap().unwrap();
    let keeper = jetstream.clone();
    tokio::spawn(async move { keeper.keep_stream().await });
    jetstream
}

/// What the stream is once that holds.
async fn until(context: &Context, what: &str, holds: impl Fn(&Info) -> bool) -> Info {
    let start = Instant::now();
    loop {
        let found = context.get_stream(STREAM).await;
        match found.as_ref().map(jetstream::stream::Stream::cached_info) {
            Ok(info) if holds(info) => return info.clone(),
            seen => assert!(start.elapsed() < DEADLINE, "{what}: {seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The newest message of each object, for an hour, in memory.
fn is_as_designed(config: &Config) {
    assert_eq!(config.subjects, [format!("{SUBJECT_PREFIX}.>")]);
    assert_eq!(config.max_messages_per_subject, 1);
    assert_eq!(config.discard, DiscardPolicy::Old);
    assert_eq!(config.max_age, Duration::from_secs(3600));
    assert_eq!(config.max_bytes, 64 << 20);
    assert_eq!(config.storage, StorageType::Memory);
    assert_eq!(config.duplicate_window, Duration::from_secs(120));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_changed_in_place_and_made_where_it_is_missing() {
    crate::harness::init_log();
    let nats = Nats::start(&NatsOptions::default()).unwrap();
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    // As another version may have left it.
    let former = Config {
        name: STREAM.to_owned(),
        subjects: vec![format!("{SUBJECT_PREFIX}.workloadinstances.*")],
        max_messages_per_subject: 5,
        max_age: Duration::from_secs(600),
        storage: StorageType::Memory,
        ..Config::default()
    };
    let made = context.create_stream(former).await.unwrap().cached_info().created;
    let [twice, once, later] = [1, 2, 3].map(Uuid::from_u128);
    for (id, payload) in [(twice, "old"), (twice, "new"), (once, "only")] {
        let sent = context.publish(subject(PLURAL, id), payload.into()).await;
        sent.unwrap().await.unwrap();
    }

    let jetstream = keep(&nats).await;
    let changed = until(&context, "the stream is not changed", |info| {
        info.config.max_age > Duration::from_secs(600) && info.state.messages < 3
    })
    .await;
    is_as_designed(&changed.config);
    assert_eq!(changed.created, made, "it is the same one");
    assert_eq!((changed.state.messages, changed.state.last_sequence), (2, 3));
    let stream = context.get_stream(STREAM).await.unwrap();
    for (id, sequence, payload) in [(twice, 2, "new"), (once, 3, "only")] {
        let kept = stream.get_last_raw_message_by_subject(&subject(PLURAL, id)).await;
        let kept = kept.unwrap();
        assert_eq!((kept.sequence, &kept.payload[..]), (sequence, payload.as_bytes()));
    }

    // Whoever publishes finds it missing.
    context.delete_stream(STREAM).await.unwrap();
    let message = || Message {
        id: later,
        plural: PLURAL,
        token: "token".to_owned(),
        origin: COMMIT,
        bucket: None,
        operation: None,
    };
    assert_eq!(jetstream.publish(message()).await, Outcome::Failed);
    let anew = until(&context, "the stream is not made", |_| true).await;
    is_as_designed(&anew.config);
    assert!(anew.created > made, "it is another one");
    assert_eq!(jetstream.publish(message()).await, Outcome::Published);
}
