//! `tptctl` where it is told no server: through the kubeconfig; as `kubectl threeport`; and what `doctor` says of a
//! control plane that is well, and of one whose parts are not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use threeport_e2e::{Output, kubectl::run, wait_until};

use crate::{installation::scale, scene::Scene};

/// What the shell of a testbed says of the API, and a shell elsewhere does not.
const TOLD: [&str; 4] = [
    "--unset=THREEPORT_SERVER",
    "--unset=THREEPORT_CA_FILE",
    "--unset=THREEPORT_TOKEN_FILE",
    "--unset=THREEPORT_CONTEXT",
];

/// A command in a shell that knows nothing but the kubeconfig.
async fn untold(command: &[&str]) -> Result<Output> {
    run("env", &[&TOLD, command].concat(), None).await
}

/// What `doctor` found, by the name of each check, and its exit code.
async fn doctor(namespace: &str) -> Result<(i32, Vec<Value>)> {
    let output = run(
        "tptctl",
        &["doctor", "--namespace", namespace, "-o", "json"],
        None,
    )
    .await?;
    let checks = output.json()?;
    let checks = checks.as_array().cloned();
    Ok((output.code, checks.context("doctor printed no list")?))
}

fn failed(checks: &[Value]) -> Vec<&Value> {
    checks
        .iter()
        .filter(|check| check["result"] == "failed")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tptctl_finds_the_api_through_the_kubeconfig_also_as_kubectl_threeport() -> Result<()> {
    Scene::default()
        .play(async |world| {
            let namespace = world.namespace.as_str();
            let whoami = ["tptctl", "--namespace", namespace, "whoami", "-o", "json"];
            let forwarded = untold(&whoami).await?.success()?;
            let direct = run("tptctl", &whoami[1..], None).await?.success()?;
            ensure!(
                forwarded.json()? == direct.json()?,
                "{forwarded:?} instead of {direct:?}"
            );

            let plugin = ["kubectl", "threeport", "--namespace", namespace, "get"];
            let plugin = [plugin.as_slice(), &["kubernetesruntimeinstances", "-o", "name"]].concat();
            let listed = untold(&plugin).await?.success()?;
            ensure!(!listed.stdout.trim().is_empty(), "{listed:?}");

            // Without a right to the namespace's Secrets there is no token: what is missing is said, and no secret.
            let stranger = ["tptctl", "--namespace", "default", "whoami"];
            let refused = untold(&stranger).await?;
            ensure!(
                refused.code == 1 && refused.stderr.contains("default"),
                "{refused:?}"
            );
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn tptctl_doctor_names_what_is_wrong_with_its_remedy() -> Result<()> {
    Scene::default()
        .and_changes_of_the_installation()
        .play(async |world| {
            let namespace = &world.namespace;
            let (code, checks) = doctor(namespace).await?;
            ensure!(code == 0 && failed(&checks).is_empty(), "{checks:#?}");
            ensure!(checks.len() >= 6, "it looked at next to nothing: {checks:#?}");

            scale(namespace, "deployment threeport-agent", 0).await?;
            wait_until(
                "doctor sees a part that is down",
                Duration::from_secs(30),
                || async {
                    let (code, checks) = doctor(namespace).await?;
                    let named = failed(&checks).iter().any(|check| {
                        let says = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
                        says("detail").contains("threeport-agent")
                            && says("remedy").contains("kubectl describe pods")
                    });
                    Ok(if code == 1 && named {
                        Ok(())
                    } else {
                        Err(format!("{code}: {checks:#?}"))
                    })
                },
            )
            .await?;

            let elsewhere = doctor("nowhere").await?;
            ensure!(
                failed(&elsewhere.1)
                    .iter()
                    .any(|check| check["name"] == "namespace"),
                "{elsewhere:#?}"
            );
            Ok(())
        })
        .await
}
