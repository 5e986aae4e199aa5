//! What `make up` and `make down` call, by what make says that it would run.

use std::process::Command;

use anyhow::{Result, ensure};
use threeport_testbed::paths::project;
use threeport_testbed::process::output;

fn would_run(arguments: &[&str]) -> Result<String> {
    output(
        Command::new("make")
            .arg("--dry-run")
            .args(arguments)
            .current_dir(project()),
    )
}

#[test]
fn make_hands_its_variables_on() -> Result<()> {
    let cases: [(&[&str], &[&str]); 6] = [
        (&["up"], &["prepare.sh", "threeport-up -- up --cluster testbed"]),
        (
            &["up", "DATABASE=postgresql"],
            &["prepare.sh", "--database postgresql"],
        ),
        (
            &["up", "CLUSTER=current", "REGISTRY=registry.example.com/x"],
            &["up --cluster current", "--registry registry.example.com/x"],
        ),
        (&["down"], &["threeport-up -- down --cluster testbed"]),
        (
            &["down", "CLUSTER=current"],
            &["threeport-up -- down --cluster current"],
        ),
        (&["test", "STORY=fire_2"], &["STORY=fire_2 e2e/test.sh"]),
    ];
    for (arguments, wanted) in cases {
        let printed = would_run(arguments)?;
        for wanted in wanted {
            ensure!(
                printed.contains(wanted),
                "make {arguments:?} runs\n{printed}, which lacks {wanted:?}"
            );
        }
    }
    ensure!(
        !would_run(&["up", "CLUSTER=current"])?.contains("prepare.sh"),
        "a cluster elsewhere needs no testbed"
    );
    Ok(())
}

/// Who mistypes the cluster must not be given another one.
#[test]
fn make_refuses_what_it_does_not_know_before_it_does_anything() -> Result<()> {
    for (arguments, told) in [
        (
            ["up", "CLUSTER=curent"],
            "CLUSTER=curent is not known; there are: testbed current",
        ),
        (
            ["down", "CLUSTER=kind"],
            "CLUSTER=kind is not known; there are: testbed current",
        ),
        (
            ["dev", "CLUSTER=current"],
            "CLUSTER=current is not known; there are: testbed",
        ),
        (
            ["up", "DATABASE=postgres"],
            "DATABASE=postgres is not known; there are: sqlite postgresql",
        ),
    ] {
        let ran = Command::new("make")
            .arg("--dry-run")
            .args(arguments)
            .current_dir(project())
            .output()?;
        let would_run = String::from_utf8_lossy(&ran.stdout);
        let said = String::from_utf8_lossy(&ran.stderr);
        ensure!(
            !ran.status.success() && !would_run.contains("threeport-up") && said.contains(told),
            "make {arguments:?}: {ran:?}"
        );
    }
    Ok(())
}
