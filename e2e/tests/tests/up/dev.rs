//! `make dev` on the cluster that `up` brought up: a control plane of processes beside the one of pods, until Ctrl-C.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use threeport_testbed::wait;

use crate::program::ThreeportUp;
use crate::shell;

/// Where its API and its NATS listen.
const ADDRESSES: [&str; 2] = ["127.0.0.1:27443", "127.0.0.1:27222"];
/// How long a program may take to end after Ctrl-C.
const DRAINED: Duration = Duration::from_secs(10);
/// What a person does while it runs.
const USE: [&str; 4] = [
    "tptctl run of-dev -f docs/examples/hello --wait --timeout 60s",
    "kubectl --namespace threeport-dev wait workloadinstance/of-dev --for=condition=Ready --timeout=30s",
    "tptctl delete workloadinstance of-dev --wait",
    "tptctl delete workloaddefinition of-dev",
];

pub(crate) fn runs_until_ctrl_c(up: &ThreeportUp) -> Result<()> {
    let begin = Instant::now();
    let took = up.dev(|said| {
        let printed = said.lines().filter_map(|line| line.strip_prefix("  "));
        let commands: Vec<_> = printed.chain(USE).map(str::to_owned).collect();
        ensure!(
            commands.len() == USE.len() + 2 && commands[0].starts_with(". "),
            "it prints other commands than one to set up the shell and one to try: {commands:#?}"
        );
        shell::type_all(&commands, |shell| {
            shell.env("PATH", &up.path);
        })
        .map(drop)
    })?;
    println!(
        "dev: {:.1} s, and {:.1} s to end",
        begin.elapsed().as_secs_f32(),
        took.as_secs_f32()
    );
    ensure!(took < DRAINED, "it took {took:?} to end");
    wait::until("all processes of `dev` have ended", DRAINED, || {
        for address in ADDRESSES {
            ensure!(
                TcpStream::connect(address).is_err(),
                "something listens on {address}"
            );
        }
        Ok(())
    })
}
