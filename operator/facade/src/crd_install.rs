//! The definitions: applied at start and made anew whenever they are found missing, since the database is the truth
//! and a definition that somebody deleted is no wish to lose what it showed.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt,
    runtime::{conditions::is_crd_established, wait::await_condition},
};

use crate::shared;

const ESTABLISHED: Duration = Duration::from_secs(60);
/// What a person with the right to do so runs.
const BY_HAND: &str = "kubectl apply --server-side --force-conflicts -f crds/yaml";

/// Applies all definitions by the rule of [`shared`] and waits until they are served.
pub(crate) async fn install(kube: &kube::Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(kube.clone());
    let ours = threeport_crds::all();
    for crd in &ours {
        shared::install(&api, crd, BY_HAND).await?;
    }
    for crd in &ours {
        let name = crd.name_any();
        let served = await_condition(api.clone(), &name, is_crd_established());
        tokio::time::timeout(ESTABLISHED, served)
            .await
            .with_context(|| format!("{name} was not established within {} s", ESTABLISHED.as_secs()))?
            .with_context(|| format!("failed to wait for {name}"))?;
    }
    Ok(())
}
