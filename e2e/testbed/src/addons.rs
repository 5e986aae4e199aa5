//! What a cluster has beside Kubernetes itself: DNS, and volumes for claims.

use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::cluster::Cluster;
use crate::images::{COREDNS, NONROOT};
use crate::network::DNS_SERVICE;
use crate::node::NODE;
use crate::paths::create_folder;
use crate::process::output;
use crate::wait;

const DNS: &str = include_str!("../manifests/coredns.yaml");
const STORAGE_CLASS: &str = include_str!("../manifests/volumes.yaml");
const VOLUMES: u32 = 12;

/// The manifests of the cluster's DNS; `upstream` says whether it asks the node's name servers for other names.
pub(crate) fn dns(upstream: bool) -> String {
    let others = if upstream {
        "forward . /etc/resolv.conf"
    } else {
        "template ANY ANY {\n            rcode NXDOMAIN\n        }"
    };
    DNS.replace("@OTHERS@", others)
        .replace("@IMAGE@", COREDNS)
        .replace("@ADDRESS@", &DNS_SERVICE.to_string())
}

/// A default StorageClass and volumes of folders below `folder`: nothing provisions them when a claim asks, and
/// fsGroup is not applied to them, so each belongs to the user that the images run as.
pub(crate) fn volumes(folder: &Path) -> Result<String> {
    let mut items = Vec::new();
    for index in 0..VOLUMES {
        let name = format!("local-{index}");
        let path = folder.join(&name);
        create_folder(&path)?;
        chown(&path, Some(NONROOT), Some(NONROOT))
            .with_context(|| format!("failed to change the owner of {}", path.display()))?;
        let hostname = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]});
        items.push(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "20Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "local",
                "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}},
            },
        }));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    Ok(format!("{STORAGE_CLASS}---\n{list}\n"))
}

/// Waits until the cluster's DNS answers, asked at its Service's address.
pub(crate) fn wait_for_dns(cluster: &Cluster) -> Result<()> {
    let answered = wait::until("wait for the cluster's DNS", Duration::from_secs(120), || {
        let mut command = cluster.command("busybox");
        output(command.args([
            "nslookup",
            "kubernetes.default.svc.cluster.local",
            &DNS_SERVICE.to_string(),
        ]))
    });
    answered.map(|_| ()).or_else(|error| {
        let pods = cluster
            .kubectl()?
            .run(&["-n", "kube-system", "describe", "pods"])?;
        Err(error.context(format!("the cluster's DNS does not answer; its pods:\n{pods}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_have_no_placeholder_left() {
        for upstream in [false, true] {
            assert!(!dns(upstream).contains('@'), "{}", dns(upstream));
        }
    }
}
