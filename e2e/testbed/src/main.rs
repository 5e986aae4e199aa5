//! `testbed`: a real one-node Kubernetes for people, and the tools around it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use threeport_testbed::cluster::down;
use threeport_testbed::{
    Cluster, ClusterOptions, ControlPlane, ControlPlaneOptions, Postgres, PostgresOptions,
    SHARED_CONTROL_PLANE, Selection, binaries, images, install, preflight, progress,
};

/// A real one-node Kubernetes on this machine, from package registries alone.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Look at what must hold before a testbed starts, and say how long it will take.
    Check(Selection),
    /// Install the Debian packages that are missing.
    Install,
    /// Build the pinned components that the cache does not have.
    Build,
    /// Start a testbed, or repair one that is half up.
    Up {
        #[command(flatten)]
        selection: Selection,
        /// The controller manager's client limit, in requests per second.
        #[arg(long, default_value_t = 200)]
        controller_requests_per_second: u32,
    },
    /// Stop a testbed and remove all that it made.
    Down(Selection),
    /// Say whether a testbed is up.
    Status(Selection),
    /// Run a command in a testbed's network, with KUBECONFIG and PATH set.
    Exec {
        #[command(flatten)]
        selection: Selection,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run a command with a PostgreSQL of its own.
    #[command(subcommand)]
    Postgres(PostgresAction),
    /// Run a command with a bare control plane: an API server and its controllers, without a node.
    #[command(subcommand)]
    ControlPlane(ControlPlaneAction),
    /// Build and load container images.
    #[command(subcommand)]
    Image(ImageAction),
}

#[derive(Subcommand)]
enum PostgresAction {
    /// Start a server with an empty folder and without fsync, run the command with its URL in
    /// THREEPORT_TEST_DATABASES (postgresql=URL, of a role that may create databases), stop the server.
    Run {
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Subcommand)]
enum ControlPlaneAction {
    /// Start it, run the command with its folder in THREEPORT_TEST_CONTROL_PLANE, where tests that can share one find
    /// it, and stop it.
    Run {
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Subcommand)]
enum ImageAction {
    /// Build an OCI archive from a Dockerfile that only copies.
    Build {
        /// The image's full reference, e.g. localhost/sample:1.
        #[arg(long, short)]
        tag: String,
        /// The Dockerfile.
        #[arg(long, short)]
        file: PathBuf,
        /// A value of an ARG; BASE is `cc` unless given.
        #[arg(long, value_name = "NAME=VALUE")]
        build_arg: Vec<String>,
        /// The archive to write.
        #[arg(long, short)]
        output: PathBuf,
        /// The folder that COPY copies from.
        context: PathBuf,
    },
    /// Import OCI archives into a testbed's node.
    Load {
        #[command(flatten)]
        selection: Selection,
        /// The archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<ExitCode> {
    match action {
        Action::Check(selection) => {
            let options = selection.options()?;
            let findings = preflight::check(&options.site()?, options.network, &[]);
            preflight::print(&findings)?;
            preflight::require(&findings)?;
            eprintln!(
                "A testbed will be up in about {}",
                progress::human(preflight::duration()?)
            );
        }
        Action::Install => install::install()?,
        Action::Build => {
            binaries::all()?;
        }
        Action::Up {
            selection,
            controller_requests_per_second,
        } => {
            up(&ClusterOptions {
                controller_requests_per_second,
                ..selection.options()?
            })?;
        }
        Action::Down(selection) => {
            let site = selection.site()?;
            let what = format!("Take down the testbed {:?}", site.name);
            progress::step(&what, Duration::from_secs(3), || down(&site))?;
        }
        Action::Status(selection) => {
            let cluster = Cluster::attach(&selection.site()?)?;
            cluster.check()?;
            println!(
                "up: API https://{}:6443, {}",
                cluster.node_address(),
                cluster.site().state.display()
            );
        }
        Action::Exec { selection, command } => return exec(&selection, &command),
        Action::Postgres(PostgresAction::Run { command }) => return run_with_postgres(&command),
        Action::ControlPlane(ControlPlaneAction::Run { command }) => return run_with_control_plane(&command),
        Action::Image(action) => image(action)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(options: &ClusterOptions) -> Result<()> {
    let site = options.site()?;
    if let Ok(cluster) = Cluster::attach(&site)
        && cluster.check().is_ok()
    {
        eprintln!("The testbed {:?} is up already", site.name);
        return Ok(());
    }
    install::install()?;
    binaries::of_every_testbed()?;
    let what = format!("Start the testbed {:?}", site.name);
    progress::step(&what, preflight::START, || Cluster::start(options))?;
    println!("up: {}; use it with: . {}", site.name, site.path("env").display());
    Ok(())
}

fn exec(selection: &Selection, command: &[String]) -> Result<ExitCode> {
    let cluster = Cluster::attach(&selection.site()?)?;
    let (program, arguments) = command.split_first().context("no command")?;
    exit_code_of(cluster.command(program).args(arguments))
}

fn run_with_postgres(command: &[String]) -> Result<ExitCode> {
    let server = Postgres::start(&PostgresOptions::default())?;
    let mut databases = format!("postgresql={}", server.url("postgres"));
    if let Ok(more) = std::env::var("THREEPORT_TEST_DATABASES")
        && !more.is_empty()
    {
        databases = format!("{databases},{more}");
    }
    run_with(command, "THREEPORT_TEST_DATABASES", databases)
}

fn run_with_control_plane(command: &[String]) -> Result<ExitCode> {
    let control_plane = ControlPlane::start(&ControlPlaneOptions {
        controller_manager: true,
        ..ControlPlaneOptions::default()
    })?;
    run_with(command, SHARED_CONTROL_PLANE, control_plane.files().folder())
}

/// Runs a command with a variable more.
fn run_with(command: &[String], name: &str, value: impl AsRef<OsStr>) -> Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command")?;
    exit_code_of(Command::new(program).args(arguments).env(name, value))
}

fn exit_code_of(command: &mut Command) -> Result<ExitCode> {
    let program = command.get_program().to_owned();
    let status = command
        .status()
        .with_context(|| format!("failed to run {}", program.display()))?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}

fn image(action: ImageAction) -> Result<()> {
    match action {
        ImageAction::Build {
            tag,
            file,
            build_arg,
            output,
            context,
        } => {
            let mut arguments = vec![("BASE".to_owned(), "cc".to_owned())];
            for argument in build_arg {
                match argument.split_once('=') {
                    Some((name, value)) => arguments.push((name.to_owned(), value.to_owned())),
                    None => bail!("--build-arg {argument:?} is not NAME=VALUE"),
                }
            }
            images::build(&file, &context, &arguments)?.write(&output, &tag)
        }
        ImageAction::Load { selection, archives } => {
            let cluster = Cluster::attach(&selection.site()?)?;
            archives
                .iter()
                .try_for_each(|archive| cluster.load_image(archive))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
