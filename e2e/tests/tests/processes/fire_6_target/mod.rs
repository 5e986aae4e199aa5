//! The target's API fails in every way for a while, under change: nothing is destroyed that the same script without
//! faults doesn't destroy, and afterwards everything converges.
//!
//! The control plane runs as processes; its controllers and its agent know the cluster by a proxy that injects the
//! faults (`threeport-faults`). What was destroyed, the cluster's own audit log says.

mod player;
mod script;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use threeport_e2e::{
    audit, destructive, form, inventory,
    plane::{NAMESPACE, Part, Plane},
    wait_until,
};
use threeport_faults::kubernetes::{Fault, Kind, Plan, Proxy};
use threeport_testbed::{ControlPlaneOptions, kubectl::Kubectl};

use player::{Player, Tempo};

/// How long the script takes: short form, long form.
const LENGTH: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(300)];
/// A new application begins so often.
const PACE: Duration = Duration::from_millis(1500);
/// The share of requests that fail while the weather is mixed.
const SHARE: f64 = 0.3;
/// How long each kind of weather lasts.
const SPELL: Duration = Duration::from_secs(3);
/// So many of the ways to fail may not have come: short form, long form.
const MISSING: [usize; 2] = [3, 0];
/// How long everything may take afterwards.
const CONVERGED: Duration = Duration::from_secs(120);

/// A control plane; perhaps with the proxy before its target.
struct World {
    plane: Plane,
    proxy: Option<Proxy>,
}

impl World {
    async fn start(with_proxy: bool) -> Result<Self> {
        let options = ControlPlaneOptions {
            audit_bodies: true,
            ..ControlPlaneOptions::default()
        };
        let mut plane = Plane::prepare_on(options).await?;
        let mut proxy = None;
        if with_proxy {
            let authority = std::fs::read_to_string(plane.kubernetes.authority())?;
            let between = Proxy::start(plane.kubernetes.url(), &authority).await?;
            for part in [Part::Controllers, Part::Agent] {
                plane.lead(part, &between.url(), between.certificate())?;
            }
            proxy = Some(between);
        }
        // Without a facade: nobody uses kubectl here.
        for part in [Part::Api, Part::Controllers, Part::Agent] {
            plane.start_part(part, &[])?;
            plane.wait_part(part)?;
        }
        Ok(Self { plane, proxy })
    }

    fn player(&self) -> Result<Player> {
        Ok(Player {
            api: self.plane.api.clone(),
            kubectl: self.plane.kubectl()?,
        })
    }

    fn calls(&self) -> Result<destructive::Calls> {
        let entries = audit::since(&self.plane.audit_log(), 0)?;
        Ok(destructive::calls(&entries, NAMESPACE))
    }

    /// Says with an error what the parts logged last.
    fn with_logs<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| self.plane.log_tails())
    }

    /// Everything is Ready or gone, and the inventory is what carries our label.
    async fn converges(&self, player: &Player, steps: &[script::Step]) -> Result<()> {
        let begun = Instant::now();
        let outcome = player.ends(steps, CONVERGED).await;
        println!("converged after {:?}", begun.elapsed());
        outcome?;
        wait_until("the inventory is what carries our label", CONVERGED, || async {
            let difference = inventory::difference(&player.api, &self.plane.cluster).await?;
            Ok(if difference.is_empty() {
                Ok(())
            } else {
                Err(format!("{difference:?}"))
            })
        })
        .await
    }

    /// The control of the inventory: what carries our label and is in no row is found.
    async fn a_stranger_is_found(&self) -> Result<()> {
        inventory::plant(&self.plane).await?;
        inventory::what_is_planted_is_found(&self.plane).await?;
        inventory::uproot(&self.plane)
    }

    /// The control of the calls: a deletion by our own account that no script asked for is found.
    fn an_unmeant_deletion_is_found(
        &self,
        application: &script::Application,
        meant: &destructive::Calls,
    ) -> Result<()> {
        let account = format!("--as=system:serviceaccount:{NAMESPACE}:threeport-workloads");
        let (config, namespace) = (format!("{}-config", application.name), application.namespace());
        let kubectl = Kubectl::new(&self.plane.kubeconfig(Part::Controllers))?;
        kubectl.run(&[&account, "delete", "configmap", &config, "-n", namespace])?;
        let found = destructive::beyond(&self.calls()?, meant);
        ensure!(
            found.len() == 1 && found[0].contains(&config),
            "the planted deletion was not found: {found:?}"
        );
        Ok(())
    }
}

/// For ever in turn: some requests fail; those fail that can fail in one way; no list is answered, but all else is; nothing
/// can be read, but what is written goes through.
async fn weather(proxy: &Proxy, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut ways = Vec::new();
    loop {
        if ways.is_empty() {
            ways = Fault::ALL.to_vec();
        }
        let way = ways.swap_remove(random.random_range(0..ways.len()));
        let spells = [
            Plan::new(random.random(), SHARE),
            Plan::only(random.random(), way),
            Plan::new(random.random(), 1.0).on(&[Kind::List]),
            Plan::new(random.random(), 1.0).on(&Kind::READS),
        ];
        println!("the next outage: {way:?}");
        for plan in spells {
            proxy.disturb(plan);
            tokio::time::sleep(SPELL).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fire_6_a_failing_target_loses_nothing_and_converges_after() -> Result<()> {
    let seed = form::seed();
    let length = form::choose(LENGTH);
    let steps = script::script(seed, length, PACE);
    println!("{} steps in {length:?}", steps.len());

    let calm = World::start(false).await?;
    let player = calm.player()?;
    player.begins().await?;
    calm.a_stranger_is_found().await?;
    calm.with_logs(player.play(&steps, Tempo::Patient(CONVERGED)).await)?;
    calm.with_logs(calm.converges(&player, &steps).await)?;
    let meant = calm.calls()?;
    let deletions = meant.keys().filter(|call| call.starts_with("delete")).count();
    println!("{} calls without faults, {deletions} deletions", meant.len());
    ensure!(deletions > 5, "positive control: the script destroys something");
    let living = player.living(&steps).context("everything was deleted")?;
    calm.an_unmeant_deletion_is_found(living, &meant)?;
    drop(calm);

    let mut world = World::start(true).await?;
    let proxy = world.proxy.as_ref().context("no proxy")?;
    let player = world.player()?;
    player.begins().await?;
    tokio::select! {
        () = weather(proxy, seed) => {}
        played = player.play(&steps, Tempo::InTime) => world.with_logs(played)?,
    }
    proxy.calm();
    let counts = proxy.counts();
    println!("faults: {counts:?}");
    let converged = world.converges(&player, &steps).await;
    let unmeant = destructive::beyond(&world.calls()?, &meant);
    ensure!(
        unmeant.is_empty(),
        "seed {seed}: destroyed under faults only: {unmeant:#?}"
    );
    world.with_logs(converged)?;
    for part in [Part::Api, Part::Controllers, Part::Agent] {
        let ended = world.plane.process(part)?.exit_status()?;
        ensure!(ended.is_none(), "{part} ended: {ended:?}");
    }
    let missing: Vec<_> = Fault::ALL
        .iter()
        .filter(|fault| !counts.contains_key(fault))
        .collect();
    ensure!(
        missing.len() <= form::choose(MISSING),
        "seed {seed}: these faults never came: {missing:?}"
    );
    Ok(())
}
