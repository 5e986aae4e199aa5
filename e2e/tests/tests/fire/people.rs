//! What people do: who gets no answer asks again.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use threeport_client::{Client, Error, Propagation};
use threeport_e2e::plane::NAMESPACE;
use threeport_model::{Code, KindDescriptor, Object, find_kind};
use tokio::time::{Instant, sleep};

/// How long a person goes on asking an API that does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

fn kind_of(object: &Object) -> Result<&'static KindDescriptor> {
    find_kind(&object.kind).with_context(|| format!("no kind {}", object.kind))
}

/// Creates an object.
pub(crate) async fn create(api: &Client, object: &Object) -> Result<()> {
    let kind = kind_of(object)?;
    insist(Some(Code::AlreadyExists), || api.object_create(kind, object)).await
}

/// Replaces an object's specification.
pub(crate) async fn replace(api: &Client, object: &Object) -> Result<()> {
    let kind = kind_of(object)?;
    insist(None, || api.object_replace(kind, object, None)).await
}

/// Deletes an object; a definition can go once no instance refers to it.
pub(crate) async fn delete(api: &Client, object: &Object) -> Result<()> {
    let (kind, name) = (kind_of(object)?, &object.metadata.name);
    insist(Some(Code::NotFound), || {
        api.object_delete(kind, name, Propagation::Refuse)
    })
    .await
}

/// Asks until the API says yes, or what it says when it had said yes before and was not heard.
pub(crate) async fn insist<T, F>(done: Option<Code>, call: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<T, Error>>,
{
    let begun = Instant::now();
    loop {
        let error = match call().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if error.code().is_some() && error.code() == done {
            return Ok(());
        }
        let again = error.is_transient() || error.code() == Some(Code::Referenced);
        if !again || begun.elapsed() > PATIENCE {
            bail!(error);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// An object as a custom resource.
pub(crate) fn as_resource(object: &Object) -> Value {
    json!({
        "apiVersion": object.api_version, "kind": object.kind, "spec": object.spec,
        "metadata": {"name": object.metadata.name, "namespace": NAMESPACE},
    })
}
