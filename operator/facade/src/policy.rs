//! The admission policy, in `policy/custom-resources.yaml`: CEL in the API server, no webhook. It refuses everybody
//! else's edit or deletion of a mirror, even as system:masters, and threeport.io objects in namespaces that no control
//! plane serves.
//!
//! The file carries its version and hash, as the definitions do, so that it is also known where a person applied it.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Api;
use serde::Deserialize;
use threeport_model::yaml;
use tokio_util::sync::CancellationToken;

use crate::shared;

/// The policy and its binding as YAML.
pub const POLICY: &str = include_str!("../policy/custom-resources.yaml");
const BY_HAND: &str =
    "kubectl apply --server-side --force-conflicts -f operator/facade/policy/custom-resources.yaml";

/// Applies policy and binding by the rule of [`shared`].
pub(crate) async fn install(kube: &kube::Client) -> anyhow::Result<()> {
    let (policy, binding) = parse()?;
    shared::install(&Api::all(kube.clone()), &policy, BY_HAND).await?;
    shared::install(&Api::all(kube.clone()), &binding, BY_HAND).await
}

/// Looks `every` so often whether they are there, and makes them anew: whoever removes another control plane may have
/// taken this for the last one.
pub(crate) async fn keep(kube: kube::Client, every: Duration, shutdown: CancellationToken) {
    while shutdown
        .run_until_cancelled(tokio::time::sleep(every))
        .await
        .is_some()
    {
        if let Some(Err(error)) = shutdown.run_until_cancelled(install(&kube)).await {
            tracing::warn!("failed to make the admission policy anew: {error:#}");
        }
    }
}

fn parse() -> anyhow::Result<(ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding)> {
    let documents = yaml::documents(POLICY).map_err(|error| anyhow::anyhow!("{}", error.message))?;
    let mut documents = documents.into_iter().map(|document| document.value);
    let mut next = || documents.next().context("the policy file lacks a document");
    let (policy, binding) = (next()?, next()?);
    Ok((
        Deserialize::deserialize(&policy).context("failed to read the policy file")?,
        Deserialize::deserialize(&binding).context("failed to read the policy file's binding")?,
    ))
}

#[cfg(test)]
mod tests {
    use threeport_crds::{HASH_ANNOTATION, VERSION_ANNOTATION};
    use threeport_model::{digest, yaml};

    #[test]
    fn the_file_says_its_version_and_hash() {
        for document in yaml::documents(super::POLICY).unwrap() {
            let mut value = document.value;
            let metadata = value["metadata"].as_object_mut().unwrap();
            let annotations = metadata.remove("annotations").unwrap();
            let said = |name: &str| annotations[name].as_str().unwrap().to_owned();
            assert_eq!(said(VERSION_ANNOTATION), env!("CARGO_PKG_VERSION"));
            assert_eq!(
                said(HASH_ANNOTATION),
                digest::of_json(&value),
                "{}",
                value["kind"]
            );
        }
    }

    #[test]
    fn the_file_holds_a_policy_and_its_binding() {
        let (policy, binding) = super::parse().unwrap();
        assert_eq!(policy.metadata.name, binding.spec.unwrap().policy_name);
        assert_eq!(policy.spec.unwrap().failure_policy.as_deref(), Some("Fail"));
    }
}
