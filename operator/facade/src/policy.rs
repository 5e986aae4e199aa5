//! The admission policy, in `policy/custom-resources.yaml`: CEL in the API server, no webhook. It refuses everybody
//! else's edit or deletion of a mirror, even as system:masters, and threeport.io objects in namespaces that no control
//! plane serves.

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{Api, Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use threeport_crds::{HASH_ANNOTATION, VERSION_ANNOTATION};
use threeport_model::{digest, yaml};

use crate::shared;

/// The policy and its binding as YAML.
pub const POLICY: &str = include_str!("../policy/custom-resources.yaml");
const APPLY: &str =
    "kubectl apply --server-side --force-conflicts -f operator/facade/policy/custom-resources.yaml";

/// Applies policy and binding by the rule of [`shared`].
pub(crate) async fn install(kube: &kube::Client) -> anyhow::Result<()> {
    let (policy, binding) = parse()?;
    let by_hand = by_hand(&policy, &binding);
    shared::install(&Api::all(kube.clone()), &policy, &by_hand).await?;
    shared::install(&Api::all(kube.clone()), &binding, &by_hand).await
}

/// What a person with the right to do so runs. The file does not have what operators go by.
fn by_hand(policy: &ValidatingAdmissionPolicy, binding: &ValidatingAdmissionPolicyBinding) -> String {
    let annotate = |plural: &str, name: String, annotations: &BTreeMap<String, String>| {
        let pairs = annotations.iter().map(|(key, value)| format!(" {key}={value}"));
        let pairs: String = pairs.collect();
        format!("kubectl annotate --overwrite {plural} {name}{pairs}")
    };
    [
        APPLY.to_owned(),
        annotate(
            "validatingadmissionpolicies",
            policy.name_any(),
            policy.annotations(),
        ),
        annotate(
            "validatingadmissionpolicybindings",
            binding.name_any(),
            binding.annotations(),
        ),
    ]
    .join(" && ")
}

fn parse() -> anyhow::Result<(ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding)> {
    let documents = yaml::documents(POLICY).map_err(|error| anyhow::anyhow!("{}", error.message))?;
    let mut documents = documents.into_iter().map(|document| document.value);
    let mut next = || documents.next().context("the policy file lacks a document");
    Ok((annotated(&next()?)?, annotated(&next()?)?))
}

fn annotated<K: Resource + DeserializeOwned + Serialize>(document: &serde_json::Value) -> anyhow::Result<K> {
    let mut object = K::deserialize(document).context("failed to read the policy file")?;
    let annotations = object.annotations_mut();
    annotations.insert(
        VERSION_ANNOTATION.to_owned(),
        env!("CARGO_PKG_VERSION").to_owned(),
    );
    annotations.insert(HASH_ANNOTATION.to_owned(), digest::of_json(document));
    Ok(object)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_file_holds_a_policy_and_its_binding() {
        let (policy, binding) = super::parse().unwrap();
        assert_eq!(policy.metadata.name, binding.spec.unwrap().policy_name);
        assert_eq!(policy.spec.unwrap().failure_policy.as_deref(), Some("Fail"));
    }
}
