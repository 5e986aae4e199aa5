//! tptctl: Threeport from a shell. The same program is `kubectl threeport`.
//!
//! - [`arguments`]: what can be typed. Global flags, and a file of [`commands`] per command with its own flags.
//! - [`connect`]: where the API is: `--server`, a context of the configuration file, else a port-forward through the
//!   kubeconfig.
//! - [`selection`], [`input`]: which objects are meant: words (`tpwi web`, `workloadinstance/web`) and files.
//! - [`wait`]: until a condition holds for the generation that was meant, or an object is gone.
//! - [`output`], [`progress`], [`describe`]: data goes to standard output, everything else to standard error.
//! - [`exit`]: what the exit code says.
//!
//! The CLI decides nothing that the API decides: it sends what was written and prints what was answered.

pub mod arguments;
pub mod commands;
pub mod connect;
pub mod describe;
pub mod exit;
pub mod input;
pub mod output;
pub mod progress;
pub mod selection;
pub mod style;
pub mod wait;

use std::{process::ExitCode, sync::OnceLock};

use clap::{CommandFactory, FromArgMatches};

use crate::{arguments::Arguments, exit::Exit};

static NAME: OnceLock<&'static str> = OnceLock::new();

/// The name that the program was called by: who has it as a plugin of kubectl need not have the other.
pub fn name() -> &'static str {
    NAME.get_or_init(|| "tptctl")
}

/// Runs the command line under the name that it was called by.
pub fn run(name: &'static str) -> ExitCode {
    let _ = NAME.set(name);
    // A log is for who asks for one; errors are told by `exit`.
    if std::env::var_os("RUST_LOG").is_some() {
        threeport_telemetry::init();
    } else {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let command = Arguments::command().name(name).bin_name(name);
    let parsed = command.try_get_matches().and_then(|matches| {
        let mut arguments = Arguments::from_arg_matches(&matches)?;
        arguments.connection.prefer_command_line(&matches);
        Ok(arguments)
    });
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // Not clap's own 2, which means differences here.
            return if error.use_stderr() {
                Exit::Error.into()
            } else {
                Exit::Ok.into()
            };
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(arguments, name)),
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|error| exit::report(&error)).into()
}
