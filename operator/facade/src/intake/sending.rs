//! Bringing a desired state to the API, and what its answer means on the resource.

use std::{collections::BTreeSet, time::Duration};

use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;
use threeport_client::Error as ApiError;
use threeport_failpoint::around;
use threeport_model::{
    Code, KindDescriptor, Object, Problem, identity, kinds::workload_definition, manifest,
    protocol::source::SourceRequest,
};

use super::{Outcome, finalizer, plan, refusal};
use crate::{
    context::Context,
    mirror::{project::Synced, write},
    queue::{Key, Next},
    reconcile::Error,
    resource, writes,
};

/// How long a refused desired state waits at most until it is tried again: others may have mended what was wrong.
const REFUSED: Duration = Duration::from_secs(120);
/// The same for a reference that is missing, or an object of before that is still going: what it waits for wakes it.
const WAITING: Duration = Duration::from_secs(60);

/// Sends it; nothing is left to say where the resource outlived its object and was removed. Fails only where the API
/// can't be asked.
pub(crate) async fn send(
    context: &Context,
    kind: &'static KindDescriptor,
    key: &Key,
    found: &DynamicObject,
    object: Option<&Object>,
    regressed: bool,
) -> Result<Option<Outcome>, Error> {
    let sent = SourceRequest {
        regressed,
        ..request(kind, found)
    };
    let put = context.options.api.source_put(resource::uid(found), &sent);
    match around(writes::SOURCE_PUT, put).await {
        Ok(applied) => Ok(Some(accepted(found, Some(applied.object)))),
        // The database is the truth: the object was deleted, and this is what is left of it.
        Err(ApiError::Refused(problem)) if problem.code == Code::Gone => {
            tracing::info!(%key, "its object was deleted: the custom resource goes too");
            let api = context.api(kind);
            write::delete(&api, found).await?;
            finalizer::remove_now(&api, &found.name_any(), resource::uid(found)).await?;
            Ok(None)
        }
        Err(ApiError::Refused(problem)) if !is_transient(&problem) => {
            if is_waiting(problem.code) {
                context.waiters.wait(key, &references(kind, found));
            }
            Ok(Some(refused(&problem, object)))
        }
        Err(error) => Err(Error::Api(error)),
    }
}

/// What there is to say where the API has it all already.
pub(crate) fn unchanged(found: &DynamicObject, object: Option<&Object>) -> Outcome {
    accepted(found, object.cloned())
}

fn request(kind: &KindDescriptor, found: &DynamicObject) -> SourceRequest {
    SourceRequest {
        kind: kind.kind.to_owned(),
        name: found.name_any(),
        generation: resource::generation(found),
        spec: resource::spec(found).clone(),
        labels: plan::labels(found),
        annotations: plan::annotations(found),
        regressed: false,
        on_behalf_of: resource::author(found),
    }
}

fn accepted(found: &DynamicObject, object: Option<Object>) -> Outcome {
    let mut synced = Synced::yes();
    if let Some(warning) = secret_warning(resource::spec(found)) {
        synced.message = format!("{}; {warning}", synced.message);
    }
    Outcome {
        synced,
        object,
        deletion_blocked: None,
        operation_id: None,
        next: Next::Done,
    }
}

fn refused(problem: &Problem, object: Option<&Object>) -> Outcome {
    let waiting = is_waiting(problem.code);
    // Its name is taken only until the object of before is gone.
    let going = problem.code == Code::Conflict && object.is_some_and(Object::is_deleting);
    let reason = if waiting {
        refusal::WAITING_FOR_REFERENCE.to_owned()
    } else {
        format!("{:?}", problem.code)
    };
    let mut synced = Synced::no(reason, message(problem));
    synced.stalled = !waiting && !going;
    Outcome {
        synced,
        object: object.cloned(),
        deletion_blocked: None,
        operation_id: Some(problem.operation_id.clone()).filter(|id| !id.is_empty()),
        next: Next::Retry(if waiting || going { WAITING } else { REFUSED }),
    }
}

/// What the API says, without the operation's id: that changes with each try and stands in `status.api`.
pub(crate) fn message(problem: &Problem) -> String {
    Problem {
        operation_id: String::new(),
        ..problem.clone()
    }
    .to_string()
}

/// A reference that is missing or going ends by itself.
fn is_waiting(code: Code) -> bool {
    matches!(code, Code::ReferenceNotFound | Code::ReferenceDeleting)
}

