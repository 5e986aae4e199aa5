//! The database is down: the API says so and is not ready; back, it goes on without a restart and has what it acknowledged.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use threeport_e2e::wait_until;
use threeport_model::{Code, Object, find_kind};
use threeport_testbed::postgres::{Postgres, PostgresOptions};
use tokio::task::block_in_place;

use crate::api::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn failure_without_its_database_the_api_says_so_and_recovers() -> Result<()> {
    let mut server = block_in_place(|| Postgres::start(&PostgresOptions::default()))?;
    let url = block_in_place(|| server.create_database("threeport", None))?;
    let installation = Installation::on(url).await?;
    let api = installation.start().await?;
    let kind = find_kind("WorkloadDefinition").context("no such kind")?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}});
    let object = |name: &str| Object::new("WorkloadDefinition", name, json!({"manifests": [map]}));
    let before = api.client.object_create(kind, &object("before")).await?;

    block_in_place(|| server.stop())?;
    let refused = api.client.object_create(kind, &object("meanwhile")).await;
    let refused = refused
        .err()
        .context("a write was acknowledged without a database")?;
    ensure!(refused.code() == Some(Code::Unavailable), "{refused:?}");
    wait_until("the API is not ready", Duration::from_secs(20), || async {
        Ok(match api.client.ready().await {
            Err(error) if error.code() == Some(Code::Unavailable) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;

    block_in_place(|| server.resume())?;
    wait_until("the API is ready again", Duration::from_secs(20), || async {
        Ok(api
            .client
            .ready()
            .await
            .map(drop)
            .map_err(|error| error.to_string()))
    })
    .await?;
    let found = api.client.object_get(kind, "before").await?;
    ensure!(found == before, "{found:?} was {before:?}");
    let meanwhile = api.client.object_get(kind, "meanwhile").await;
    ensure!(
        meanwhile.is_err_and(|error| error.code() == Some(Code::NotFound)),
        "what was refused is there"
    );
    api.client.object_create(kind, &object("meanwhile")).await?;
    Ok(())
}
