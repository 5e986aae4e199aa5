//! How a way is played: what is there before, the act in which a part dies, what is done afterwards.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use threeport_client::{ApplyBody, Client};
use threeport_e2e::{
    audit,
    plane::{NAMESPACE, Part, Plane},
    wait_until,
};
use threeport_model::{
    KindDescriptor, Object,
    kinds::event::{EventType, NewEvent},
};

use super::{
    Scene, Way,
    objects::{config_map, definitions, instances},
    well::{TOLD, is_absent},
};
use crate::{
    check,
    people::{as_resource, create, delete, insist, replace},
    round::{CONVERGED, Doomed, Kill},
};

/// How long what comes before may take.
const DEADLINE: Duration = Duration::from_secs(30);

impl Scene {
    pub(super) async fn play(&self, plane: &mut Plane, kill: &Kill) -> Result<Duration> {
        let log = plane.audit_log();
        let offset = audit::end(&log)?;
        self.prepare(plane).await.context("before")?;
        let doomed = Doomed::arm(plane, std::slice::from_ref(kill)).await?;
        match self.way {
            Way::Record => plane.nats.stop()?,
            Way::Register => {
                plane.stop_part(Part::Agent)?;
                plane.start_part(Part::Agent, &[])?;
            }
            Way::Unreadable => self.break_row(plane)?,
            _ => {}
        }
        let (scene, api) = (self.clone(), plane.api.clone());
        let acting = tokio::spawn(async move { scene.act(&api).await });
        let restarted = doomed.all_died(plane).await?;
        acting.await?.context("somebody did not get through")?;
        match self.way {
            Way::Record => plane.nats.resume()?,
            Way::SlowJob => self.let_job_go()?,
            Way::Relay => {
                plane.start_part(Part::Controllers, &[])?;
                plane.wait_part(Part::Controllers)?;
            }
            _ => {}
        }
        wait_until(
            "all is well",
            CONVERGED.saturating_sub(restarted.elapsed()),
            || self.is_well(plane),
        )
        .await?;
        let took = restarted.elapsed();
        if self.way == Way::Unreadable {
            // Lists leave out what can't be read, and so would the inventory.
            self.mend_row(plane)?;
            self.wait_ready(plane, &self.name).await?;
        }
        check::inventory_is_what_is_there(plane).await?;
        // A mirror may come a moment after what it shows.
        wait_until(
            "each object is created as often as it must be",
            DEADLINE,
            || async {
                let created = check::each_was_created(&log, offset, &self.created_by_us());
                Ok(created.map_err(|error| error.to_string()))
            },
        )
        .await?;
        self.clean_up(plane).await.context("afterwards")?;
        Ok(took)
    }

