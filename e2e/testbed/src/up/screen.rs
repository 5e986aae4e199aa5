//! What a person sees at the end.

use std::time::Duration;

use anyhow::Result;
use threeport_testbed::progress::human;

use crate::release::{NAMESPACE, RELEASE};
use crate::sample;
use crate::target::Target;
use crate::{Selection, Where};

/// Shows nodes, objects, the sample's URL and the next commands.
pub(crate) fn show(target: &Target, selection: &Selection, url: Option<&str>, took: Duration) -> Result<()> {
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
    for command in next(target, selection, url) {
        println!("  {command}");
    }
    Ok(())
}

fn next(target: &Target, selection: &Selection, url: Option<&str>) -> Vec<String> {
    let mut commands = vec![
        format!(". {}", relative(&target.path("env"))),
        "tptctl doctor".to_owned(),
        format!("kubectl -n {NAMESPACE} describe -f {}", relative(&sample::file())),
        format!("helm test -n {NAMESPACE} {RELEASE}"),
    ];
    commands.extend(url.map(|url| format!("curl {url}")));
    commands.push(down(selection));
    commands
}

/// `make down` is for what `make up` made; another testbed was made by this program itself.
fn down(selection: &Selection) -> String {
    let other = selection.testbed.arguments();
    match selection.cluster {
        Where::Current => "make down CLUSTER=current".to_owned(),
        Where::Testbed if other.is_empty() => "make down".to_owned(),
        Where::Testbed => format!("threeport-up down {}", other.join(" ")),
    }
}

fn relative(path: &std::path::Path) -> String {
    let folder = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}
