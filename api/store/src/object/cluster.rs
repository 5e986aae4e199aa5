//! The cluster that the control plane runs in is one runtime, however it is called.
//!
//! Nobody would see what runs in a second one: the agent in the cluster is the first one's. What an instance has in the one
//! would be taken over by the other, and be Unknown from then on.

use serde_json::Value;
use threeport_model::{FieldError, Kind, ManagedBy, kinds::KubernetesRuntimeInstance};
use uuid::Uuid;

use super::change::Change;
use crate::{
    database::{sql::Sql, transaction::Transaction},
    error::{Error, Result},
};

/// Fails where people make a second runtime of that cluster. The control plane makes its own whatever there is.
pub(super) async fn check(transaction: &Transaction, origin: Uuid, changes: &[Change<'_>]) -> Result<()> {
    let is_made = |change: &&Change<'_>| {
        change.old.is_none()
            && change.managed_by != ManagedBy::System
            && change.draft.kind.kind == KubernetesRuntimeInstance::KIND
            && is_own(&change.draft.spec)
    };
    let Some(made) = changes.iter().find(is_made) else {
        return Ok(());
    };
    let mut query = Sql::new("SELECT name, spec FROM object WHERE origin = ");
    query
        .bind(origin)
        .push(" AND kind = ")
        .bind(KubernetesRuntimeInstance::KIND)
        .push(" AND name <> ")
        .bind(made.draft.name.clone())
        .push(" AND deleted_at IS NULL ORDER BY name");
    for row in transaction.all(query).await? {
        let spec: Value = row.json("spec")?;
        if is_own(&spec) {
            let name: String = row.get("name")?;
            let message = format!(
                "is the cluster of KubernetesRuntimeInstance/{name} already; name that one in spec.runtime"
            );
            return Err(Error::NotSupported {
                what: made.draft.reference(),
                errors: vec![FieldError::new("spec.connection.inCluster", message)],
            });
        }
    }
    Ok(())
}

fn is_own(spec: &Value) -> bool {
    !spec["connection"]["inCluster"].is_null()
}
