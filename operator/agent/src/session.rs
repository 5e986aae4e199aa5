//! An epoch: registers, says every two seconds that the agent is there, and keeps the watches that the API asks for.
//!
//! When the API answers that the epoch is over (there is another agent of the same runtime, or the database was set back
//! and does not remember the last that it was told), everything that was seen is forgotten and seen anew under the next
//! one. Two agents at once would take turns at that, so each waits longer every time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::Client;
use threeport_client::Error;
use threeport_failpoint::around;
use threeport_model::{
    explain, identity,
    protocol::agent::{
        HEARTBEAT_SECONDS, HeartbeatRequest, HeartbeatResponse, RegisterRequest, RegisterResponse,
        WatchedKind, Watches,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use crate::{
    control_plane::{ControlPlane, epoch_is_over},
    heard::Heard,
    metrics::Metrics,
    report::{End, Reporter},
    watch::Watcher,
    world::Event,
    writes,
};

/// Events between the watches and the reporter.
const EVENTS: usize = 1024;
/// Between registrations; the first, doubled up to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// An epoch that lasted so long was no quarrel.
const SETTLED: Duration = Duration::from_secs(60);
/// The longest that a heartbeat may take.
const ANSWER: Duration = Duration::from_secs(5);

/// An agent of one runtime.
pub struct Agent {
    /// The API.
    pub api: Arc<dyn ControlPlane>,
    /// The cluster.
    pub client: Client,
    /// Name of the KubernetesRuntimeInstance; the one that the control plane runs in where absent.
    pub runtime: Option<String>,
    /// The agent's version.
    pub version: String,
    /// What is counted.
    pub metrics: Metrics,
}

impl Agent {
    /// Runs, epoch after epoch, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut delay = RETRY.0;
        while !shutdown.is_cancelled() {
            let begun = Instant::now();
            match self.register(&shutdown).await {
                Ok(registration) => {
                    tracing::info!(epoch = registration.epoch, runtime = %registration.runtime_id, "registered");
                    self.metrics.heard();
                    self.metrics.epoch.set(registration.epoch);
                    if self.epoch(registration, &shutdown).await == End::Shutdown {
                        return;
                    }
                    tracing::warn!("there is a newer epoch; registering anew");
                }
                Err(error) => tracing::warn!(error = explain(&error), "failed to register"),
            }
            if begun.elapsed() > SETTLED {
                delay = RETRY.0;
            }
            tokio::select! { () = shutdown.cancelled() => return, () = tokio::time::sleep(delay) => {} }
            delay = (delay * 2).min(RETRY.1);
        }
    }

    async fn register(&self, shutdown: &CancellationToken) -> Result<RegisterResponse, Error> {
        let request = RegisterRequest {
            runtime: self.runtime.clone(),
            version: self.version.clone(),
        };
        let mut delay = RETRY.0;
        loop {
            match around(writes::REGISTER, self.api.register(&request)).await {
                Err(error) if error.is_transient() && !shutdown.is_cancelled() => {
                    tracing::warn!(error = explain(&error), "failed to register; trying again");
                }
                answer => return answer,
            }
            tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(delay) => {} }
            // Whoever waits for an agent should not wait for its backoff as well.
            delay = (delay * 2).min(Duration::from_secs(2));
        }
    }

    async fn epoch(&self, registration: RegisterResponse, shutdown: &CancellationToken) -> End {
        let (sender, events) = mpsc::channel(EVENTS);
        let control_plane = registration.control_plane_id;
        let watcher = Watcher {
            client: self.client.clone(),
            manager: identity::field_manager(control_plane).into(),
            selector: format!("{}={control_plane}", identity::CONTROL_PLANE).into(),
            events: sender,
        };
        let heard = Arc::new(Heard::default());
        let reporter = Reporter {
            api: Arc::clone(&self.api),
            runtime: registration.runtime_id,
            epoch: registration.epoch,
            heard: Arc::clone(&heard),
            metrics: self.metrics.clone(),
        };
        // Dropped with the epoch, which ends their tasks.
        let _pods = AbortOnDropHandle::new(tokio::spawn(watcher.clone().pods()));
        let _replica_sets = AbortOnDropHandle::new(tokio::spawn(watcher.clone().replica_sets()));
        let mut kinds = Kinds {
            watcher,
            running: HashMap::new(),
            revision: String::new(),
        };
        kinds.set(registration.watches).await;
        let reporting = reporter.run(events, shutdown.clone());
        tokio::select! {
            end = reporting => end,
            () = self.heartbeats(registration.runtime_id, registration.epoch, &heard, &mut kinds) => End::Superseded,
        }
    }

    /// Returns when the epoch is over.
    async fn heartbeats(&self, runtime: Uuid, epoch: i64, heard: &Heard, kinds: &mut Kinds) {
        let mut ticks = interval(Duration::from_secs(HEARTBEAT_SECONDS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.metrics
                .kinds
                .set(i64::try_from(kinds.running.len()).unwrap_or(i64::MAX));
            let seen = heard.last();
            let request = HeartbeatRequest { epoch, seen };
            let answer = timeout(ANSWER, self.heartbeat(runtime, &request, kinds)).await;
            Metrics::count(&self.metrics.heartbeats, matches!(answer, Ok(Ok(_))));
            match answer {
                Ok(Ok(answer)) => {
                    self.metrics.heard();
                    heard.answered(seen, answer.seen);
                }
                Ok(Err(error)) if epoch_is_over(&error) => return,
                Ok(Err(error)) => tracing::warn!(error = explain(&error), "failed to send a heartbeat"),
                Err(_) => tracing::warn!("the API did not answer a heartbeat in time"),
            }
        }
    }

    async fn heartbeat(
        &self,
        runtime: Uuid,
        request: &HeartbeatRequest,
        kinds: &mut Kinds,
    ) -> Result<HeartbeatResponse, Error> {
        let answer = around(writes::HEARTBEAT, self.api.heartbeat(runtime, request)).await?;
        if answer.watches_revision != kinds.revision {
            let watches = self.api.watches(runtime).await?;
            kinds.set(watches).await;
        }
        Ok(answer)
    }
}

/// The watches that run.
struct Kinds {
    watcher: Watcher,
    running: HashMap<Arc<WatchedKind>, AbortOnDropHandle<()>>,
    revision: String,
}

impl Kinds {
    /// Starts what is new and ends what is no longer wanted.
    async fn set(&mut self, watches: Watches) {
        let gone: Vec<_> = self
            .running
            .keys()
            .filter(|kind| !watches.kinds.contains(kind))
            .cloned()
            .collect();
        for kind in gone {
            self.running.remove(&kind);
            let _ = self.watcher.events.send(ended(kind, &watches.kinds)).await;
        }
        for kind in watches.kinds {
            if self.running.contains_key(&kind) {
                continue;
            }
            tracing::info!(
                kind = kind.kind,
                group = kind.group,
                version = kind.version,
                "watching"
            );
            let kind = Arc::new(kind);
            let task = tokio::spawn(self.watcher.clone().kind(Arc::clone(&kind)));
            self.running.insert(kind, AbortOnDropHandle::new(task));
        }
        self.revision = watches.revision;
    }
}

/// What it means that a kind is watched no longer, or in another version.
fn ended(old: Arc<WatchedKind>, wanted: &[WatchedKind]) -> Event {
    let other = wanted
        .iter()
        .find(|other| other.group == old.group && other.kind == old.kind);
    match other {
        Some(other) => Event::Reversioned {
            old,
            new: Arc::new(other.clone()),
        },
        None => Event::Unwatched(old),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, version: &str, kind: &str) -> WatchedKind {
        WatchedKind {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    #[test]
    fn a_kind_that_is_watched_in_another_version_is_not_forgotten() {
        let old = Arc::new(kind("autoscaling", "v1", "HorizontalPodAutoscaler"));
        let others = [
            kind("", "v1", "ConfigMap"),
            kind("example.org", "v2", "HorizontalPodAutoscaler"),
            kind("autoscaling", "v2", "Other"),
        ];
        assert!(matches!(ended(Arc::clone(&old), &others), Event::Unwatched(kind) if kind == old));
        let wanted = [
            kind("", "v1", "ConfigMap"),
            kind("autoscaling", "v2", "HorizontalPodAutoscaler"),
        ];
        let event = ended(Arc::clone(&old), &wanted);
        assert!(
            matches!(&event, Event::Reversioned { old: from, new } if *from == old && **new == wanted[1]),
            "{event:?}"
        );
    }
}
