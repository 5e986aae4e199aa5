//! Why something can't be done: the reasons of `Ready`, and what follows from each. Pure.

use threeport_engine::Outcome;
use threeport_model::{ConditionStatus, condition};

use crate::{
    condition::{Progress, Summary},
    target::TargetError,
};

/// A reason of `Ready` that stands against applying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The cluster, or we, take a document for wrong.
    Invalid,
    /// A field can't be changed.
    Immutable,
    /// An object exists that is not ours.
    Conflict,
    /// Another instance has the object.
    OwnedBy,
    /// The runtime's account may not.
    Forbidden,
    /// The cluster doesn't serve the kind.
    KindNotFound,
    /// No answer from the cluster.
    RuntimeUnreachable,
    /// Something else must be first.
    WaitingForDependency,
    /// On its way: a kind, a namespace, an object that is being replaced.
    Progressing,
    /// A person said stop.
    Suspended,
}

impl Reason {
    /// As `Ready` has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::Immutable => "Immutable",
            Self::Conflict => "Conflict",
            Self::OwnedBy => "OwnedBy",
            Self::Forbidden => "Forbidden",
            Self::KindNotFound => "KindNotFound",
            Self::RuntimeUnreachable => "RuntimeUnreachable",
            Self::WaitingForDependency => "WaitingForDependency",
            Self::Progressing => condition::PROGRESSING,
            Self::Suspended => "Suspended",
        }
    }

    /// Whether the cluster (or the store) said no, so that nothing was done.
    pub(super) fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Invalid | Self::Conflict | Self::OwnedBy | Self::Forbidden
        )
    }

    fn progress(self) -> Progress {
        match self {
            Self::Invalid
            | Self::Immutable
            | Self::Conflict
            | Self::OwnedBy
            | Self::Forbidden
            | Self::KindNotFound => Progress::Stalled,
            Self::RuntimeUnreachable | Self::WaitingForDependency | Self::Progressing => {
                Progress::Reconciling
            }
            Self::Suspended => Progress::Settled,
        }
    }
}

/// Why something can't be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) reason: Reason,
    /// What, on what, why, what to do next.
    pub(super) message: String,
    /// What it is about: `Kind/name` of a Threeport object, or a live object.
    pub(super) on: String,
}

impl Obstacle {
    pub(super) fn new(reason: Reason, on: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            on: on.into(),
        }
    }

    /// Of a call about `object`.
    pub(super) fn of_target(error: &TargetError, object: &str) -> Self {
        let (reason, advice) = match error {
            TargetError::Unreachable(_) => (Reason::RuntimeUnreachable, ""),
            TargetError::Forbidden { message, .. } => (Reason::Forbidden, advice(message)),
            TargetError::NotFound(_) | TargetError::NotServed(_) => (Reason::Progressing, ""),
            TargetError::Gone | TargetError::Replaced => (Reason::Progressing, ""),
            TargetError::Terminating(_) | TargetError::WebhookUnavailable(_) => (Reason::Progressing, ""),
            TargetError::Conflict(_) => (Reason::Progressing, ""),
            TargetError::FieldsOwned(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|owned| format!("{} of {}", owned.field, owned.manager))
                    .collect();
                let message = format!(
                    "{object}: other managers own fields with other values: {}; make them equal or remove the object",
                    fields.join(", ")
                );
                return Self::new(Reason::Conflict, object, message);
            }
            TargetError::Immutable { .. } => (
                Reason::Immutable,
                "; change it back, or annotate the document threeport.io/on-immutable: recreate to have the object \
                 deleted and made anew",
            ),
            TargetError::Invalid(_) => (Reason::Invalid, ""),
        };
        Self::new(reason, object, format!("{object}: {error}{advice}"))
    }

    /// What `Ready` says.
    pub(super) fn summary(&self) -> Summary {
        let ready = match self.reason {
            Reason::RuntimeUnreachable => ConditionStatus::Unknown,
            _ => ConditionStatus::False,
        };
        Summary::new(
            ready,
            self.reason.as_str(),
            self.message.clone(),
            self.reason.progress(),
        )
    }

    /// How the run ends.
    pub(super) fn outcome(&self) -> Outcome {
        let why = self.message.clone();
        match self.reason {
            Reason::Suspended => Outcome::Done,
            Reason::Invalid | Reason::Immutable => Outcome::Stalled {
                reason: why,
                retried: false,
            },
            Reason::Conflict | Reason::OwnedBy | Reason::Forbidden | Reason::KindNotFound => {
                Outcome::Stalled {
                    reason: why,
                    retried: true,
                }
            }
            Reason::RuntimeUnreachable => Outcome::Retry(why),
            Reason::WaitingForDependency | Reason::Progressing => Outcome::WaitFor(why),
        }
    }
}

/// What to do about a 403. RBAC's own words tell whose right is missing; what a quota, a pod standard or a webhook says
/// is no right, and tells itself what to do.
fn advice(message: &str) -> &'static str {
    if message.contains(" cannot impersonate resource ") {
        "; the controllers may not act as the account that the runtime's spec.serviceAccount names: grant them that"
    } else if message.contains(" cannot ") && message.contains(" resource \"") {
        "; grant it to the ServiceAccount that the runtime's spec.serviceAccount names"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_403_is_answered_with_what_helps_against_it() {
        let said = |message: &str| {
            let error = TargetError::Forbidden {
                verb: "patch".to_owned(),
                resource: "pods".to_owned(),
                message: message.to_owned(),
            };
            Obstacle::of_target(&error, "Pod web/a").message
        };
        let right = said("pods is forbidden: User \"a\" cannot patch resource \"pods\" in API group \"\"");
        assert!(
            right.ends_with("; grant it to the ServiceAccount that the runtime's spec.serviceAccount names")
        );
        let other = said(
            "serviceaccounts \"a\" is forbidden: User \"b\" cannot impersonate resource \"serviceaccounts\"",
        );
        assert!(other.contains("the controllers may not act as"), "{other}");
        let quota = said(
            "pods \"a\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1",
        );
        assert!(quota.ends_with("limited: pods=1"), "{quota}");
        let webhook = said("admission webhook \"a\" denied the request: it cannot run here");
        assert!(webhook.ends_with("it cannot run here"), "{webhook}");
    }

    #[test]
    fn an_unreachable_cluster_is_unknown_and_what_only_a_change_mends_waits_for_it() {
        let of = |error| Obstacle::of_target(&error, "ConfigMap web/a");
        let unreachable = of(TargetError::Unreachable("no route".to_owned()));
        assert_eq!(unreachable.summary().ready, ConditionStatus::Unknown);
        assert!(matches!(unreachable.outcome(), Outcome::Retry(_)));
        let invalid = of(TargetError::Invalid("wrong".to_owned()));
        assert!(matches!(
            invalid.outcome(),
            Outcome::Stalled { retried: false, .. }
        ));
        let forbidden = of(TargetError::Forbidden {
            verb: "patch".to_owned(),
            resource: "configmaps".to_owned(),
            message: "no".to_owned(),
        });
        assert_eq!(forbidden.reason, Reason::Forbidden);
        assert!(
            forbidden.message.contains("patch of configmaps"),
            "{}",
            forbidden.message
        );
        assert!(matches!(
            forbidden.outcome(),
            Outcome::Stalled { retried: true, .. }
        ));
        let terminating = of(TargetError::Terminating(String::new()));
        assert!(matches!(terminating.outcome(), Outcome::WaitFor(_)));
    }
}
