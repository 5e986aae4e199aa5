//! What a person sees at the end.

use std::time::Duration;

use anyhow::Result;
use threeport_testbed::progress::human;

use crate::release::{NAMESPACE, RELEASE};
use crate::sample;
use crate::target::Target;

/// Shows nodes, objects, the sample's URL and the next commands.
pub(crate) fn show(target: &Target, url: Option<&str>, took: Duration) -> Result<()> {
    println!(
        "\n$ kubectl get nodes\n{}",
        target.run_kubectl(&["get", "nodes"])?
    );
    println!(
        "$ kubectl get threeport -A\n{}",
        target.run_kubectl(&["get", "threeport", "--all-namespaces"])?
    );
    if let Some(url) = url {
        println!("The sample answers at {url}\n");
    }
    println!("Up in {}. Next:\n", human(took));
    for command in next(target, url) {
        println!("  {command}");
    }
    Ok(())
}

fn next(target: &Target, url: Option<&str>) -> Vec<String> {
    let environment = target.path("env");
    let folder = std::env::current_dir().unwrap_or_default();
    let environment = environment.strip_prefix(folder).unwrap_or(&environment);
    let mut commands = vec![
        format!(". {}", environment.display()),
        "tptctl doctor".to_owned(),
        format!("kubectl -n {NAMESPACE} describe -f {}", relative(&sample::file())),
        format!("helm test -n {NAMESPACE} {RELEASE}"),
    ];
    commands.extend(url.map(|url| format!("curl {url}")));
    let down = if target.cluster().is_some() {
        "make down"
    } else {
        "make down CLUSTER=current"
    };
    commands.push(down.to_owned());
    commands
}

fn relative(path: &std::path::Path) -> String {
    let folder = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}
