//! What can be typed: global flags here, each command's own in its file of [`crate::commands`].

use std::{path::PathBuf, time::Duration};

use clap::{
    ArgMatches, Args, Parser, Subcommand,
    builder::{OsStringValueParser, TypedValueParser},
    parser::ValueSource,
};

use crate::{commands, exit};

/// Threeport from a shell. Data goes to standard output, progress and errors to standard error.
#[derive(Parser, Debug)]
#[command(version, after_help = exit::HELP, max_term_width = 110, arg_required_else_help = true)]
pub struct Arguments {
    /// How to reach the API
    #[command(flatten)]
    pub connection: Connection,
    /// No progress
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach the API. Without a server (flag, environment or context) it is reached through the kubeconfig: by a
/// port-forward to the control plane in the namespace, with the token and CA that the install left there.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Connection {
    /// Address of the API, as in https://localhost:8443; without one: port-forward through the kubeconfig
    #[arg(
        long,
        global = true,
        env = "THREEPORT_SERVER",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub server: Option<String>,
    /// PEM file with the control plane's CA
    #[arg(
        long,
        global = true,
        env = "THREEPORT_CA_FILE",
        value_parser = path(),
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub ca: Option<PathBuf>,
    /// File with the bearer token
    #[arg(
        long,
        global = true,
        env = "THREEPORT_TOKEN_FILE",
        value_parser = path(),
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// Namespace of the control plane [default: threeport-system]
    #[arg(
        long,
        short,
        global = true,
        env = "THREEPORT_NAMESPACE",
        hide_env_values = true
    )]
    pub namespace: Option<String>,
    /// Kubeconfig for the port-forward and for doctor [default: as kubectl]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub kube_context: Option<String>,
    /// Context of the configuration file [default: its `current`]
    #[arg(
        long,
        global = true,
        env = "THREEPORT_CONTEXT",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub context: Option<String>,
    /// Configuration file with contexts [default: ~/.config/threeport/config.yaml]
    #[arg(
        long,
        global = true,
        env = "THREEPORT_CONFIG",
        value_parser = path(),
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,
    /// Whether the place in Kubernetes was typed, and neither --server nor --context: that is the control plane that is
    /// meant.
    #[arg(skip)]
    pub is_placed: bool,
}

impl Connection {
    /// A control plane that was named on the command line goes before one that the environment or the configuration file's
    /// `current` names, or `tptctl -n other` in a shell that was prepared for one control plane would change that one. A
    /// context is one as a whole: the environment's namespace is that of another.
    pub fn prefer_command_line(&mut self, matches: &ArgMatches) {
        let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let inherited = |id: &str| matches.value_source(id) == Some(ValueSource::EnvVariable);
        // As if it were not set: CI hands on what somebody left out so, and `THREEPORT_SERVER= tptctl` means it.
        for (id, value) in [
            ("server", &mut self.server),
            ("namespace", &mut self.namespace),
            ("context", &mut self.context),
        ] {
            value.take_if(|value| inherited(id) && value.is_empty());
        }
        for (id, value) in [
            ("ca", &mut self.ca),
            ("token_file", &mut self.token_file),
            ("config", &mut self.config),
        ] {
            value.take_if(|value| inherited(id) && value.as_os_str().is_empty());
        }
        if typed("server") {
            return;
        }
        let place = ["kube_context", "kubeconfig", "namespace"].into_iter().any(typed);
        self.is_placed = place && !typed("context");
        if self.is_placed && inherited("context") {
            self.context = None;
        }
        if typed("context") && inherited("namespace") {
            self.namespace = None;
        }
        if place || typed("context") {
            if inherited("server") {
                self.server = None;
            }
            if inherited("ca") {
                self.ca = None;
            }
            if inherited("token_file") {
                self.token_file = None;
            }
        }
    }
}

/// What to do.
#[derive(Subcommand, Debug)]
#[expect(missing_docs, reason = "each is documented at its type")]
pub enum Command {
    Get(commands::get::Get),
    Describe(commands::describe::Describe),
    Apply(commands::apply::Apply),
    Diff(commands::diff::Diff),
    Delete(commands::delete::Delete),
    Run(commands::run::Run),
    Wait(commands::wait::Wait),
    TakeOver(commands::take_over::TakeOver),
    Events(commands::events::Events),
    History(commands::history::History),
    Resources(commands::resources::Resources),
    Operations(commands::operations::Operations),
    Whoami(commands::whoami::Whoami),
    Doctor(commands::doctor::Doctor),
    Completion(commands::completion::Completion),
}

/// Files, folders, standard input.
#[derive(Args, Clone, Debug, Default)]
pub struct Files {
    /// File, folder or - (standard input); may be given several times
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Folders with their folders
    #[arg(long, short = 'R')]
    pub recursive: bool,
}

/// A file, and also none: a variable may be empty.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A time-out in Go's form.
pub fn duration(text: &str) -> Result<Duration, String> {
    threeport_model::duration::parse(text)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    fn server(line: &[&str]) -> Option<String> {
        // As if the environment had named one.
        let command = Arguments::command().mut_arg("server", |argument| argument.env("CARGO_PKG_NAME"));
        let matches = command.try_get_matches_from(line).unwrap();
        let mut arguments = Arguments::from_arg_matches(&matches).unwrap();
        arguments.connection.prefer_command_line(&matches);
        arguments.connection.server
    }

    #[test]
    fn a_control_plane_that_is_typed_goes_before_one_of_the_environment() {
        let inherited = Some(env!("CARGO_PKG_NAME").to_owned());
        assert_eq!(server(&["tptctl", "get", "all"]), inherited);
        for line in [
            ["tptctl", "get", "all", "-n", "other"],
            ["tptctl", "--namespace", "other", "get", "all"],
            ["tptctl", "get", "all", "--context", "other"],
            ["tptctl", "--kube-context", "other", "get", "all"],
            ["tptctl", "get", "all", "--kubeconfig", "other"],
        ] {
            assert_eq!(server(&line), None, "{line:?}");
        }
        let both = ["tptctl", "-n", "other", "--server", "https://there", "get", "all"];
        assert_eq!(server(&both).as_deref(), Some("https://there"));
    }
}
