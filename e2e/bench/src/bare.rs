//! The limit: a bare loop that server-side-applies objects, 16 instances at once. It keeps no record, sees nothing,
//! decides nothing.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{driver::AT_ONCE, objects};

const MANAGER: &str = "bench-loop";

/// The loop. Its objects carry the id of a control plane that there is not, so that nobody looks at them.
pub(crate) struct Loop {
    client: Client,
    pub(crate) control_plane: Uuid,
}

impl Loop {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            control_plane: Uuid::new_v4(),
        }
    }

    /// The objects of instances, to be applied.
    pub(crate) fn objects(&self, names: &[String]) -> Vec<Vec<Value>> {
        names
            .iter()
            .map(|name| objects::rendered(self.control_plane, name))
            .collect()
    }

    /// Applies all objects of each instance, one after another.
    pub(crate) async fn apply(&self, instances: &[Vec<Value>]) -> Result<()> {
        stream::iter(instances)
            .map(|objects| async move {
                for object in objects {
                    self.apply_one(object).await?;
                }
                anyhow::Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn apply_one(&self, object: &Value) -> Result<()> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let types = TypeMeta {
            api_version: text("/apiVersion").to_owned(),
            kind: text("/kind").to_owned(),
        };
        let kind = GroupVersionKind::try_from(&types).context("an object without a kind")?;
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = match text("/metadata/namespace") {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        let name = text("/metadata/name");
        api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object))
            .await
            .with_context(|| format!("the loop failed to apply {} {name}", kind.kind))?;
        Ok(())
    }

    /// Deletes the namespaces, which takes all that is in them.
    pub(crate) async fn delete(&self, names: &[String]) -> Result<()> {
        let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client.clone());
        stream::iter(names)
            .map(|name| {
                let api = api.clone();
                async move {
                    let deleted = api.delete(name, &DeleteParams::background()).await;
                    deleted
                        .map(drop)
                        .with_context(|| format!("the loop failed to delete {name}"))
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}
