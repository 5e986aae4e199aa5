//! What NATS itself counts, asked at its monitoring port: a witness that no part of ours can influence.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

use crate::kubectl;

/// The pod of the chart's NATS.
pub const POD: &str = "threeport-nats-0";

#[derive(Deserialize)]
struct Jsz {
    #[serde(default)]
    account_details: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    stream_detail: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    consumer_detail: Vec<Consumer>,
}

#[derive(Deserialize)]
struct Consumer {
    name: String,
    delivered: Sequence,
}

#[derive(Deserialize)]
struct Sequence {
    consumer_seq: u64,
}

#[derive(Deserialize)]
struct Varz {
    start: Timestamp,
}

async fn ask<T: for<'de> Deserialize<'de>>(namespace: &str, path: &str) -> Result<T> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{POD}:8222/proxy/{path}");
    let text = kubectl(&format!("get --raw {path}"), None)
        .await?
        .success()?
        .stdout;
    serde_json::from_str(&text).with_context(|| format!("{path} answered {text}"))
}

/// How many messages each consumer was given since it was made: name -> deliveries.
pub async fn delivered(namespace: &str) -> Result<BTreeMap<String, u64>> {
    let jsz: Jsz = ask(namespace, "jsz?accounts=true&streams=true&consumers=true").await?;
    let streams = jsz
        .account_details
        .into_iter()
        .flat_map(|account| account.stream_detail);
    Ok(streams
        .flat_map(|stream| stream.consumer_detail)
        .map(|consumer| (consumer.name, consumer.delivered.consumer_seq))
        .collect())
}

/// When the server that answers now was started.
pub async fn started(namespace: &str) -> Result<Timestamp> {
    Ok(ask::<Varz>(namespace, "varz").await?.start)
}
