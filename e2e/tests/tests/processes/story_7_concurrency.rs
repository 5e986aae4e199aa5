//! Two API processes on one PostgreSQL: one name is created once, one ETag is used once, and 300 objects are all or
//! none, also when the process is killed in the middle.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use threeport_client::{ApplyBody, Client, Error};
use threeport_e2e::form;
use threeport_model::{Code, Etag, KindDescriptor, Object, find_kind};
use tokio::sync::mpsc;

use crate::api::Installation;

fn definitions() -> Result<&'static KindDescriptor> {
    find_kind("WorkloadDefinition").context("no such kind")
}

fn definition(name: &str, value: &str) -> Object {
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": value}});
    Object::new("WorkloadDefinition", name, json!({"manifests": [map]}))
}

#[tokio::test(flavor = "multi_thread")]
async fn story_7_fifty_concurrent_creates_of_one_name_make_one() -> Result<()> {
    let installation = Installation::new().await?;
    let processes = [installation.start().await?, installation.start().await?];
    let kind = definitions()?;
    let creates = (0..50).map(|index| {
        let client = &processes[index % 2].client;
        async move {
            client
                .object_create(kind, &definition("one", &index.to_string()))
                .await
        }
    });
    let answers = join_all(creates).await;
    let created = answers.iter().filter(|answer| answer.is_ok()).count();
    let taken = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .filter(|error| error.code() == Some(Code::AlreadyExists));
    ensure!((created, taken.count()) == (1, 49), "{answers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_7_two_writers_with_one_etag_make_one_change() -> Result<()> {
    let installation = Installation::new().await?;
    let processes = [installation.start().await?, installation.start().await?];
    let kind = definitions()?;
    for round in 0..20 {
        let name = format!("etag-{round}");
        let created = processes[0]
            .client
            .object_create(kind, &definition(&name, "0"))
            .await?;
        let etag = Some(Etag::of(&created));
        let (left, right) = (definition(&name, "left"), definition(&name, "right"));
        let (left, right) = tokio::join!(
            processes[0].client.object_replace(kind, &left, etag),
            processes[1].client.object_replace(kind, &right, etag),
        );
        let refused = [&left, &right]
            .into_iter()
            .filter_map(|answer| answer.as_ref().err().and_then(Error::code));
        let refused: Vec<_> = refused.collect();
        ensure!(
            refused == [Code::PreconditionFailed],
            "round {round}: {left:?} {right:?}"
        );
    }
    Ok(())
}

const OBJECTS: usize = 300;
const TRIES: usize = 100;
/// Each outcome comes at least so often.
const EACH: usize = 10;
/// By how much the time to the kill moves towards the outcome that did not come.
const STEP: f64 = 1.15;

fn batch(prefix: &str) -> Vec<Value> {
    let objects = (0..OBJECTS).map(|index| {
        let mut object = definition(&format!("{prefix}-{index}"), "x");
        object
            .metadata
            .labels
            .insert("batch".to_owned(), prefix.to_owned());
        json!(object)
    });
    objects.collect()
}

/// How many objects of a batch there are, by the label that they have in common.
async fn count(client: &Client, prefix: &str) -> Result<usize> {
    Ok(client
        .object_list_all(definitions()?, Some(&format!("batch={prefix}")))
        .await?
        .0
        .len())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_7_three_hundred_objects_are_all_or_none_when_the_api_is_killed() -> Result<()> {
    let seed = form::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let installation = Installation::new().await?;
    let witness = installation.start().await?;

    let mut warm = Vec::new();
    for round in 0..3 {
        let prefix = format!("warm{round}");
        let begin = Instant::now();
        witness
            .client
            .apply(ApplyBody::Objects(batch(&prefix)), false)
            .await?;
        warm.push(begin.elapsed());
        ensure!(
            count(&witness.client, &prefix).await? == OBJECTS,
            "positive control: an apply that is let be stores all"
        );
    }
    warm.sort();
    let usual = warm[1];

    // Where the outcomes part: a kill before it leaves none, one after it all. Found by looking: it is the machine's and
    // what else runs there.
    let mut edge = usual.as_secs_f64();
    let (mut none, mut all) = (0, 0);
    let (sender, mut victims) = mpsc::channel(1);
    // The next one starts while this one is told what to do: most of a try is the start of a process.
    let starts = tokio::spawn(async move {
        for _ in 0..TRIES {
            let started = installation.start().await;
            if sender.send(started).await.is_err() {
                break;
            }
        }
        installation
    });
    for attempt in 0..TRIES {
        let victim = victims.recv().await.context("no process was started")??;
        let prefix = format!("try{attempt}");
        let client = victim.client.clone();
        let objects = batch(&prefix);
        let apply = tokio::spawn(async move { client.apply(ApplyBody::Objects(objects), false).await });
        tokio::time::sleep(Duration::from_secs_f64(edge * random.random_range(0.0..2.0))).await;
        victim.kill().await?;
        let acknowledged = apply.await?.is_ok();
        match count(&witness.client, &prefix).await? {
            0 if !acknowledged => {
                none += 1;
                edge *= STEP;
            }
            OBJECTS => {
                all += 1;
                edge /= STEP;
            }
            found => anyhow::bail!(
                "try {attempt}, seed {seed}: {found} of {OBJECTS}, acknowledged: {acknowledged}"
            ),
        }
    }
    // Its certificates and database are needed until the last try.
    let _installation = starts.await?;
    println!(
        "{TRIES} tries: {none} times none, {all} times all; an apply takes {usual:?}, the outcomes part at {edge:.3} s"
    );
    ensure!(
        none >= EACH && all >= EACH,
        "the kill was not spread: {none} times none, {all} times all"
    );
    Ok(())
}
