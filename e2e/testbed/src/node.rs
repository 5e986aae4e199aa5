//! The programs of a node: containerd, kubelet, kube-proxy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::control_plane::Setup;
use crate::kubectl::Kubectl;
use crate::network::{DNS_SERVICE, Kind, Network, POD_RANGE};
use crate::paths::{Site, create_folder, write_file};
use crate::process::{Process, Program, output};
use crate::{binaries, cgroup, images, wait};

/// The name of the node.
pub const NODE: &str = "node1";

/// containerd's socket.
#[must_use]
pub fn socket(site: &Site) -> PathBuf {
    site.run().join("containerd.sock")
}

/// Starts containerd and imports the cluster's own images.
pub(crate) fn start_containerd(site: &Site, setup: &Setup<'_>) -> Result<Process> {
    let config = site.path("containerd.toml");
    write_file(&config, containerd_config(site)?)?;
    write_file(
        &site.path("cni/10-testbed.conflist"),
        cni_config(site).to_string(),
    )?;
    create_folder(&site.run())?;
    let program = Program::new("containerd", "containerd")
        .arg("--config")
        .arg(&config);
    let mut process = setup.host.start(program)?;
    wait::served(
        &mut process,
        "wait for containerd",
        Duration::from_secs(30),
        || ctr(site, &["version"]).map(|_| ()),
    )?;
    for archive in images::of_cluster()? {
        load_image(site, &archive)?;
    }
    Ok(process)
}

/// Imports an OCI archive.
pub fn load_image(site: &Site, archive: &Path) -> Result<()> {
    let path = archive.to_str().context("the archive's path is not UTF-8")?;
    ctr(site, &["--namespace", "k8s.io", "images", "import", path]).map(|_| ())
}

fn ctr(site: &Site, arguments: &[&str]) -> Result<String> {
    output(
        Command::new("ctr")
            .arg("--address")
            .arg(socket(site))
            .args(arguments),
    )
}

fn containerd_config(site: &Site) -> Result<String> {
    let config = json!({
        "version": 2,
        "root": site.path("containerd"),
        "state": site.run().join("containerd"),
        "grpc": {"address": socket(site)},
        "plugins": {"io.containerd.grpc.v1.cri": {
            "sandbox_image": images::PAUSE,
            // Raising a container's priority needs CAP_SYS_RESOURCE, which not every machine gives.
            "restrict_oom_score_adj": true,
            "netns_mounts_under_state_dir": true,
            "cni": {"bin_dir": "/usr/lib/cni", "conf_dir": site.path("cni")},
        }},
    });
    toml::to_string(&config).context("failed to render containerd's configuration")
}

