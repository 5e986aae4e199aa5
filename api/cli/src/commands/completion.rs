//! `tptctl completion`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Session;
use crate::{arguments::Arguments, exit::Exit, output};

/// Print a completion script, as in: source <(tptctl completion bash)
#[derive(Args, Debug)]
pub struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<Exit> {
        // kubectl completes its plugins itself: a script is for the name that a shell knows.
        let name = if session.name.contains(' ') {
            "kubectl-threeport"
        } else {
            session.name
        };
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), name, &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Ok)
    }
}