/// The API could not do its work, or not with us: that says nothing about the resource.
pub(crate) fn is_transient(problem: &Problem) -> bool {
    matches!(
        problem.code,
        Code::TooManyRequests | Code::Unavailable | Code::Internal | Code::Unauthenticated | Code::Forbidden
    )
}

/// What the resource refers to, as `Kind/name`.
fn references(kind: &KindDescriptor, found: &DynamicObject) -> BTreeSet<String> {
    let references = (kind.references)(resource::spec(found)).into_iter();
    references
        .map(|reference| format!("{}/{}", reference.kind, reference.name))
        .collect()
}

/// Values that somebody wrote into a custom resource stay in etcd as he wrote them.
fn secret_warning(spec: &Value) -> Option<String> {
    let spec: workload_definition::Spec = serde_json::from_value(spec.clone()).ok()?;
    let manifests = manifest::of_spec(&spec).ok()?;
    let secret = manifests.iter().find(|manifest| {
        let values = ["data", "stringData"]
            .into_iter()
            .filter_map(|field| manifest.object.get(field)?.as_object());
        let mut texts = values
            .flat_map(|values| values.values())
            .filter_map(Value::as_str);
        manifest.identity.kind == "Secret"
            && manifest.identity.group.is_empty()
            && texts.any(|text| !text.starts_with(identity::SECRET_PLACEHOLDER))
    })?;
    Some(format!(
        "warning: the values of Secret {:?} stay in this custom resource, readable for who may read it; apply the \
         definition with `tptctl apply -f` instead, then only the API has them, encrypted",
        secret.identity.name
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::{ConditionStatus, FieldError};

    use super::*;

    fn problem(code: Code) -> Problem {
        let mut error = FieldError::new("spec.yamlDocument", "duplicate key");
        error.line = Some(7);
        Problem {
            kind: String::new(),
            title: String::new(),
            status: 422,
            detail: "the document can't be read".to_owned(),
            code,
            errors: vec![error],
            next: String::new(),
            operation_id: "op".to_owned(),
            referrers: vec![],
        }
    }

    #[test]
    fn a_refusal_says_code_field_and_line() {
        let outcome = refused(&problem(Code::Invalid), None);
        assert_eq!(
            (outcome.synced.status, outcome.synced.reason.as_str()),
            (ConditionStatus::False, "Invalid")
        );
        for part in ["Invalid", "spec.yamlDocument", "line 7", "duplicate key"] {
            assert!(
                outcome.synced.message.contains(part),
                "{}",
                outcome.synced.message
            );
        }
        assert!(!outcome.synced.message.contains("op\n") && outcome.synced.stalled);
        assert_eq!(outcome.operation_id.as_deref(), Some("op"));
        assert_eq!(outcome.next, Next::Retry(REFUSED));
    }

    #[test]
    fn what_others_must_mend_is_stalled_too_and_what_ends_by_itself_is_not() {
        let mut going = Object::new("WorkloadInstance", "web", json!({}));
        assert!(refused(&problem(Code::OwnedBy), None).synced.stalled);
        assert!(refused(&problem(Code::Conflict), Some(&going)).synced.stalled);
        going.metadata.deletion_requested_at = Some(jiff::Timestamp::UNIX_EPOCH);
        let outcome = refused(&problem(Code::Conflict), Some(&going));
        assert_eq!(
            (outcome.synced.stalled, outcome.next),
            (false, Next::Retry(WAITING))
        );
    }

    #[test]
    fn a_missing_reference_is_waited_for() {
        let outcome = refused(&problem(Code::ReferenceNotFound), None);
        assert_eq!(
            (outcome.synced.reason.as_str(), outcome.synced.stalled),
            ("WaitingForReference", false)
        );
        assert_eq!(outcome.next, Next::Retry(WAITING));
    }

    #[test]
    fn secrets_in_a_resource_are_warned_about() {
        let secret = |value: &str| {
            json!({"manifests": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"},
            "stringData": {"a": value}}]})
        };
        assert!(secret_warning(&secret("hidden")).unwrap().contains("\"key\""));
        assert!(!secret_warning(&secret("hidden")).unwrap().contains("hidden"));
        assert_eq!(secret_warning(&secret("threeport.io/secret:00")), None);
        assert_eq!(secret_warning(&json!({"definition": "web"})), None);
    }
}
