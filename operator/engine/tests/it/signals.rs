//! Signals through a real nats-server with JetStream.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    jetstream::{self, Context, stream},
};
use threeport_engine::{
    Found,
    signal::{self, Subscription},
};
use threeport_model::protocol::notification::{self, ORIGIN_HEADER, STREAM, SUBJECT_PREFIX};
use threeport_nats::Nats;
use threeport_testbed::{NatsOptions, nats};
use tokio::time::sleep;
use uuid::Uuid;

use crate::world::{Running, key, start, without_sweep};

async fn server() -> nats::Nats {
    let options = NatsOptions {
        tls: false,
        authentication: nats::Authentication::None,
        ..NatsOptions::default()
    };
    tokio::task::spawn_blocking(move || nats::Nats::start(&options))
        .await
        .unwrap()
        .unwrap()
}

async fn context(url: &str) -> Context {
    jetstream::new(async_nats::connect(url).await.unwrap())
}

/// What the API does at each connect.
async fn ensure_stream(context: &Context) {
    let config = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![format!("{SUBJECT_PREFIX}.>")],
        max_messages_per_subject: 1,
        storage: stream::StorageType::Memory,
        ..stream::Config::default()
    };
    context.create_or_update_stream(config).await.unwrap();
}

async fn publish(context: &Context, id: Uuid, origin: &str) {
    let mut headers = HeaderMap::new();
    headers.insert(ORIGIN_HEADER, origin);
    let payload = format!(r#"{{"id":"{id}","token":"t"}}"#);
    let subject = notification::subject("things", id);
    context
        .publish_with_headers(subject, headers, payload.into())
        .await
        .unwrap()
        .await
        .unwrap();
}

async fn listen(engine: &Running, url: &str) {
    // The sweep at the start must not find what the signals are to bring.
    until("the first sweep", || engine.world.0.lock().unwrap().claims > 0).await;
    let nats = Nats {
        nats_url: Some(url.to_owned()),
        ..Nats::default()
    };
    let connection = signal::connect(&nats).await.unwrap().unwrap();
    let subscription = Subscription {
        domain: "things",
        plurals: vec!["things"],
    };
    let (intake, metrics) = (engine.intake.clone(), engine.metrics.clone());
    tokio::spawn(signal::run(
        connection,
        subscription,
        intake,
        metrics,
        engine.shutdown.clone(),
    ));
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "not within 30 s: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_become_runs_and_garbage_is_terminated_and_counted() {
    let server = server().await;
    let context = context(&server.url()).await;
    ensure_stream(&context).await;
    let engine = start(without_sweep);
    listen(&engine, &server.url()).await;
    for (number, origin, found) in [(1, "commit", Found::Signal), (2, "relay", Found::Retry)] {
        engine.world.make_pending(key(number), "a");
        publish(&context, key(number), origin).await;
        until("the run", || engine.world.runs_of(key(number)) == [found]).await;
    }
    context
        .publish(format!("{SUBJECT_PREFIX}.things.x"), "garbage".into())
        .await
        .unwrap()
        .await
        .unwrap();
    let metric = "threeport_undecodable_messages_total{domain=\"things\"} 1";
    let metrics = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &engine.registry).unwrap();
        text
    };
    until("the count", || metrics().contains(metric)).await;
    // Everything was acknowledged or terminated: nothing comes again.
    let mut consumer: jetstream::consumer::PullConsumer = context
        .get_consumer_from_stream("threeport-things", STREAM)
        .await
        .unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let info = consumer.info().await.unwrap();
        if info.num_ack_pending == 0 && info.num_pending == 0 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{info:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The consumer is deleted, then the server comes back without its storage: signals go on by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_consumer_and_a_wiped_server_are_mended() {
    let mut server = server().await;
    let first = context(&server.url()).await;
    ensure_stream(&first).await;
    let engine = start(without_sweep);
    listen(&engine, &server.url()).await;
    engine.world.make_pending(key(1), "a");
    publish(&first, key(1), "commit").await;
    until("the first run", || engine.world.runs_of(key(1)).len() == 1).await;

    first
        .delete_consumer_from_stream("threeport-things", STREAM)
        .await
        .unwrap();
    engine.world.make_pending(key(2), "a");
    publish(&first, key(2), "commit").await;
    until("a run without the consumer", || {
        engine.world.runs_of(key(2)) == [Found::Signal]
    })
    .await;

    let url = server.url();
    let server = tokio::task::spawn_blocking(move || {
        server.stop().unwrap();
        server.wipe_storage().unwrap();
        server.resume().unwrap();
        server
    })
    .await
    .unwrap();
    let second = context(&url).await;
    ensure_stream(&second).await;
    engine.world.make_pending(key(3), "a");
    publish(&second, key(3), "commit").await;
    until("a run after the wipe", || {
        engine.world.runs_of(key(3)) == [Found::Signal]
    })
    .await;
    drop(server);
}
