//! Plain requests as fast as they are answered: POST of definitions and GET of them by name, with one client and with
//! sixteen. Mirrors are written meanwhile, as always.

use anyhow::Result;
use serde::Serialize;
use threeport_client::Propagation;
use threeport_model::kinds::WorkloadDefinition;

use crate::{
    arguments::Arguments,
    driver::{AT_ONCE, Driven, drive},
    figures::{POST_P99, POST_RATE, REPORTED},
    objects,
    report::Figures,
    statistics::{Distribution, Spread},
    world::{World, kind_of, say},
};

/// Requests of a run, by the number of clients.
const SIZES: [(usize, usize); 2] = [(1, 500), (AT_ONCE, 2500)];

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    clients: usize,
    post: Answered,
    get: Answered,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    per_second: f64,
    milliseconds: Distribution,
}

impl From<Driven> for Answered {
    fn from(driven: Driven) -> Self {
        Self {
            per_second: driven.rate(),
            milliseconds: Distribution::of(&driven.milliseconds).unwrap_or_default(),
        }
    }
}

pub(super) async fn measure(
    world: &World,
    arguments: &Arguments,
    runs: usize,
    figures: &mut Figures<'_>,
) -> Result<()> {
    let mut done = Vec::new();
    for run in 0..runs {
        for (clients, count) in SIZES {
            say(&format!(
                "POST and GET with {clients} clients, run {} of {runs}",
                run + 1
            ));
            let run = one(
                world,
                &format!("post-{run}-{clients}"),
                clients,
                arguments.size(count),
            )
            .await?;
            say(&format!(
                "  POST {:.0}/s, p99 {:.1} ms; GET {:.0}/s, p99 {:.1} ms",
                run.post.per_second, run.post.milliseconds.p99, run.get.per_second, run.get.milliseconds.p99
            ));
            done.push(run);
        }
    }
    for (clients, _) in SIZES {
        let of =
            |value: fn(&Run) -> f64| Spread::of(done.iter().filter(|run| run.clients == clients).map(value));
        let many = clients == AT_ONCE;
        let noun = if many { "clients" } else { "client" };
        let name = |verb: &str, what: &str| format!("{verb}, {clients} {noun}: {what}");
        figures.add(
            &name("POST", "rate"),
            "/s",
            if many { POST_RATE } else { REPORTED },
            of(|run| run.post.per_second),
        );
        figures.add(
            &name("POST", "p50"),
            "ms",
            REPORTED,
            of(|run| run.post.milliseconds.p50),
        );
        let p99 = of(|run| run.post.milliseconds.p99);
        if many {
            figures.add_required(&POST_P99, p99);
        } else {
            figures.add(&name("POST", "p99"), "ms", REPORTED, p99);
        }
        figures.add(&name("GET", "rate"), "/s", REPORTED, of(|run| run.get.per_second));
        figures.add(
            &name("GET", "p50"),
            "ms",
            REPORTED,
            of(|run| run.get.milliseconds.p50),
        );
        figures.add(
            &name("GET", "p99"),
            "ms",
            REPORTED,
            of(|run| run.get.milliseconds.p99),
        );
    }
    figures.detail("requests", &done)
}

async fn one(world: &World, prefix: &str, clients: usize, count: usize) -> Result<Run> {
    let kind = kind_of::<WorkloadDefinition>()?;
    let names = objects::names(prefix, count);
    let names = names.as_slice();
    world.settle().await?;
    let some = world.clients.get(..clients).unwrap_or(&world.clients);
    let post = drive(some, count, |client, index| async move {
        let object = objects::definition(&names[index], false);
        Ok(client.object_create(kind, &object).await.map(drop)?)
    })
    .await?;
    world.settle().await?;
    let get = drive(some, count, |client, index| async move {
        Ok(client.object_get(kind, &names[index]).await.map(drop)?)
    })
    .await?;
    drive(&world.clients, count, |client, index| async move {
        Ok(client
            .object_delete(kind, &names[index], Propagation::Refuse)
            .await
            .map(drop)?)
    })
    .await?;
    Ok(Run {
        clients,
        post: post.into(),
        get: get.into(),
    })
}
