//! The operator's flags, each also an environment variable. Credentials come from files only.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use threeport_model::selector::LabelSelector;
use threeport_nats::Nats;

/// Mirrors objects as custom resources, brings custom resources to the API, and makes the world match.
#[derive(Parser)]
#[command(
    name = "threeport-operator",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Option<Serve>,
    // Not within what serves: clap takes that for absent where it has a part of its own.
    #[command(flatten)]
    pub(crate) nats: Nats,
}

/// What else it does.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Take our finalizers off the custom resources of a namespace, so that nothing waits for an operator that goes
    StripFinalizers(Strip),
}

#[derive(Args)]
pub(crate) struct Strip {
    /// The namespace
    #[arg(long, env = "THREEPORT_NAMESPACE")]
    pub(crate) namespace: String,
    /// The facade's Deployment, which is to go: scaled to nothing first; after it mirrors go, and the namespace's label
    #[arg(long)]
    pub(crate) deployment: Option<String>,
    /// Kubeconfig; the cluster that this process runs in where absent
    #[arg(long, env = "THREEPORT_KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// Which parts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// kubectl's way in and out
    Facade,
    /// What makes the world match
    Controllers,
    /// Both
    All,
}

#[derive(Args)]
pub(crate) struct Serve {
    /// Which parts run
    #[arg(long, env = "THREEPORT_ROLE", value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,
    /// Address of the control plane's API
    #[arg(long, env = "THREEPORT_API_URL")]
    pub(crate) api_url: String,
    /// PEM file with the control plane's CA; the system's CAs where absent
    #[arg(long, env = "THREEPORT_API_CA")]
    pub(crate) api_ca: Option<PathBuf>,
    /// File with the bearer token; read again when it changes
    #[arg(long, env = "THREEPORT_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The control plane's namespace: where custom resources are served
    #[arg(long, env = "THREEPORT_NAMESPACE", default_value = "threeport-system")]
    pub(crate) namespace: String,
    /// Which objects are mirrored, by their labels, as in `team=web,tier!=test,env in (a,b)`
    #[arg(long, env = "THREEPORT_MIRROR_SELECTOR", default_value = "")]
    pub(crate) mirror_selector: LabelSelector,
    /// Where /healthz, /readyz and /metrics are served, in plain HTTP
    #[arg(long, env = "THREEPORT_PROBES_LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) probes_listen: SocketAddr,
    /// Kubeconfig; the cluster that this process runs in where absent
    #[arg(long, env = "THREEPORT_KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How often controllers look for work without being told, as in `15s`
    #[arg(long, env = "THREEPORT_SWEEP_INTERVAL", default_value = "15s", value_parser = duration)]
    pub(crate) sweep_interval: Duration,
    /// The most objects that a domain's controllers work on at once
    #[arg(long, env = "THREEPORT_CONCURRENCY", default_value_t = 16)]
    pub(crate) concurrency: usize,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = threeport_model::duration::parse(text)?;
    if duration.is_zero() {
        Err("must be longer than nothing".to_owned())
    } else {
        Ok(duration)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_chart_s_arguments_are_understood() {
        let parse = |arguments: &[&str]| Arguments::try_parse_from(arguments.iter().copied());
        let role = [
            "threeport-operator",
            "--role=facade",
            "--api-url=https://api",
            "--nats-url=tls://nats",
            "--sweep-interval=10m",
        ];
        let arguments = parse(&role).unwrap();
        assert_eq!(arguments.nats.nats_url.as_deref(), Some("tls://nats"));
        let serve = arguments.serve.unwrap();
        assert_eq!(serve.role, Role::Facade);
        assert_eq!(serve.sweep_interval, Duration::from_secs(600));
        let strip = [
            "threeport-operator",
            "strip-finalizers",
            "--namespace=x",
            "--deployment=x-facade",
        ];
        assert!(matches!(
            parse(&strip).unwrap().command,
            Some(Command::StripFinalizers(_))
        ));
        assert!(
            parse(&["threeport-operator", "--role=facade"]).is_err(),
            "it needs the API's address"
        );
        assert!(parse(&["threeport-operator", "--sweep-interval=0s", "--api-url=x"]).is_err());
    }

    #[test]
    fn what_is_mirrored_is_selected_as_the_api_selects() {
        let parse = |selector: &str| {
            let selector = format!("--mirror-selector={selector}");
            let arguments = ["threeport-operator", "--api-url=x", &selector];
            let serve = Arguments::try_parse_from(arguments).map(|arguments| arguments.serve.unwrap());
            serve.map(|serve| serve.mirror_selector)
        };
        let matches = |selector: &str, env: &str| {
            let labels = BTreeMap::from([("env".to_owned(), env.to_owned())]);
            parse(selector).unwrap().matches(&labels)
        };
        assert!(matches("", "c"));
        let some = "env in (a,b),tier notin (test,trial)";
        assert!(matches(some, "b") && !matches(some, "c"));
        for wrong in ["env in (a b)", "env=a/b"] {
            let said = parse(wrong).unwrap_err().to_string();
            assert!(said.contains("--mirror-selector"), "{said}");
        }
    }
}
