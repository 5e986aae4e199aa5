//! The calls.

use std::{sync::Arc, time::Duration};

use kube::{
    Client,
    api::{
        DeleteParams, GetParams, Patch, PatchParams, Preconditions, PropagationPolicy, ValidationDirective,
    },
    core::{Request, Status},
};
use serde_json::{Value, json};
use threeport_model::{explain, kinds::workload_definition::ResourceIdentity};
use tokio::time::timeout;

use super::{Resource, TargetError, autoscalers::Autoscalers, discovery::Discovery};

/// How long a call may take: less than a claim lasts.
pub(super) const TIMEOUT: Duration = Duration::from_secs(6);
/// No object has this one, so an apply that carries it creates or answers 409.
const CREATE_ONLY: &str = "1";

/// A cluster as one account. Cheap to clone.
#[derive(Clone)]
pub struct Target {
    client: Client,
    discovery: Arc<Discovery>,
    pub(super) autoscalers: Arc<Autoscalers>,
}

/// An object as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// Which.
    pub uid: &'a str,
    /// Its version; nothing where none is known.
    pub resource_version: Option<&'a str>,
}

/// What became of an object that was to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteAnswer {
    /// It is gone.
    Gone,
    /// It goes once these finalizers are off.
    Terminating(Vec<String>),
}

impl Target {
    pub(crate) fn new(client: Client, discovery: Arc<Discovery>) -> Self {
        Self {
            client,
            discovery,
            autoscalers: Arc::default(),
        }
    }

    /// The client itself, for reads that have a type.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What the cluster serves.
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Creates an object that must not be there.
    pub async fn create(
        &self,
        resource: &Resource,
        object: &Value,
        manager: &str,
    ) -> Result<Value, TargetError> {
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = json!(CREATE_ONLY);
        self.apply(resource, &object, manager, false).await
    }

    /// Changes the object as it was last seen, and no other: of another uid it answers Replaced, of another version
    /// Conflict.
    pub async fn update(
        &self,
        resource: &Resource,
        object: &Value,
        seen: Version<'_>,
        manager: &str,
        force: bool,
    ) -> Result<Value, TargetError> {
        let mut object = object.clone();
        object["metadata"]["uid"] = json!(seen.uid);
        if let Some(version) = seen.resource_version {
            object["metadata"]["resourceVersion"] = json!(version);
        }
        self.apply(resource, &object, manager, force).await
    }

    async fn apply(
        &self,
        resource: &Resource,
        object: &Value,
        manager: &str,
        force: bool,
    ) -> Result<Value, TargetError> {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
        let parameters = PatchParams {
            force,
            field_manager: Some(manager.to_owned()),
            // As kubectl does by default: a field that the cluster doesn't know is a mistake, not to be dropped silently.
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::default()
        };
        let request = Request::new(resource.path(text("namespace")));
        let request = request.patch(text("name"), &parameters, &Patch::Apply(object));
        self.call(request, "patch", resource).await
    }

    /// The object, or nothing where there is none.
    pub async fn get(
        &self,
        resource: &Resource,
        id: &ResourceIdentity,
    ) -> Result<Option<Value>, TargetError> {
        let request = Request::new(resource.path(&id.namespace)).get(&id.name, &GetParams::default());
        absent_is_none(self.call(request, "get", resource).await)
    }

    /// The object's metadata, or nothing where there is none.
    pub async fn get_metadata(
        &self,
        resource: &Resource,
        id: &ResourceIdentity,
    ) -> Result<Option<Value>, TargetError> {
        let request =
            Request::new(resource.path(&id.namespace)).get_metadata(&id.name, &GetParams::default());
        absent_is_none(self.call(request, "get", resource).await)
    }

    /// Deletes the object of that uid, and no other.
    pub async fn delete(
        &self,
        resource: &Resource,
        id: &ResourceIdentity,
        uid: &str,
        propagation: PropagationPolicy,
    ) -> Result<DeleteAnswer, TargetError> {
        let parameters = DeleteParams {
            propagation_policy: Some(propagation),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let request = Request::new(resource.path(&id.namespace)).delete(&id.name, &parameters);
        match self.call(request, "delete", resource).await {
            Ok(answer) => Ok(of_answer(&answer)),
            Err(TargetError::NotFound(_)) => Ok(DeleteAnswer::Gone),
            Err(error) => Err(error),
        }
    }

    /// Changes metadata by a merge patch of the object of that resourceVersion, and no other.
    pub async fn merge(
        &self,
        resource: &Resource,
        id: &ResourceIdentity,
        patch: &Value,
        manager: &str,
    ) -> Result<Value, TargetError> {
        let parameters = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        let request =
            Request::new(resource.path(&id.namespace)).patch(&id.name, &parameters, &Patch::Merge(patch));
        self.call(request, "patch", resource).await
    }

    pub(super) async fn call(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        verb: &str,
        resource: &Resource,
    ) -> Result<Value, TargetError> {
        let request = request.map_err(|error| TargetError::Invalid(explain(&error)))?;
        self.send(request, verb, &name_for_rbac(resource)).await
    }

    pub(super) async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        verb: &str,
        resource: &str,
    ) -> Result<Value, TargetError> {
        // Read as text: the client's own reading logs a body that it can't decode, and that may be a Secret.
        let text = timeout(TIMEOUT, self.client.request_text(request))
            .await
            .map_err(|_| TargetError::Unreachable(format!("no answer within {} s", TIMEOUT.as_secs())))?
            .map_err(|error| TargetError::of_client(error, verb, resource))?;
        let unreadable = |_| TargetError::Unreachable("the answer can't be decoded".to_owned());
        let value: Value = serde_json::from_str(&text).map_err(unreadable)?;
        match failure(&value) {
            Some(status) => Err(TargetError::of_status(&status, verb, resource)),
            None => Ok(value),
        }
    }
}

fn failure(value: &Value) -> Option<Status> {
    let failed = value["kind"] == "Status" && value["status"] == "Failure";
    failed
        .then(|| serde_json::from_value(value.clone()).ok())
        .flatten()
}

fn name_for_rbac(resource: &Resource) -> String {
    if resource.group.is_empty() {
        resource.plural.clone()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}

fn absent_is_none(result: Result<Value, TargetError>) -> Result<Option<Value>, TargetError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(TargetError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn of_answer(answer: &Value) -> DeleteAnswer {
    let finalizers = answer.pointer("/metadata/finalizers").and_then(Value::as_array);
    // A namespace's finalizer is in its spec. A Status, or an object without finalizers and grace period, is gone.
    let spec = answer
        .pointer("/spec/finalizers")
        .and_then(Value::as_array)
        .filter(|_| answer["kind"] == "Namespace");
    let finalizers: Vec<String> = [finalizers, spec]
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|finalizer| finalizer.as_str().map(str::to_owned))
        .collect();
    let graceful = answer
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0)
        > 0;
    if finalizers.is_empty() && !graceful {
        DeleteAnswer::Gone
    } else {
        DeleteAnswer::Terminating(finalizers)
    }
}
