//! `make up` as a person lives it: interrupted, its cluster killed, run again, used by the commands that it prints, run once
//! more beside what tests start, taken down.
//!
//! It is told on a cluster of its own that shares the network of "the machine": a network namespace that this test makes
//! ([`machine`]), so that it runs whether or not somebody's `make up` is up. The one cluster is used twice, since starting
//! one takes long: first as the cluster of a kubeconfig that happens to be current ([`current`]: `CLUSTER=current
//! REGISTRY=...` and its `down`), then as the testbed with `DATABASE=postgresql`. The stories' cluster, which
//! `threeport-up` brings up too, is in a network of its own and has SQLite.
//!
//! Not part of the other test runs: `e2e/test.sh` runs it by itself, with the programs built.

#![allow(missing_docs)]

mod current;
mod dev;
mod machine;
mod makefile;
mod program;
mod replicas;
mod shell;
mod testbed;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use threeport_e2e::form;
use threeport_testbed::network::Kind;
use threeport_testbed::traces::{COMMON, MACHINE_NETWORK, Traces};
use threeport_testbed::{Cluster, Selection, cluster, wait};

use crate::machine::Machine;
use crate::program::ThreeportUp;

/// The testbed's name.
const NAME: &str = "up";

#[test]
fn up_is_interrupted_run_again_used_and_taken_down() -> Result<()> {
    let state = threeport_testbed::paths::cache()?.join("test-up");
    let selection = Selection {
        name: NAME.to_owned(),
        state: Some(state.clone()),
        network: Some(Kind::Machine),
    };
    let site = selection.site()?;
    let machine = Machine::enter(NAME, &site)?;
    let untouched = machine.network()?;
    let up = ThreeportUp::new(&selection)?;

    testbed::refuses_what_is_in_the_way(&up)?;
    ensure!(
        machine.network()? == untouched,
        "a refused `up` left something in the network"
    );
    testbed::interrupt_the_start_of_kubernetes(&up, &site)?;
    testbed::interrupt_the_loading_of_images(&up)?;
    testbed::kill_the_cluster(&site)?;
    testbed::interrupt_the_loading_of_images(&up)?;
    let running = Cluster::attach(&site).context("the interrupted run had started Kubernetes")?;
    current::without_a_way_for_images(&running)?;
    current::up_and_down_by_a_registry(&running)?;

    testbed::interrupt_the_installation(&up, &running)?;
    testbed::interrupt_the_delivery(&up, &running)?;
    testbed::interrupt_anywhere(&up, form::seed())?;
    let first = up.run(&testbed::OPTIONS)?;
    testbed::shows_what_a_person_wants_to_see(&first)?;
    let commands = shell::next_commands(&first.stdout)?;
    let (down, others) = commands.split_last().context("no commands are printed")?;
    testbed::printed_commands_work(&up, others)?;
    replicas::lose_one_under_load(&running)?;
    testbed::another_cluster_runs_beside_it(&running)?;

    testbed::somebody_sets_a_value(&running)?;
    let pods = testbed::pods(&running)?;
    let again = up.run(&testbed::OPTIONS)?;
    testbed::shows_what_a_person_wants_to_see(&again)?;
    ensure!(
        testbed::pods(&running)? == pods,
        "a second `up` restarted pods: {pods:?}"
    );
    testbed::keeps_what_somebody_has_set(&running)?;
    println!("again: {:.1} s", again.took.as_secs_f32());
    dev::runs_until_ctrl_c(&up)?;
    ensure!(
        again.took < Duration::from_secs(60),
        "again it took {:?}",
        again.took
    );

    let before = Traces::of(&site)?;
    let wanted = COMMON.into_iter().chain(MACHINE_NETWORK).collect();
    ensure!(
        before.sorts() == wanted,
        "traces of a running testbed: {before:#?}"
    );
    ensure!(
        machine.network()? != untouched,
        "a running testbed has no trace in the network"
    );
    let said = shell::run(&up, down)?;
    ensure!(said.stdout.contains("What stays"), "{said:?}");
    let left = before.left(&site)?;
    ensure!(left.is_empty() && !state.exists(), "`down` left {left:#?}");
    // Interfaces of pods go some time after their namespaces.
    wait::until("the network is as it was", Duration::from_secs(10), || {
        let now = machine.network()?;
        ensure!(now == untouched, "it was {untouched:#?} and is {now:#?}");
        Ok(())
    })?;
    cluster::down(&site).context("a second `down` finds nothing to do")
}
