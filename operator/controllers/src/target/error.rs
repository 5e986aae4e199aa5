//! Why a target did not do what it was asked: the one place that reads Kubernetes' answers. Pure.
//!
//! What matters most is the line between *refused* (the cluster answered, and says no) and *unknown* (no answer, a
//! time-out, a 5xx, something that can't be read): unknown never leads to a destructive step, and is never a person's
//! mistake.

use kube::core::Status;
use threeport_model::explain;

/// What an API server says of a path that it doesn't know: in words, where of an object it says a Status.
const NO_PATH: &str = "404 page not found";

/// What an API server says of a precondition that names another object: as it is stored, and as it was cached.
const REPLACED: [&str; 3] = [
    "in precondition: ",
    "Precondition failed: UID",
    "the UID in the precondition",
];

/// How an API server's 500 begins where it is the object that is wrong: a value of another type than the field's, as a number
/// in a ConfigMap's data. Server-side apply finds that before the decoder that would answer 400.
const MISTYPED: &str = "failed to create typed patch object";

/// What an API server says, with 500, where a webhook that must agree could not be asked. Nothing was stored then.
const WEBHOOK: &str = "failed calling webhook";

/// What an API server says, with 403, of a custom resource whose definition is on its way out.
const DEFINITION_TERMINATING: &str = "custom resource definition is terminating";

/// A field that another manager owns, as an apply that was not forced was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldConflict {
    /// The field manager.
    pub manager: String,
    /// As in `.spec.replicas`.
    pub field: String,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No answer, or none that says anything. What was asked for may have been done.
    #[error("the cluster gives no answer that can be used: {0}")]
    Unreachable(String),
    /// The account may not do that (or nobody knows the account).
    #[error("{verb} of {resource} is forbidden: {message}")]
    Forbidden {
        /// As in RBAC: `patch`.
        verb: String,
        /// As in RBAC: `deployments.apps`.
        resource: String,
        /// What the cluster said.
        message: String,
    },
    /// There is no such object.
    #[error("not found: {0}")]
    NotFound(String),
    /// The cluster serves no such kind in that version, which says nothing of the object: it may be served in another one.
    #[error("not served: {0}")]
    NotServed(String),
    /// The object exists though it should not, or changed meanwhile.
    #[error("conflict: {0}")]
    Conflict(String),
    /// Other managers own fields that the apply names.
    #[error("other managers own its fields")]
    FieldsOwned(Vec<FieldConflict>),
    /// There is an object of that name, but another one than was meant.
    #[error("the object was replaced by another one of the same name")]
    Replaced,
    /// The object that was meant is not there.
    #[error("the object is gone")]
    Gone,
    /// The namespace, or the kind's definition, is on its way out and takes nothing new.
    #[error("what it belongs to is being deleted: {0}")]
    Terminating(String),
    /// A webhook of the cluster that must agree does not answer. Nothing was done.
    #[error("a webhook that must agree could not be asked: {0}")]
    WebhookUnavailable(String),
    /// A field can't be changed.
    #[error("{field} can't be changed: {message}")]
    Immutable {
        /// As in `spec.selector`.
        field: String,
        /// What the cluster said.
        message: String,
    },
    /// The cluster takes it for wrong.
    #[error("{0}")]
    Invalid(String),
}

impl TargetError {
    /// Whether nothing is known about what was asked.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// Reads an error of the client. `verb` and `resource` are for messages.
    pub(super) fn of_client(error: kube::Error, verb: &str, resource: &str) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(&status, verb, resource),
            other => Self::Unreachable(explain(&other)),
        }
    }

    /// Reads an answer that is not 2xx.
    pub(super) fn of_status(status: &Status, verb: &str, resource: &str) -> Self {
        let message = status.message.clone();
        match status.code {
            401 | 403 => forbidden(status, verb, resource),
            404 if message.starts_with(NO_PATH) => Self::NotServed(message),
            404 => Self::NotFound(message),
            409 => conflict(status),
            400 | 405 | 406 | 413 | 415 | 422 => invalid(status),
            500 if message.starts_with(MISTYPED) => Self::Invalid(message),
            500 if message.contains(WEBHOOK) => Self::WebhookUnavailable(message),
            code => Self::Unreachable(format!("{code} {message}")),
        }
    }
}

fn forbidden(status: &Status, verb: &str, resource: &str) -> TargetError {
    let namespace = causes(status).any(|(reason, _, _)| reason == "NamespaceTerminating");
    if namespace || status.message.contains(DEFINITION_TERMINATING) {
        return TargetError::Terminating(status.message.clone());
    }
    TargetError::Forbidden {
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        message: status.message.clone(),
    }
}

fn conflict(status: &Status) -> TargetError {
    let owned: Vec<_> = causes(status)
        .filter(|(reason, _, _)| *reason == "FieldManagerConflict")
        .map(|(_, message, field)| FieldConflict {
            manager: manager(message),
            field: field.to_owned(),
        })
        .collect();
    if !owned.is_empty() {
        return TargetError::FieldsOwned(owned);
    }
    if status.message.contains("uid mismatch") {
        return TargetError::Gone;
    }
    if REPLACED.iter().any(|words| status.message.contains(words)) {
        return TargetError::Replaced;
    }
    TargetError::Conflict(status.message.clone())
}

fn invalid(status: &Status) -> TargetError {
    let uid = causes(status).any(|(_, _, field)| field == "metadata.uid");
    if uid {
        return TargetError::Replaced;
    }
    let immutable = causes(status).find(|(_, message, _)| is_immutable(message));
    if let Some((_, message, field)) = immutable {
        return TargetError::Immutable {
            field: field.to_owned(),
            message: message.to_owned(),
        };
    }
    TargetError::Invalid(status.message.clone())
}

