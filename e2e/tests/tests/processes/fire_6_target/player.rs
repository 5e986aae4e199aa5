//! Plays a script.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use serde_json::json;
use threeport_client::{ApplyBody, Client, Propagation};
use threeport_e2e::wait_until;
use threeport_model::{Code, Condition, ConditionStatus, KindDescriptor, condition, find_kind};
use threeport_testbed::kubectl::Kubectl;
use tokio::time::{Instant, sleep_until};

use super::script::{Action, Application, SHARED, Step};

/// How long something that does not hang on the target may take.
const SOON: Duration = Duration::from_secs(60);

/// How long something may take that hangs on the target while that fails: a run's calls must go through one after the other,
/// and of some hundred applications one is unlucky for a minute.
const AT_LAST: Duration = Duration::from_secs(300);

/// When a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tempo {
    /// As soon as the one before has arrived, for which it may take so long: everything that the script asks for is done.
    Patient(Duration),
    /// At its time, whatever became of the one before.
    InTime,
}

/// Who does it: through the API, and as an administrator of the cluster for what others do there.
pub(super) struct Player {
    pub(super) api: Client,
    pub(super) kubectl: Kubectl,
}

impl Player {
    /// What is there before the script.
    pub(super) async fn begins(&self) -> Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHARED}});
        self.kubectl.apply(&namespace.to_string())?;
        wait_until("the API answers", SOON, || async {
            Ok(self
                .api
                .ready()
                .await
                .map(drop)
                .map_err(|error| error.to_string()))
        })
        .await
    }

    /// Plays the steps of each application one after the other.
    pub(super) async fn play(&self, steps: &[Step], tempo: Tempo) -> Result<()> {
        let begun = Instant::now();
        let mut by_application: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
        for step in steps {
            by_application
                .entry(&step.application.name)
                .or_default()
                .push(step);
        }
        let all = by_application.into_values().map(|steps| async move {
            for step in steps {
                if tempo == Tempo::InTime {
                    sleep_until(begun + step.at).await;
                }
                self.step(step).await.with_context(|| format!("{step:?}"))?;
                if let Tempo::Patient(limit) = tempo {
                    self.has_arrived(step, limit).await?;
                }
            }
            anyhow::Ok(())
        });
        try_join_all(all).await.map(drop)
    }

    /// Asks for it until it is accepted, as the API says itself that one should: what is tried is the target, not how fast
    /// this machine's database is.
    async fn step(&self, step: &Step) -> Result<()> {
        let application = &step.application;
        if step.action == Action::Delete && application.is_visited {
            self.visit(application).await?;
        }
        wait_until(&format!("{step:?} is accepted"), SOON, || async {
            match step.action {
                Action::Apply(revision) => {
                    let objects = ApplyBody::Objects(application.objects(revision));
                    self.api.apply(objects, false).await?;
                }
                Action::Delete => {
                    let name = &application.name;
                    let asked = self.api.object_delete(definitions()?, name, Propagation::Cascade);
                    match asked.await {
                        Err(error) if error.code() == Some(Code::NotFound) => {}
                        asked => asked.map(drop)?,
                    }
                }
            }
            Ok(Ok(()))
        })
        .await
    }

    /// Somebody puts something into what the application made, as soon as that is there.
    async fn visit(&self, application: &Application) -> Result<()> {
        let visitor = application.visitor().to_string();
        let visited = || async { Ok(self.kubectl.apply(&visitor).map_err(|error| format!("{error:#}"))) };
        wait_until(&format!("{} is visited", application.name), AT_LAST, visited).await
    }

    /// Whether what the last step of each application asked for has arrived.
    pub(super) async fn ends(&self, steps: &[Step], limit: Duration) -> Result<()> {
        let mut last = BTreeMap::new();
        for step in steps {
            last.insert(step.application.name.as_str(), step);
        }
        let all = last.into_values().map(|step| self.has_arrived(step, limit));
        try_join_all(all).await.map(drop)
    }

    /// One that the script leaves.
    pub(super) fn living<'a>(&self, steps: &'a [Step]) -> Option<&'a Application> {
        let deleted: BTreeSet<_> = steps
            .iter()
            .filter(|step| step.action == Action::Delete)
            .map(|step| &step.application.name)
            .collect();
        let mut applications = steps.iter().map(|step| &step.application);
        applications.find(|application| !deleted.contains(&application.name))
    }

    async fn has_arrived(&self, step: &Step, limit: Duration) -> Result<()> {
        let name = &step.application.name;
        let what = format!("{name} after {:?} of {:?}", step.action, step.application.shape);
        wait_until(&what, limit, || async {
            let found = self.api.object_get(definitions()?, name).await;
            Ok(match (step.action, found) {
                (Action::Delete, Err(error)) if error.code() == Some(Code::NotFound) => Ok(()),
                (Action::Delete, Ok(object)) => Err(object.status.to_string()),
                (Action::Apply(_), Ok(object)) if is_ready(&object) => Ok(()),
                (Action::Apply(_), Ok(object)) => Err(object.status.to_string()),
                (_, Err(error)) => Err(error.to_string()),
            })
        })
        .await
    }
}

fn definitions() -> Result<&'static KindDescriptor> {
    find_kind("WorkloadDefinition").context("no such kind")
}

/// Ready says so of this very generation.
fn is_ready(object: &threeport_model::Object) -> bool {
    let conditions: Vec<Condition> =
        serde_json::from_value(object.status["conditions"].clone()).unwrap_or_default();
    condition::find(&conditions, condition::READY).is_some_and(|ready| {
        ready.status == ConditionStatus::True && ready.observed_generation == object.generation()
    })
}
