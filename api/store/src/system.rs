//! A control plane's own records: the runtime that it runs in, and itself.

use serde_json::json;
use threeport_model::{
    Kind, ManagedBy, Object, find_kind,
    kinds::{
        ControlPlaneDefinition, ControlPlaneInstance, KubernetesRuntimeDefinition, KubernetesRuntimeInstance,
        control_plane_instance::SELF_SLOT, kubernetes_runtime_instance::DEFAULT_SLOT,
    },
};

use crate::{
    Store,
    database::sql::{Fetch, Sql},
    error::{Error, Result},
    object::{change::Change, draft::Draft, read, write},
    request::Request,
    writes,
};

/// What a control plane knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfRecord {
    /// Its name.
    pub name: String,
    /// The namespace that it runs in.
    pub namespace: String,
    /// The ServiceAccount (`namespace/name`) that writes to the cluster it runs in are made as.
    pub service_account: Option<String>,
}

/// The runtime that the control plane runs in, and the definition of it.
const LOCAL: &str = "local";
/// The definition of the control plane itself.
const DEFAULT: &str = "default";
/// How often it is tried where replicas start at once.
const TRIES: u32 = 5;

/// What [`Store::system_ensure`] found or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// The name of the control plane's record: the one of its first start.
    pub name: String,
    /// `Kind/name` of what was made.
    pub created: Vec<String>,
}

impl Store {
    /// Makes sure that the control plane has its own record, and what that refers to. What is there stays as people left
    /// it; two replicas may do so at once.
    ///
    /// Where it can't be as [`SelfRecord`] says, it is logged, and never a reason not to start:
    /// - A control plane that was renamed keeps the record of its first start: names don't change.
    /// - With a record, nothing else is made: if `local` was deleted, people have moved the record elsewhere before.
    /// - If another runtime is the default one, `local` is made without being it.
    /// - If something of it is being deleted, the rest waits for the next start.
    pub async fn system_ensure(&self, record: &SelfRecord) -> Result<Ensured> {
        let mut tried = 0;
        loop {
            let mut request = Request::new(self.random().uuid(), "system:threeport-api", "start");
            request.writer = ManagedBy::System;
            let ensured = self.ensure_once(&request, record).await;
            tried += 1;
            match ensured {
                // Another replica was faster.
                Err(Error::AlreadyExists { .. } | Error::SlotTaken { .. }) if tried < TRIES => {}
                Err(Error::ReferenceDeleting { what, errors }) => {
                    tracing::warn!(%what, ?errors, "the control plane's own record is made at the next start: what it refers to is being deleted");
                    let name = record.name.clone();
                    let created = Vec::new();
                    return Ok(Ensured { name, created });
                }
                ensured => return ensured,
            }
        }
    }

    async fn ensure_once(&self, request: &Request, record: &SelfRecord) -> Result<Ensured> {
        if let Some(name) = self.slot_holder(SELF_SLOT).await? {
            if name != record.name {
                tracing::warn!(
                    recorded = %name, configured = %record.name,
                    "the control plane was renamed; its record keeps the name of its first start"
                );
            }
            let created = Vec::new();
            return Ok(Ensured { name, created });
        }
        let default = self.slot_holder(DEFAULT_SLOT).await?;
        if let Some(holder) = default.as_ref().filter(|holder| *holder != LOCAL) {
            tracing::info!(%holder, "another runtime is the default one; local is not made the default");
        }
        let drafts: Vec<Draft> = records(record, default.is_none())
            .into_iter()
            .map(|object| Draft::new(normal(object)?, self.encryption_key(), self.random()))
            .collect::<Result<_>>()?;
        let written = self
            .operate(writes::SYSTEM_ENSURE, request, drafts, |transaction, job| {
                Box::pin(async move {
                    let origin = job.store.control_plane_id();
                    let mut changes = Vec::with_capacity(job.input.len());
                    for draft in &job.input {
                        let found = read::find(transaction, origin, draft.kind.kind, &draft.name).await?;
                        if found.is_none() {
                            changes.push(Change::create(draft, ManagedBy::System, None)?);
                        }
                    }
                    write::write(transaction, &job.context(), changes).await
                })
            })
            .await?;
        Ok(Ensured {
            name: record.name.clone(),
            created: written
                .results
                .iter()
                .map(|applied| applied.object.reference())
                .collect(),
        })
    }

    /// The name of the living object that holds a slot. What follows from it is held by the slot's index, not by this.
    async fn slot_holder(&self, slot: &str) -> Result<Option<String>> {
        let query =
            Sql::new("SELECT name FROM object WHERE origin = $1 AND slot = $2 AND deleted_at IS NULL")
                .values([self.control_plane_id().into(), slot.into()]);
        let row = self.reader().one(query).await?;
        row.map(|row| row.get("name")).transpose()
    }
}

fn records(record: &SelfRecord, is_default: bool) -> Vec<Object> {
    let mut runtime =
        json!({"definition": LOCAL, "defaultRuntime": is_default, "connection": {"inCluster": {}}});
    if let Some(account) = &record.service_account {
        runtime["serviceAccount"] = json!(account);
    }
    let instance = json!({"definition": DEFAULT, "runtime": LOCAL, "namespace": record.namespace});
    vec![
        Object::new(KubernetesRuntimeDefinition::KIND, LOCAL, json!({})),
        Object::new(KubernetesRuntimeInstance::KIND, LOCAL, runtime),
        Object::new(ControlPlaneDefinition::KIND, DEFAULT, json!({})),
        Object::new(ControlPlaneInstance::KIND, &record.name, instance),
    ]
}

fn normal(object: Object) -> Result<Object> {
    let kind = find_kind(&object.kind).ok_or_else(|| Error::NotFound {
        what: format!("kind {}", object.kind),
    })?;
    let invalid = |errors| Error::Invalid {
        what: object.reference(),
        errors,
    };
    let spec = (kind.normalize)(&object.spec).map_err(invalid)?;
    Ok(Object { spec, ..object })
}

/// The slot of a control plane's own record.
pub(crate) fn slot(kind: &str, managed_by: ManagedBy) -> Option<String> {
    (kind == ControlPlaneInstance::KIND && managed_by == ManagedBy::System).then(|| SELF_SLOT.to_owned())
}
