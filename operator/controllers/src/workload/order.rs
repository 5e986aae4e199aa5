//! The order in which objects are applied; removal goes the other way. Pure.

/// Groups that kube-apiserver itself serves. Everything else is a custom (or aggregated) resource.
const BUILT_IN: &[&str] = &[
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// When an object is applied: the smaller, the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Rank {
    /// Kinds that the rest may need.
    CustomResourceDefinition,
    /// Where the rest lives.
    Namespace,
    /// Accounts and what they may.
    Rbac,
    /// What pods mount and read.
    Config,
    /// How pods are reached: before them, so that their environment has it.
    Service,
    /// What runs.
    Workload,
    /// What calls back into what runs: webhooks, aggregated APIs.
    Extension,
    /// What the workloads above may be the controllers of; removed first, while these still run.
    CustomResource,
}

impl Rank {
    /// Whether the deletion of one takes other objects along, whoever stands against that.
    pub(super) fn takes_others_along(self) -> bool {
        matches!(self, Self::CustomResourceDefinition | Self::Namespace)
    }
}

/// The rank of a kind.
pub(super) fn rank(group: &str, kind: &str) -> Rank {
    if !BUILT_IN.contains(&group) {
        return Rank::CustomResource;
    }
    match (group, kind) {
        ("apiextensions.k8s.io", _) => Rank::CustomResourceDefinition,
        ("", "Namespace") => Rank::Namespace,
        ("rbac.authorization.k8s.io", _) | ("", "ServiceAccount") => Rank::Rbac,
        ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Rank::Extension,
        ("", "Service" | "Endpoints") | ("networking.k8s.io" | "discovery.k8s.io", _) => Rank::Service,
        ("apps" | "batch" | "autoscaling" | "policy", _) | ("", "Pod" | "ReplicationController") => {
            Rank::Workload
        }
        _ => Rank::Config,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_in_the_stated_order() {
        let kinds = [
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            ("", "Namespace"),
            ("", "ServiceAccount"),
            ("", "Secret"),
            ("", "Service"),
            ("apps", "StatefulSet"),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
            ("cert-manager.io", "Certificate"),
        ];
        let ranks: Vec<_> = kinds.iter().map(|(group, kind)| rank(group, kind)).collect();
        assert!(ranks.is_sorted_by(|left, right| left < right), "{ranks:?}");
        assert_eq!(rank("gateway.networking.k8s.io", "Gateway"), Rank::CustomResource);
        assert_eq!(rank("", "PersistentVolumeClaim"), Rank::Config);
        assert_eq!(rank("autoscaling", "HorizontalPodAutoscaler"), Rank::Workload);
    }
}
