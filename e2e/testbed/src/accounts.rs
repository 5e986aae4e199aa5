//! The chart's accounts and rights for a control plane whose parts are processes of this machine: by the chart's own
//! templates, what proves a process to be one of them, and what the parts are told of that.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::json;

use crate::paths::{project, write_file};
use crate::process::output;

/// What accounts and rights are made of.
const TEMPLATES: [&str; 6] = [
    "service-accounts",
    "api/rbac",
    "facade/rbac",
    "controllers/rbac",
    "agent/rbac",
    "workloads/rbac",
];
/// The accounts that a process is, without the release's name.
const ACCOUNTS: [&str; 4] = ["api", "facade", "controllers", "agent"];

/// Whose accounts they are.
#[derive(Clone, Copy, Debug)]
pub struct Accounts<'a> {
    /// The name of the chart's release.
    pub release: &'a str,
    /// The control plane's namespace.
    pub namespace: &'a str,
    /// How long a token lasts, as in `12h`.
    pub lifetime: &'a str,
}

impl Accounts<'_> {
    /// The namespace, the accounts and their rights, as manifests.
    pub fn manifests(&self, mut helm: Command) -> Result<String> {
        helm.args(["template", self.release, "--namespace", self.namespace]);
        for template in TEMPLATES {
            helm.args(["--show-only", &format!("templates/{template}.yaml")]);
        }
        let rendered = output(helm.arg(project().join("helm/threeport")))?;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        Ok(format!("{namespace}\n---\n{rendered}"))
    }

    /// Tokens for the API and for Kubernetes, and a kubeconfig that reads the latter from its file, each in a file of the
    /// folder. `kubectl` runs it for the cluster.
    pub fn write_credentials(
        &self,
        folder: &Path,
        kubectl: impl Fn(&[&str]) -> Result<String>,
    ) -> Result<()> {
        let of_cluster = |field: &str| {
            let output = format!("--output=jsonpath={{.clusters[0].cluster.{field}}}");
            kubectl(&["config", "view", "--raw", &output])
        };
        let (server, authority) = (of_cluster("server")?, of_cluster("certificate-authority-data")?);
        let (cluster, namespace) = (self.release, self.namespace);
        for account in ACCOUNTS {
            let name = format!("{}-{account}", self.release);
            let create = |audience: &[&str]| {
                let common = [
                    "create",
                    "token",
                    &name,
                    "--namespace",
                    namespace,
                    "--duration",
                    self.lifetime,
                ];
                kubectl(&[common.as_slice(), audience].concat())
            };
            let of_api = create(&["--audience=threeport"])?;
            write_file(&folder.join(format!("{account}.token")), of_api.trim())?;
            let token = folder.join(format!("{account}.kubernetes-token"));
            write_file(&token, create(&[])?.trim())?;
            let context = json!({"cluster": cluster, "user": account, "namespace": namespace});
            let config = json!({
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": cluster,
                "contexts": [{"name": cluster, "context": context}],
                "clusters": [{"name": cluster, "cluster": {
                    "server": server, "certificate-authority-data": authority,
                }}],
                "users": [{"name": account, "user": {"tokenFile": token}}],
            });
            write_file(&folder.join(format!("{account}.kubeconfig")), config.to_string())?;
        }
        Ok(())
    }

    /// What the API is told of itself, and of whom it is to believe: keys, certificates and credentials are the folder's.
    pub fn api_flags(&self, folder: &Path) -> Vec<String> {
        let account = |name: &str| format!("--{name}-account={}/{}-{name}", self.namespace, self.release);
        vec![
            file("tls-certificate", folder, "api.crt"),
            file("tls-key", folder, "api.key"),
            file("encryption-key-file", folder, "encryption-key"),
            file("admin-token-file", folder, "admin-token"),
            format!("--control-plane-name={}", self.release),
            format!("--namespace={}", self.namespace),
            "--kubernetes-authentication".to_owned(),
            file("kubeconfig", folder, "api.kubeconfig"),
            account("facade"),
            account("controllers"),
            account("agent"),
            account("workloads"),
        ]
    }
}

/// How a part that calls the API at `url` knows it and proves to be `account`: by what is in the folder.
pub fn client_flags(folder: &Path, account: &str, url: &str) -> Vec<String> {
    vec![
        format!("--api-url={url}"),
        file("api-ca", folder, "ca.crt"),
        file("token-file", folder, &format!("{account}.token")),
        file("kubeconfig", folder, &format!("{account}.kubeconfig")),
    ]
}

fn file(flag: &str, folder: &Path, name: &str) -> String {
    format!("--{flag}={}", folder.join(name).display())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use serde_json::Value;

    use super::*;

    /// Says what it was asked.
    fn kubectl(arguments: &[&str]) -> Result<String> {
        Ok(format!("{}\n", arguments.join(" ")))
    }

    #[test]
    fn each_account_has_its_tokens_and_a_kubeconfig_that_reads_one_and_nobody_else_may() {
        let folder = tempfile::tempdir().unwrap();
        let accounts = Accounts {
            release: "r",
            namespace: "n",
            lifetime: "1h",
        };
        accounts.write_credentials(folder.path(), kubectl).unwrap();
        for account in ACCOUNTS {
            let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
            let token = format!("create token r-{account} --namespace n --duration 1h");
            assert_eq!(
                read(&format!("{account}.token")),
                format!("{token} --audience=threeport")
            );
            let config: Value = serde_json::from_str(&read(&format!("{account}.kubeconfig"))).unwrap();
            let file = config["users"][0]["user"]["tokenFile"].as_str().unwrap();
            assert_eq!(fs::read_to_string(file).unwrap(), token);
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o077, 0);
        }
    }
}