/// The words of the API server's validators (apimachinery's, apps', core's, batch's) for a change that is not possible.
fn is_immutable(message: &str) -> bool {
    [
        "is immutable",
        "may not be changed",
        "may not change fields",
        "may not change once set",
        "updates to ",
        "cannot change",
    ]
    .iter()
    .any(|words| message.contains(words))
}

fn manager(message: &str) -> String {
    message.split('"').nth(1).unwrap_or("unknown").to_owned()
}

fn causes(status: &Status) -> impl Iterator<Item = (&str, &str, &str)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.map(|cause| {
        (
            cause.reason.as_str(),
            cause.message.as_str(),
            cause.field.as_str(),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(code: u16, message: &str, causes: &serde_json::Value) -> TargetError {
        let status = json!({"code": code, "message": message, "details": {"causes": causes}});
        TargetError::of_status(
            &serde_json::from_value(status).unwrap(),
            "patch",
            "deployments.apps",
        )
    }

    #[test]
    fn unknown_is_told_from_refused() {
        // 410: where a list was to go on is not kept any more.
        for code in [0, 408, 410, 429, 500, 502, 503, 504] {
            assert!(read(code, "", &json!([])).is_unknown(), "{code}");
        }
        for code in [400, 401, 403, 404, 409, 413, 422] {
            assert!(!read(code, "", &json!([])).is_unknown(), "{code}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_the_object_s_fault_whatever_the_code() {
        let said = "failed to create typed patch object (web/a; /v1, Kind=ConfigMap): .data.level: expected string, got 1";
        assert!(matches!(read(500, said, &json!([])), TargetError::Invalid(_)));
        let elsewhere = "Internal error occurred: etcdserver: request timed out";
        assert!(read(500, elsewhere, &json!([])).is_unknown());
    }

    #[test]
    fn a_webhook_that_is_down_is_no_cluster_that_does_not_answer() {
        let said = "Internal error occurred: failed calling webhook \"validate.example.org\": no endpoints available";
        assert!(matches!(
            read(500, said, &json!([])),
            TargetError::WebhookUnavailable(_)
        ));
    }

    #[test]
    fn a_kind_that_is_not_served_is_told_from_an_object_that_is_not_there() {
        let said = |message: &str| read(404, message, &json!([]));
        assert!(matches!(said("404 page not found"), TargetError::NotServed(_)));
        let object = "deployments.apps \"web\" not found";
        assert!(matches!(said(object), TargetError::NotFound(_)));
    }

    #[test]
    fn forbidden_names_verb_and_resource() {
        let error = read(403, "no", &json!([])).to_string();
        assert!(
            error.contains("patch of deployments.apps is forbidden"),
            "{error}"
        );
    }

    #[test]
    fn a_terminating_namespace_or_definition_is_no_lack_of_rights() {
        let error = read(
            403,
            "x",
            &json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]),
        );
        assert!(matches!(error, TargetError::Terminating(_)));
        let definition = "create not allowed while custom resource definition is terminating";
        assert!(matches!(
            read(403, definition, &json!([])),
            TargetError::Terminating(_)
        ));
    }

    #[test]
    fn conflicts_are_told_apart() {
        let cause = json!([{"reason": "FieldManagerConflict", "message": "conflict with \"helm\" using apps/v1",
            "field": ".spec.replicas"}]);
        let owned = FieldConflict {
            manager: "helm".to_owned(),
            field: ".spec.replicas".to_owned(),
        };
        assert_eq!(
            read(409, "Apply failed with 1 conflict", &cause),
            TargetError::FieldsOwned(vec![owned])
        );
        let gone = "uid mismatch: the provided object specified uid 1, and no existing object was found";
        assert_eq!(read(409, gone, &json!([])), TargetError::Gone);
        for replaced in [
            "Precondition failed: UID in precondition: 1, UID in object meta: 2",
            "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (1) does not match the UID in \
             record (2). The object might have been deleted and then recreated",
        ] {
            assert_eq!(
                read(409, replaced, &json!([])),
                TargetError::Replaced,
                "{replaced}"
            );
        }
        let modified = "the object has been modified; please apply your changes to the latest version";
        assert!(matches!(
            read(409, modified, &json!([])),
            TargetError::Conflict(_)
        ));
    }

    #[test]
    fn what_can_t_be_changed_is_told_from_what_is_wrong() {
        let uid = json!([{"field": "metadata.uid", "message": "Invalid value: \"1\": field is immutable"}]);
        assert_eq!(read(422, "", &uid), TargetError::Replaced);
        let selector =
            json!([{"field": "spec.selector", "message": "Invalid value: {}: field is immutable"}]);
        assert!(
            matches!(read(422, "", &selector), TargetError::Immutable { field, .. } if field == "spec.selector")
        );
        let set = json!([{"field": "spec", "message": "Forbidden: updates to statefulset spec for fields other than"}]);
        assert!(matches!(read(422, "", &set), TargetError::Immutable { .. }));
        for said in [
            "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for \
             bound claims",
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`",
        ] {
            let cause = json!([{"field": "spec", "message": said}]);
            assert!(
                matches!(read(422, "", &cause), TargetError::Immutable { .. }),
                "{said}"
            );
        }
        let wrong = json!([{"field": "spec.ports[0].port", "message": "Required value"}]);
        assert!(matches!(read(422, "", &wrong), TargetError::Invalid(_)));
    }
}
