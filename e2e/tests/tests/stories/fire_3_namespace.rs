//! A control plane's end is not its workloads' end: neither `kubectl delete namespace` nor `helm uninstall` under load
//! touches one, and neither is held up by what nobody would be left to do.
//!
//! That nothing was touched, the objects' uids say and the audit log; of what the load edits the uids alone, since that is
//! to be written. Before, an object is deleted by hand: the same comparisons find that, and its healing.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use threeport_e2e::{
    Output, World, audit, form, kubectl,
    leftovers::{self, Identity},
    wait_until, workload,
};
use threeport_model::{GROUP, identity};

use crate::{
    installation::{install, uninstall},
    scene::Scene,
    steps::live,
};

/// How many resources kubectl manages, half definitions and half instances: short form, long form.
const RESOURCES: [usize; 2] = [40, 200];
/// The longest that the end may take.
const ENDS: Duration = Duration::from_secs(60);
/// The longest that it may take to make them, in seconds.
const MADE: [u64; 2] = [120, 300];
const HEALED: Duration = Duration::from_secs(30);
/// Edited by each round of the load: the first ones. Nobody asks for a change of the others.
const EDITED: usize = 10;

/// A control plane with a namespace and workloads of its own.
struct Guest {
    namespace: &'static str,
    /// What its workloads' names begin with.
    prefix: &'static str,
}

impl Guest {
    fn scene(&self) -> Scene {
        let scene = Scene::default().and_control_plane(self.namespace);
        let names = (0..form::choose(RESOURCES) / 2).map(|index| self.name(index));
        names
            .chain([self.late()])
            .fold(scene, |scene, name| scene.and_namespace(&name))
    }

    fn name(&self, index: usize) -> String {
        format!("{}-{index}", self.prefix)
    }

    /// The namespace of what the load adds.
    fn late(&self) -> String {
        format!("{}-late", self.prefix)
    }

    /// Installs it, applies all resources, waits until they are Ready, and answers with its id.
    async fn begin(&self, world: &World) -> Result<String> {
        install(world, self.namespace).await?;
        let objects: Vec<_> = (0..form::choose(RESOURCES) / 2)
            .flat_map(|index| pair(&self.name(index), &self.name(index), 0))
            .collect();
        self.apply(&objects).await?.success()?;
        let timeout = form::choose(MADE);
        let wait = format!(
            "-n {} wait --for=condition=Ready --timeout={timeout}s -f -",
            self.namespace
        );
        kubectl(&wait, Some(&workload::text(&objects))).await?.success()?;
        let name = self.name(0);
        let map = live(&name, &format!("configmap/{name}"))
            .await?
            .unwrap_or_default();
        let id = map["metadata"]["labels"][identity::CONTROL_PLANE].as_str();
        Ok(id.context("the workload carries no label of ours")?.to_owned())
    }

    async fn apply(&self, objects: &[Value]) -> Result<Output> {
        let apply = format!("-n {} apply -f -", self.namespace);
        kubectl(&apply, Some(&workload::text(objects))).await
    }

    /// Edits what is there and adds what is new, for ever.
    async fn load(&self, rounds: &AtomicUsize) -> Result<()> {
        loop {
            let round = rounds.load(Ordering::Relaxed) + 1;
            let edited = (0..EDITED).map(|index| pair(&self.name(index), &self.name(index), round));
            let new = pair(&format!("{}-{round}", self.late()), &self.late(), round);
            let objects: Vec<_> = edited.chain([new]).flatten().collect();
            let said = self.apply(&objects).await?;
            // Whoever edits goes on after the end, and whoever adds is told of it.
            if !said.stderr.contains("no Threeport control plane serves") {
                said.success()?;
            }
            rounds.store(round, Ordering::Relaxed);
        }
    }

    /// What its accounts changed outside of its own namespace since `offset` of the audit log, by how often.
    fn writes(&self, world: &World, offset: u64) -> Result<BTreeMap<String, usize>> {
        let mut entries = audit::since(&world.audit_log, offset)?;
        entries.retain(|entry| {
            let object = entry.object_ref.clone().unwrap_or_default();
            let is_own = object.namespace == self.namespace || object.api_group == GROUP;
            entry.is_write() && entry.succeeded() && entry.is_by(self.namespace) && !is_own
        });
        Ok(audit::count(&entries))
    }

