//! What a story makes in the cluster that all stories share: not there when it begins, and taken away when it ends,
//! whatever became of it. So one failure stays one.
//!
//! A story names what it makes ([`Scene::of`] and on) and is told in [`Scene::play`]. What it deletes itself, as part of
//! what it tells, is gone by then; the rest goes as a person would take it away. Kubernetes lets five seconds go by before
//! it looks at a namespace that is to go, so the next story begins meanwhile, unless the story made one itself or the next
//! one counts what others do ([`Scene::alone`]). A deletion must end: one that doesn't fails whichever story is alone
//! next, and at the end [`crate::what_stories_left`].

use std::{collections::BTreeSet, panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures::FutureExt;
use kube::{Resource, ResourceExt, api::ListParams};
use serde_json::Value;
use threeport_client::Propagation;
use threeport_e2e::{World, form, kubectl, wait_until};
use threeport_model::{Code, KindDescriptor, ManagedBy, find_kind, kinds};
use tokio::time::timeout;

use crate::{
    installation,
    steps::{self, custom_resource, custom_resources},
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
    is_alone: bool,
    makes_namespaces: bool,
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
        self.makes_namespaces = true;
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

    /// Nothing of an earlier story is on its way out meanwhile.
    pub(crate) fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// Tells the story.
    pub(crate) async fn play(self, story: impl AsyncFnOnce(&World) -> Result<()>) -> Result<()> {
        let world = World::connect().await?;
        if self.is_alone {
            nothing_is_on_its_way_out(&world).await?;
        }
        // What an earlier story of the same names left may be on its way out.
        wait_until("nothing of the story is there", form::choose(GONE), || async {
            self.is_empty(&world).await.map(Ok)
        })
        .await?;
        if self.changes_the_installation {
            installation::as_installed(&world.namespace).await?;
        }
        let limit = form::choose(LIMIT);
        let told = AssertUnwindSafe(timeout(limit, story(&world)))
            .catch_unwind()
            .await;
        // What failed is cleared up whole, so that it is not in the way of others.
        let is_told = matches!(told, Ok(Ok(Ok(()))));
        let cleared = self.clear(&world, is_told).await;
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
    async fn clear(&self, world: &World, is_told: bool) -> Result<()> {
        let mut wrong = Vec::new();
        if self.changes_the_installation {
            note(
                &mut wrong,
                installation::as_installed(&world.namespace)
                    .await
                    .context("the installation"),
            );
        }
        let waits = !is_told || self.makes_namespaces;
        note(&mut wrong, self.delete_objects(world, waits).await);
        for namespace in &self.releases {
            note(&mut wrong, installation::uninstall(namespace).await.map(drop));
        }
        if waits {
            note(&mut wrong, self.delete_namespaces().await);
        }
        ensure!(wrong.is_empty(), "what the story made was left: {wrong:?}");
        Ok(())
    }

    async fn delete_objects(&self, world: &World, waits: bool) -> Result<()> {
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
        if !waits {
            return Ok(());
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

/// Waits until no object of ours and no namespace is being deleted, and nothing but what the API has is mirrored.
pub(crate) async fn nothing_is_on_its_way_out(world: &World) -> Result<()> {
    wait_until("all deletions have ended", form::choose(GONE), || async {
        for kind in kinds::ALL {
            let (stored, _) = world.api.object_list_all(kind, None).await?;
            if let Some(object) = stored.iter().find(|object| object.is_deleting()) {
                return Ok(Err(format!("{} with {}", object.reference(), object.status)));
            }
            let stored: BTreeSet<_> = stored.into_iter().map(|object| object.metadata.name).collect();
            let listed = custom_resources(world, kind).list(&ListParams::default()).await?;
            let shown: BTreeSet<_> = listed.iter().map(ResourceExt::name_any).collect();
            if shown != stored
                || listed
                    .iter()
                    .any(|shown| shown.meta().deletion_timestamp.is_some())
            {
                return Ok(Err(format!(
                    "{} are stored, {shown:?} are shown: {stored:?}",
                    kind.plural
                )));
            }
        }
        let template = "-o=jsonpath={.items[?(@.status.phase==\"Terminating\")].metadata.name}";
        let namespaces = kubectl(&format!("get namespaces {template}"), None)
            .await?
            .success()?;
        Ok(match namespaces.stdout.trim() {
            "" => Ok(()),
            names => Err(names.to_owned()),
        })
    })
    .await
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