    async fn prepare(&self, plane: &mut Plane) -> Result<()> {
        let api = &plane.api;
        match self.way {
            Way::Adopt => {
                // With the same value: one that differs is theirs, and stands.
                self.namespace()?;
                self.kubectl
                    .apply(&config_map("web", "one", &self.name).to_string())?;
                create(api, &self.definition("one")).await
            }
            Way::Orphan | Way::Unreadable => {
                create(api, &self.definition("one")).await?;
                let policy = if self.way == Way::Orphan {
                    "Orphan"
                } else {
                    "Delete"
                };
                create(api, &self.instance(json!({"deletionPolicy": policy}))).await?;
                self.wait_ready(plane, &self.name).await
            }
            Way::Guest => {
                create(api, &self.definition("one")).await?;
                create(api, &self.instance(json!({}))).await?;
                self.wait_ready(plane, &self.name).await?;
                self.kubectl
                    .apply(&config_map("guest", "theirs", &self.name).to_string())
            }
            Way::LastLodger => {
                create(api, &self.definition("one")).await?;
                create(api, &self.instance(json!({}))).await?;
                self.wait_ready(plane, &self.name).await?;
                create(api, &self.other_definition()).await?;
                create(api, &self.lodger()).await?;
                self.wait_ready(plane, &self.lodger().metadata.name).await?;
                delete(api, &self.instance(json!({}))).await?;
                self.wait_gone(plane, &self.instance(json!({}))).await
            }
            Way::Job | Way::SlowJob => {
                create(api, &self.job("one")).await?;
                create(api, &self.instance(json!({}))).await?;
                wait_until("the Job is there", DEADLINE, || self.is_job(plane, "one")).await?;
                if self.way == Way::SlowJob {
                    self.patch_job(r#"{"metadata":{"finalizers":["example.com/slow"]}}"#)?;
                }
                Ok(())
            }
            Way::TakeOver => {
                self.kubectl
                    .apply(&as_resource(&self.definition("one")).to_string())?;
                wait_until("it is in the database", DEADLINE, || async {
                    Ok(plane
                        .api
                        .object_get(definitions()?, &self.name)
                        .await
                        .map_err(|error| error.to_string()))
                })
                .await
                .map(drop)
            }
            Way::Again => {
                create(api, &self.job("one")).await?;
                create(api, &self.instance(json!({}))).await?;
                // It never ends, so that nothing is told before both are reported.
                wait_until("the Job is there", DEADLINE, || self.is_job(plane, "one")).await?;
                for _ in 0..2 {
                    self.report(api, instances()?).await?;
                }
                replace(api, &self.definition("one")).await?;
                wait_until("it is told", DEADLINE, || async { self.is_told() }).await
            }
            Way::Event | Way::Register => create(api, &self.definition("one")).await,
            Way::Relay => {
                create(api, &self.definition("one")).await?;
                plane.stop_part(Part::Controllers)
            }
            Way::Refused | Way::Apply | Way::Record => Ok(()),
        }
    }

    async fn act(&self, api: &Client) -> Result<()> {
        match self.way {
            Way::Adopt => {
                let spec = json!({"adopt": true, "namespace": self.name});
                create(api, &self.instance(spec)).await
            }
            Way::Orphan | Way::Guest => delete(api, &self.instance(json!({}))).await,
            Way::LastLodger => delete(api, &self.lodger()).await,
            Way::Job | Way::SlowJob => replace(api, &self.job("two")).await,
            // What is in progress is not told of: this is an end.
            Way::Again => replace(api, &self.instance(json!({"suspend": true}))).await,
            Way::Refused => {
                let twice = "apiVersion: v1\nkind: ConfigMap\nkind: ConfigMap\nmetadata: {name: a}\n";
                let refused = Object::new("WorkloadDefinition", &self.name, json!({"yamlDocument": twice}));
                self.kubectl.apply(&as_resource(&refused).to_string())
            }
            Way::Apply => {
                let both = [self.definition("one"), self.instance(json!({}))].map(|object| json!(object));
                insist(None, || api.apply(ApplyBody::Objects(both.to_vec()), false)).await
            }
            Way::TakeOver => {
                let kind = definitions()?;
                insist(None, || api.object_take_over(kind, &self.name)).await
            }
            Way::Event => self.report(api, definitions()?).await,
            Way::Relay | Way::Register => create(api, &self.instance(json!({}))).await,
            Way::Record | Way::Unreadable => Ok(()),
        }
    }

    async fn report(&self, api: &Client, kind: &KindDescriptor) -> Result<()> {
        let event = NewEvent {
            object_id: api.object_get(kind, &self.name).await?.id(),
            kind: EventType::Normal,
            reason: TOLD.to_owned(),
            message: "by a test".to_owned(),
        };
        insist(None, || api.events_report(std::slice::from_ref(&event))).await
    }

    async fn clean_up(&self, plane: &Plane) -> Result<()> {
        let api = &plane.api;
        if self.way == Way::Refused {
            let resource = format!("workloaddefinition/{}", self.name);
            return self
                .kubectl
                .run(&["delete", &resource, "--namespace", NAMESPACE])
                .map(drop);
        }
        for object in [
            self.lodger(),
            self.instance(json!({})),
            self.other_definition(),
            self.definition("one"),
        ] {
            delete(api, &object).await?;
        }
        self.wait_gone(plane, &self.definition("one")).await?;
        self.kubectl
            .run(&["delete", "namespace", &self.name, "--ignore-not-found"])
            .map(drop)
    }

    /// Ready, and mirrored: what is deleted before that has no mirror.
    async fn wait_ready(&self, plane: &Plane, name: &str) -> Result<()> {
        wait_until("it is ready", DEADLINE, || self.is_ready(plane, name)).await?;
        check::all_is_mirrored(plane).await
    }

    async fn wait_gone(&self, plane: &Plane, object: &Object) -> Result<()> {
        wait_until("it is gone", DEADLINE, || is_absent(plane, object)).await
    }
}