    /// Those writes that were made in the namespaces of these workloads.
    fn within<'a>(&self, writes: &'a BTreeMap<String, usize>, indices: Range<usize>) -> Vec<&'a str> {
        let places: Vec<_> = indices.map(|index| format!(" {}/", self.name(index))).collect();
        let calls = writes.keys().map(String::as_str);
        calls
            .filter(|call| places.iter().any(|place| call.contains(place)))
            .collect()
    }

    /// The controls: that an object is gone is found, and that it was made again. Answers with what is there then.
    async fn touches_are_found(&self, world: &World, control_plane: &str) -> Result<BTreeSet<Identity>> {
        let before = workloads(world, control_plane).await?;
        let map = before.iter().find(|(kind, ..)| kind == "ConfigMap.");
        let planted = map.context("no ConfigMap was made")?;
        let (_, namespace, name, _) = planted;
        let offset = audit::end(&world.audit_log)?;
        kubectl(&format!("-n {namespace} delete configmap {name}"), None)
            .await?
            .success()?;
        let after = workloads(world, control_plane).await?;
        let gone: Vec<_> = before.difference(&after).collect();
        ensure!(gone == [planted], "the planted deletion was not found: {gone:?}");
        let healing = BTreeMap::from([(format!("patch 201 configmaps. {namespace}/{name}"), 1)]);
        wait_until("its healing is found", HEALED, || async {
            let (after, written) = (
                workloads(world, control_plane).await?,
                self.writes(world, offset)?,
            );
            Ok(if after.len() == before.len() && written == healing {
                Ok(after)
            } else {
                Err(format!("{written:?}"))
            })
        })
        .await
    }

    /// `kubectl delete namespace`, in time.
    async fn delete_namespace(&self) -> Result<()> {
        let begun = Instant::now();
        let delete = format!(
            "delete namespace {} --timeout={}s",
            self.namespace,
            ENDS.as_secs()
        );
        kubectl(&delete, None).await?.success()?;
        println!(
            "kubectl delete namespace {} took {:?}",
            self.namespace,
            begun.elapsed()
        );
        Ok(())
    }
}

fn pair(name: &str, namespace: &str, revision: usize) -> [Value; 2] {
    let manifests = [
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"revision": revision.to_string()},
        }),
        workload::deployment(name, workload::IMAGE, 0),
    ];
    [
        workload::definition(name, &manifests),
        workload::instance(name, name, &json!({"namespace": namespace})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_3_deleting_the_namespace_ends_within_60_s_and_touches_no_workload() -> Result<()> {
    let guest = Guest {
        namespace: "threeport-ends",
        prefix: "ends",
    };
    guest
        .scene()
        .play(async |world| {
            let offset = audit::end(&world.audit_log)?;
            let control_plane = guest.begin(world).await?;
            let before = workloads(world, &control_plane).await?;
            let made = guest.writes(world, offset)?;
            ensure!(
                before.len() > form::choose(RESOURCES) && made.len() >= before.len(),
                "positive control: {} objects and {} writes were found",
                before.len(),
                made.len()
            );

            let before = guest.touches_are_found(world, &control_plane).await?;
            let offset = audit::end(&world.audit_log)?;
            guest.delete_namespace().await?;
            let touched = guest.writes(world, offset)?;
            ensure!(touched.is_empty(), "the deletion touched {touched:#?}");
            ensure!(
                workloads(world, &control_plane).await? == before,
                "the deletion touched a workload"
            );
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_3_uninstalling_under_load_ends_within_60_s_and_touches_no_workload() -> Result<()> {
    let guest = Guest {
        namespace: "threeport-load",
        prefix: "load",
    };
    guest
        .scene()
        .play(async |world| {
            let control_plane = guest.begin(world).await?;
            let before = guest.touches_are_found(world, &control_plane).await?;
            let offset = audit::end(&world.audit_log)?;
            let rounds = AtomicUsize::new(0);
            tokio::select! {
                ended = guest.load(&rounds) => {
                    ended.context("the load")?;
                    bail!("the load ended");
                }
                uninstalled = uninstall_under_load(&guest, &rounds) => uninstalled?,
            }
            let mut written = guest.writes(world, offset)?;
            ensure!(
                !guest.within(&written, 0..EDITED).is_empty(),
                "the load changed nothing: {written:#?}"
            );
            let touched = guest.within(&written, EDITED..form::choose(RESOURCES) / 2);
            ensure!(
                touched.is_empty(),
                "uninstalling touched what nobody edited: {touched:#?}"
            );
            written.retain(|call, _| call.starts_with("delete"));
            ensure!(written.is_empty(), "uninstalling deleted {written:#?}");
            let after = workloads(world, &control_plane).await?;
            let gone: Vec<_> = before.difference(&after).collect();
            ensure!(gone.is_empty(), "uninstalling touched {gone:?}");
            // What is left has no finalizer of ours: the namespace ends by itself.
            guest.delete_namespace().await
        })
        .await
}

async fn uninstall_under_load(guest: &Guest, rounds: &AtomicUsize) -> Result<()> {
    let name = guest.name(EDITED - 1);
    wait_until("the load has arrived", ENDS, || async {
        let found = live(&name, &format!("configmap/{name}")).await?;
        let revision = found.unwrap_or_default()["data"]["revision"].clone();
        Ok(if revision == "0" {
            Err("not yet".to_owned())
        } else {
            Ok(())
        })
    })
    .await?;
    let (before, begun) = (rounds.load(Ordering::Relaxed), Instant::now());
    uninstall(guest.namespace).await?;
    let (took, meanwhile) = (begun.elapsed(), rounds.load(Ordering::Relaxed) - before);
    println!("helm uninstall took {took:?}, with {meanwhile} rounds of load meanwhile");
    ensure!(took < ENDS, "helm uninstall took {took:?}");
    ensure!(meanwhile > 0, "there was no load");
    Ok(())
}

/// Everything that carries the control plane's label, by uid.
async fn workloads(world: &World, control_plane: &str) -> Result<BTreeSet<Identity>> {
    let selector = format!("{}={control_plane}", identity::CONTROL_PLANE);
    leftovers::labelled(&world.cluster, &selector).await
}