/// `ptp`, not `bridge`: pods are routed rather than switched, so that traffic between two pods by a Service's address
/// passes the kernel's address translation on its way back, on machines without br_netfilter too.
fn cni_config(site: &Site) -> serde_json::Value {
    json!({"cniVersion": "0.4.0", "name": site.kernel_name(), "plugins": [
        {"type": "ptp", "ipMasq": false, "ipam": {
            "type": "host-local",
            "dataDir": site.path("cni-addresses"),
            "ranges": [[{"subnet": POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }},
    ]})
}

/// Starts the kubelet. The API server must be ready.
pub(crate) fn start_kubelet(site: &Site, setup: &Setup<'_>, network: &Network) -> Result<Process> {
    let name = site.kernel_name();
    cgroup::create(&name)?;
    let user = format!("system:node:{NODE}");
    setup
        .authority
        .issue(
            &user,
            Some("system:nodes"),
            &[NODE.to_owned(), network.node.to_string()],
        )?
        .write(&site.path("pki"), "kubelet")?;
    let kubeconfig = setup.kubeconfig("kubelet.kubeconfig", &user, Some("system:nodes"))?;
    let machine = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = name_servers(&machine).map(|server| format!("nameserver {server}\n"));
    write_file(&site.path("resolv.conf"), servers.collect::<String>())?;
    create_folder(&site.path("pod-logs"))?;
    forget_readiness(&setup.kubectl()?)?;
    let config = site.path("kubelet.json");
    write_file(&config, kubelet_config(site, network).to_string())?;
    setup.host.start(
        Program::new("kubelet", binaries::path("kubelet")?)
            .flag("--config", config)
            .flag("--kubeconfig", kubeconfig)
            .flag("--hostname-override", NODE)
            .flag("--node-ip", network.node.to_string())
            .flag("--root-dir", site.path("kubelet"))
            .flag("--cert-dir", site.path("pki")),
    )
}

/// What an earlier start's kubelet said of the node says nothing of this one's.
fn forget_readiness(kubectl: &Kubectl) -> Result<()> {
    if kubectl
        .run(&["get", "node", NODE, "--ignore-not-found", "-o", "name"])?
        .is_empty()
    {
        return Ok(());
    }
    let ready = json!({"type": "Ready", "status": "Unknown", "reason": "Restarted",
                       "message": "the testbed is being started again"});
    let patch = json!({"status": {"conditions": [ready]}}).to_string();
    kubectl
        .run(&[
            "patch",
            "node",
            NODE,
            "--subresource=status",
            "--type=strategic",
            "-p",
            &patch,
        ])
        .map(|_| ())
}

fn kubelet_config(site: &Site, network: &Network) -> serde_json::Value {
    let mut config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": site.path("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": site.path("pki/kubelet.crt"),
        "tlsPrivateKeyFile": site.path("pki/kubelet.key"),
        "containerRuntimeEndpoint": format!("unix://{}", socket(site).display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", site.kernel_name()),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": site.path("resolv.conf"),
        "podLogsDir": site.path("pod-logs"),
        "volumePluginDir": site.path("kubelet-plugins"),
        "maxPods": 250,
        "serializeImagePulls": false,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "eventRecordQPS": 0,
        "makeIPTablesUtilChains": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        // An image that was once pulled from a registry would be pulled anew under each other name, loaded or not.
        "imagePullCredentialsVerificationPolicy": "NeverVerify",
    });
    if cgroup::version() == cgroup::Version::V1 {
        config["failCgroupV1"] = false.into();
    }
    config
}

/// Starts kube-proxy.
pub(crate) fn start_kube_proxy(site: &Site, setup: &Setup<'_>, network: &Network) -> Result<Process> {
    let kubeconfig = setup.kubeconfig("kube-proxy.kubeconfig", "system:kube-proxy", None)?;
    let config = site.path("kube-proxy.json");
    let content = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": POD_RANGE,
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": NODE,
        "nodePortAddresses": [format!("{}/32", network.node)],
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "100ms"},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
    });
    write_file(&config, content.to_string())?;
    setup
        .host
        .start(Program::new("kube-proxy", binaries::path("kube-proxy")?).flag("--config", config))
}

/// The machine's name servers that a pod can ask: not those on loopback addresses.
pub(crate) fn name_servers(resolv_conf: &str) -> impl Iterator<Item = &str> {
    resolv_conf.lines().filter_map(|line| {
        let server = line.trim().strip_prefix("nameserver")?.trim();
        (!server.starts_with("127.") && server != "::1" && !server.is_empty()).then_some(server)
    })
}

/// The name servers that the cluster's DNS asks for names outside of it: none where it has no way out.
pub(crate) fn has_upstream(site: &Site, network: &Network) -> bool {
    network.kind == Kind::Machine
        && std::fs::read_to_string(site.path("resolv.conf")).is_ok_and(|text| !text.is_empty())
}

/// Waits until the node is Ready.
pub(crate) fn wait_until_ready(setup: &Setup<'_>, kubelet: &mut Process) -> Result<()> {
    let kubectl = setup.kubectl()?;
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    wait::served(
        kubelet,
        "wait for the node to be Ready",
        Duration::from_secs(120),
        || {
            let ready = kubectl.run(&["get", "node", NODE, "-o", path])?;
            ensure!(ready == "True", "the node's Ready is {ready:?}");
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site::new("unit", Path::new("/state")).unwrap()
    }

    #[test]
    fn containerd_keeps_to_its_own_folders() {
        let config: toml::Table = toml::from_str(&containerd_config(&site()).unwrap()).unwrap();
        assert_eq!(config["root"].as_str(), Some("/state/containerd"));
        assert_eq!(
            config["state"].as_str(),
            Some("/run/threeport-testbed/unit/containerd")
        );
        let cri = &config["plugins"]["io.containerd.grpc.v1.cri"];
        assert_eq!(cri["sandbox_image"].as_str(), Some(images::PAUSE));
        assert_eq!(cri["cni"]["conf_dir"].as_str(), Some("/state/cni"));
    }

    #[test]
    fn loopback_name_servers_are_left_out() {
        let text = "search example.com\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver ::1\n";
        assert_eq!(name_servers(text).collect::<Vec<_>>(), ["192.0.2.1"]);
    }
}
