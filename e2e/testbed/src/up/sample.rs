//! The sample: a workload that is delivered with kubectl, as a person would, and looked at by its URL.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use threeport_testbed::paths::{project, write_file};
use threeport_testbed::process::output;
use threeport_testbed::{progress, wait};

use crate::release::NAMESPACE;
use crate::target::Target;

/// How long the sample takes to be Ready.
pub(crate) const DELIVERY: Duration = Duration::from_secs(30);

/// The sample's custom resources, in the source tree.
pub(crate) fn file() -> PathBuf {
    project().join("e2e/sample/threeport.yaml")
}

/// Applies the sample and waits until it is Ready; gives the URL that answers, if it can be reached from here.
pub(crate) fn deliver(target: &Target, registry: Option<&str>) -> Result<Option<String>> {
    let file = manifests(target, registry)?;
    progress::step("Deliver the sample", DELIVERY, || {
        output(
            target
                .kubectl()
                .args(["apply", "--namespace", NAMESPACE, "--filename"])
                .arg(&file),
        )?;
        let wait = [
            "wait",
            "--for=condition=Ready",
            "--timeout=300s",
            "--namespace",
            NAMESPACE,
            "--filename",
        ];
        output(target.kubectl().args(wait).arg(&file)).map_err(|error| {
            let seen = target.run_kubectl(&["get", "threeport", "--namespace", NAMESPACE, "--output=wide"]);
            error.context(format!(
                "the sample did not become Ready:\n{}",
                seen.unwrap_or_default()
            ))
        })
    })?;
    if !target.reaches_services() {
        return Ok(None);
    }
    let namespace = read(
        target,
        NAMESPACE,
        "workloadinstance/sample",
        "{.status.namespace}",
    )?;
    let address = read(
        target,
        &namespace,
        "service/web",
        "{.spec.clusterIP}:{.spec.ports[0].port}",
    )?;
    let address = address
        .parse()
        .with_context(|| format!("failed to parse the address {address:?}"))?;
    wait::until(
        "wait for the sample's URL to answer",
        Duration::from_secs(30),
        || answer(address),
    )?;
    Ok(Some(format!(
        "http://{}",
        address.to_string().trim_end_matches(":80")
    )))
}

fn read(target: &Target, namespace: &str, object: &str, path: &str) -> Result<String> {
    target.run_kubectl(&[
        "get",
        object,
        "--namespace",
        namespace,
        &format!("--output=jsonpath={path}"),
    ])
}

/// Removes the sample, if it is there.
pub(crate) fn remove(target: &Target) -> Result<()> {
    if target
        .run_kubectl(&[
            "get",
            "customresourcedefinition",
            "workloadinstances.threeport.io",
        ])
        .is_err()
    {
        return Ok(());
    }
    let arguments = [
        "delete",
        "--ignore-not-found",
        "--timeout=120s",
        "--namespace",
        NAMESPACE,
        "--filename",
    ];
    output(target.kubectl().args(arguments).arg(file())).map(|_| ())
}

/// The file to apply: with another registry a copy whose images come from there.
fn manifests(target: &Target, registry: Option<&str>) -> Result<PathBuf> {
    let Some(registry) = registry else {
        return Ok(file());
    };
    let text =
        std::fs::read_to_string(file()).with_context(|| format!("failed to read {}", file().display()))?;
    let copy = target.path("sample.yaml");
    write_file(
        &copy,
        text.replace(
            "localhost/threeport-sample",
            &format!("{registry}/threeport-sample"),
        ),
    )?;
    Ok(copy)
}

/// One GET; a status of 200 is an answer.
fn answer(address: SocketAddr) -> Result<()> {
    let deadline = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, deadline).context("failed to connect")?;
    stream
        .set_read_timeout(Some(deadline))
        .context("failed to set a time-out")?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .context("failed to ask")?;
    let mut text = Vec::new();
    stream
        .take(4096)
        .read_to_end(&mut text)
        .context("failed to read the answer")?;
    let text = String::from_utf8_lossy(&text);
    let status = text.lines().next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "it answered {status:?}");
    Ok(())
}
