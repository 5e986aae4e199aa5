//! Simulated nodes: kwok answers as the kubelet of nodes that don't exist, so that thousands of pods become ready
//! without running.

use anyhow::Result;
use serde_json::json;

use crate::binaries;
use crate::control_plane::Setup;
use crate::process::{Process, Program};

pub(crate) fn start(setup: &Setup<'_>, nodes: u32) -> Result<Process> {
    let kubeconfig = setup.kubeconfig("kwok.kubeconfig", "kwok", Some("system:masters"))?;
    let binary = binaries::path("kwok")?;
    let stages = ["node-initialize", "pod-ready", "pod-complete", "pod-delete"].map(|stage| {
        binary
            .with_file_name(format!("{stage}.yaml"))
            .display()
            .to_string()
    });
    let process = setup.host.start(
        Program::new("kwok", &binary)
            .flag("--kubeconfig", kubeconfig)
            .flag("--config", stages.join(","))
            .arg("--manage-all-nodes")
            .flag("--node-ip", "127.0.0.1")
            .flag("--node-lease-duration-seconds", "40"),
    )?;
    let items = (0..nodes).map(node).collect::<Vec<_>>();
    setup
        .kubectl()?
        .apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    setup
        .kubectl()?
        .run(&["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s"])?;
    Ok(process)
}

fn node(index: u32) -> serde_json::Value {
    let name = format!("kwok-{index}");
    let resources = json!({"cpu": "64", "memory": "256Gi", "pods": "1000"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "type": "kwok"},
                     "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": resources, "capacity": resources},
    })
}
