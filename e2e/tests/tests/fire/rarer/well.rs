//! What must hold after a way was gone, whoever died on it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use threeport_e2e::plane::{NAMESPACE, Plane, RELEASE};
use threeport_model::{Code, Object, find_kind, identity};

use super::{
    Scene, Way,
    objects::{definitions, instances},
};
use crate::check;

/// The reason of the event that is reported.
pub(super) const TOLD: &str = "Told";

impl Scene {
    /// Whether everything is as it was asked for; what is in the way, if not.
    pub(super) async fn is_well(&self, plane: &Plane) -> Result<std::result::Result<(), String>> {
        match self.way {
            Way::Adopt => {
                let ready = self.is_ready(plane, &self.name).await?;
                let map = self.get("configmap", "web", &self.name)?;
                Ok(ready.and_then(|()| expect(map["data"]["value"] == "one" && is_ours(&map), &map)))
            }
            Way::Orphan => {
                let map = self.get("configmap", "web", &self.name)?;
                let left = map["data"]["value"] == "one" && !is_ours(&map);
                Ok(self.is_gone(plane).await?.and_then(|()| expect(left, &map)))
            }
            Way::Guest => {
                let (namespace, guest) = (
                    self.namespace_object()?,
                    self.get("configmap", "guest", &self.name)?,
                );
                let left = !is_ours(&namespace) && guest["data"]["value"] == "theirs";
                Ok(self.is_gone(plane).await?.and_then(|()| expect(left, &namespace)))
            }
            Way::LastLodger => {
                let namespace = self.namespace_object()?;
                Ok(self
                    .is_gone(plane)
                    .await?
                    .and_then(|()| expect(namespace.is_null(), &namespace)))
            }
            Way::Job | Way::SlowJob => self.is_job(plane, "two").await,
            Way::Again => {
                let found = self.get("workloadinstance", &self.name, NAMESPACE)?;
                let ready = condition(&found["status"], "Ready");
                Ok(expect(ready["reason"] == "Suspended", &found))
            }
            Way::Refused => {
                let found = self.get("workloaddefinition", &self.name, NAMESPACE)?;
                let synced = condition(&found["status"], "Synced");
                Ok(expect(
                    synced["status"] == "False" && synced["reason"] == "Invalid",
                    &found,
                ))
            }
            Way::Apply | Way::Relay | Way::Register => self.is_ready(plane, &self.name).await,
            Way::TakeOver => {
                let found = self.get("workloaddefinition", &self.name, NAMESPACE)?;
                Ok(expect(
                    found["metadata"]["labels"][identity::MANAGED_BY] == "api",
                    &found,
                ))
            }
            // Who asks for it by name is told why, and not what its status is.
            Way::Unreadable => {
                let reason = self.reason_in_row(plane)?;
                Ok(if reason == "Unreadable" {
                    Ok(())
                } else {
                    Err(reason)
                })
            }
            Way::Event => {
                let events = plane.api.object_events(definitions()?, &self.name).await?;
                let told = events.iter().any(|event| event.reason == TOLD);
                Ok(if told { Ok(()) } else { Err(format!("{events:?}")) })
            }
            // NATS is back: also what was written while it was away must be taken back.
            Way::Record => {
                let kind = find_kind("ControlPlaneInstance").context("no such kind")?;
                let own = plane.api.object_get(kind, RELEASE).await?;
                let degraded = condition(&own.status, "Degraded");
                Ok(expect(degraded["status"] == "False", &own.status))
            }
        }
    }

    /// Whether the Job of a value is there, and known.
    pub(super) async fn is_job(&self, plane: &Plane, value: &str) -> Result<std::result::Result<(), String>> {
        let job = self.get("job", "job", &self.name)?;
        let known = check::inventory_is_what_is_there(plane).await.is_ok();
        let found = &job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"];
        Ok(expect(known && *found == value, &job))
    }

    pub(super) async fn is_ready(
        &self,
        plane: &Plane,
        name: &str,
    ) -> Result<std::result::Result<(), String>> {
        let object = plane.api.object_get(instances()?, name).await?;
        Ok(expect(
            condition(&object.status, "Ready")["status"] == "True",
            &object.status,
        ))
    }

    /// Whether Kubernetes was told of the event that was reported.
    pub(super) fn is_told(&self) -> Result<std::result::Result<(), String>> {
        let arguments = [
            "get",
            "events",
            "--namespace",
            NAMESPACE,
            "--field-selector",
            &format!("reason={TOLD}"),
            "--output=name",
        ];
        let found = self.kubectl.run(&arguments)?;
        let is_own = found
            .lines()
            .any(|name| name.starts_with(&format!("event/{}.", self.name)));
        Ok(if is_own { Ok(()) } else { Err(found) })
    }

    /// Whether both instances are gone.
    async fn is_gone(&self, plane: &Plane) -> Result<std::result::Result<(), String>> {
        for object in [self.instance(json!({})), self.lodger()] {
            if let Err(there) = is_absent(plane, &object).await? {
                return Ok(Err(there));
            }
        }
        Ok(Ok(()))
    }
}

/// Whether an object is gone from the database.
pub(super) async fn is_absent(plane: &Plane, object: &Object) -> Result<std::result::Result<(), String>> {
    let kind = find_kind(&object.kind).context("no such kind")?;
    Ok(match plane.api.object_get(kind, &object.metadata.name).await {
        Err(error) if error.code() == Some(Code::NotFound) => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(found) => Err(found.status.to_string()),
    })
}

fn expect(holds: bool, found: &Value) -> std::result::Result<(), String> {
    if holds { Ok(()) } else { Err(found.to_string()) }
}

fn is_ours(object: &Value) -> bool {
    object["metadata"]["labels"][identity::INSTANCE].is_string()
}

fn condition(status: &Value, kind: &str) -> Value {
    let all = status["conditions"].as_array().into_iter().flatten();
    all.into_iter()
        .find(|condition| condition["type"] == kind)
        .cloned()
        .unwrap_or_default()
}
