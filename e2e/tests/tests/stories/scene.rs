//! What a story makes in the cluster that all stories share: not there when it begins, and taken away when it ends,
//! whatever became of it. So one failure stays one.
//!
//! A story names what it makes ([`Scene::of`] and on) and is told in [`Scene::play`]. What it deletes itself, as part of
//! what it tells, is gone by then; the rest goes as a person would take it away, and what the control plane does not
//! give up in time goes by force. That is a failure of its own: a deletion must end.

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures::FutureExt;
use serde_json::Value;
use threeport_client::Propagation;
use threeport_e2e::{World, form, kubectl, wait_until};
use threeport_model::{Code, KindDescriptor, ManagedBy, find_kind};
use tokio::time::timeout;

use crate::{
    installation,
    steps::{self, custom_resource},
};

/// A story that takes longer hangs: short form, long form. Shorter than what nextest gives it, so that what it made can
/// still be taken away.
const LIMIT: [Duration; 2] = [Duration::from_secs(400), Duration::from_secs(1800)];
const GONE: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];

/// What a story makes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    objects: Vec<Value>,
    namespaces: Vec<String>,
    releases: Vec<&'static str>,
    changes_the_installation: bool,
}

impl Scene {
    /// Threeport's objects, by any way, and the namespaces that its instances get.
    pub(crate) fn of(objects: &[Value]) -> Self {
        Self::default().and(objects)
    }

    /// More of Threeport's objects.
    pub(crate) fn and(mut self, objects: &[Value]) -> Self {
        let instances = objects
            .iter()
            .filter(|object| object["kind"] == "WorkloadInstance");
        for instance in instances {
            let named = instance["spec"]["namespace"].as_str();
            let namespace = named.or_else(|| instance["metadata"]["name"].as_str());
            self.namespaces.extend(namespace.map(str::to_owned));
        }
        self.objects.extend_from_slice(objects);
        self
    }

    /// A namespace that the story makes itself.
    pub(crate) fn and_namespace(mut self, name: &str) -> Self {
        self.namespaces.push(name.to_owned());
        self
    }

    /// A control plane in a namespace of its own.
    pub(crate) fn and_control_plane(mut self, namespace: &'static str) -> Self {
        self.releases.push(namespace);
        self.and_namespace(namespace)
    }

    /// Values of the chart, replicas of its parts.
    pub(crate) fn and_changes_of_the_installation(mut self) -> Self {
        self.changes_the_installation = true;
        self
    }

    /// Tells the story.
    pub(crate) async fn play(self, story: impl AsyncFnOnce(&World) -> Result<()>) -> Result<()> {
        let world = World::connect().await?;
        self.is_empty(&world)
            .await
            .context("the story was not begun: something is there already")?;
        if self.changes_the_installation {
            installation::as_installed(&world.namespace).await?;
        }
        let limit = form::choose(LIMIT);
        let told = AssertUnwindSafe(timeout(limit, story(&world)))
            .catch_unwind()
            .await;
        let cleared = self.clear(&world).await;
        match told {
            Ok(Ok(Ok(()))) => cleared,
            Ok(Ok(Err(error))) => Err(with(error, cleared)),
            Ok(Err(_)) => {
                let error = anyhow::anyhow!("the story did not end within {} s", limit.as_secs());
                Err(with(error, cleared))
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    async fn is_empty(&self, world: &World) -> Result<()> {
        for (kind, name) in self.names()? {
            ensure!(
                !is_stored(world, kind, name).await?,
                "{}/{name} is in the database",
                kind.kind
            );
            let what = format!("{}/{name}", kind.singular);
            ensure!(
                custom_resource(world, &what).await?.is_none(),
                "{what} is in the cluster"
            );
        }
        let there = self.namespaces_that_are_there().await?;
        ensure!(there.is_empty(), "these namespaces are there: {there:?}");
        Ok(())
    }

    fn names(&self) -> Result<Vec<(&'static KindDescriptor, &str)>> {
        let names = self.objects.iter().map(|object| {
            let kind = object["kind"].as_str().and_then(find_kind);
            let name = object["metadata"]["name"].as_str();
            kind.zip(name)
                .with_context(|| format!("{object} is no object of Threeport"))
        });
        names.collect()
    }

    async fn namespaces_that_are_there(&self) -> Result<Vec<String>> {
        let printed = kubectl("get namespaces -o name", None).await?.success()?.stdout;
        let named = printed.lines().filter_map(|line| line.strip_prefix("namespace/"));
        let mine = |name: &&str| self.namespaces.iter().any(|namespace| namespace == name);
        Ok(named.filter(mine).map(str::to_owned).collect())
    }

    /// Takes away what is left, all of it even where some of it does not go.
    async fn clear(&self, world: &World) -> Result<()> {
        let mut wrong = Vec::new();
        if self.changes_the_installation {
            note(
                &mut wrong,
                installation::as_installed(&world.namespace)
                    .await
                    .context("the installation"),
            );
        }
        note(&mut wrong, self.delete_objects(world).await);
        for namespace in &self.releases {
            note(&mut wrong, installation::uninstall(namespace).await);
        }
        note(&mut wrong, self.delete_namespaces().await);
        ensure!(wrong.is_empty(), "what the story made was left: {wrong:?}");
        Ok(())
    }

    async fn delete_objects(&self, world: &World) -> Result<()> {
        let names = self.names()?;
        let mut left = Vec::new();
        for (object, (kind, name)) in self.objects.iter().zip(names) {
            match world.api.object_get(kind, name).await {
                Ok(stored) if stored.metadata.managed_by != Some(ManagedBy::Kubernetes) => {
                    // Its definition's deletion may have taken it along.
                    let _ = world.api.object_delete(kind, name, Propagation::Cascade).await;
                    left.push((kind, name));
                }
                Ok(_) => {
                    steps::delete_later(world, object).await?;
                    left.push((kind, name));
                }
                Err(error) if matches!(error.code(), Some(Code::NotFound | Code::Invalid)) => {
                    // One that the API refused is in the cluster alone.
                    steps::delete_later(world, object).await?;
                }
                Err(error) => bail!("{}/{name}: {error}", kind.kind),
            }
        }
        wait_until("the story's objects are gone", form::choose(GONE), || async {
            for (kind, name) in &left {
                let what = format!("{}/{name}", kind.singular);
                if is_stored(world, kind, name).await? || custom_resource(world, &what).await?.is_some() {
                    return Ok(Err(what));
                }
            }
            Ok(Ok(()))
        })
        .await
    }

    async fn delete_namespaces(&self) -> Result<()> {
        let left = self.namespaces_that_are_there().await?;
        if left.is_empty() {
            return Ok(());
        }
        let left = left.join(" ");
        let timeout = form::choose(GONE).as_secs();
        kubectl(
            &format!("delete namespace {left} --ignore-not-found --timeout={timeout}s"),
            None,
        )
        .await?
        .success()
        .map(drop)
    }
}

async fn is_stored(world: &World, kind: &KindDescriptor, name: &str) -> Result<bool> {
    match world.api.object_get(kind, name).await {
        Ok(_) => Ok(true),
        // A name that the API can't have is the name of none.
        Err(error) if matches!(error.code(), Some(Code::NotFound | Code::Invalid)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn note(wrong: &mut Vec<String>, result: Result<()>) {
    wrong.extend(result.err().map(|error| format!("{error:#}")));
}

fn with(error: anyhow::Error, cleared: Result<()>) -> anyhow::Error {
    match cleared {
        Ok(()) => error,
        Err(left) => error.context(format!("{left:#}")),
    }
}
