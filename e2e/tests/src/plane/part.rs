//! The four parts of a control plane, and how each is started.

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use threeport_testbed::{
    accounts::client_flags,
    process::{Process, Program},
    wait,
};

use super::{DATABASE, NAMESPACE, Plane, accounts::ACCOUNTS};
use crate::programs;

const DEADLINE: Duration = Duration::from_secs(30);

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `threeport-api serve`
    Api,
    /// `threeport-operator --role facade`
    Facade,
    /// `threeport-operator --role controllers`
    Controllers,
    /// A second replica of the controllers.
    SecondControllers,
    /// `threeport-agent`
    Agent,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Api => "api",
            Self::Facade => "facade",
            Self::Controllers => "controllers",
            Self::SecondControllers => "second-controllers",
            Self::Agent => "agent",
        })
    }
}

impl Part {
    /// What a control plane is made of, in the order in which it is started.
    pub const ALL: [Self; 4] = [Self::Api, Self::Facade, Self::Controllers, Self::Agent];

    /// The program that it is a process of.
    pub fn program_name(self) -> &'static str {
        match self {
            Self::Api => "threeport-api",
            Self::Facade | Self::Controllers | Self::SecondControllers => "threeport-operator",
            Self::Agent => "threeport-agent",
        }
    }

    /// The account that it is, without the release's name.
    pub(super) fn account(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Facade => "facade",
            Self::Controllers | Self::SecondControllers => "controllers",
            Self::Agent => "agent",
        }
    }

    pub(super) fn program(self, name: &str, plane: &Plane) -> Result<Program> {
        let mut program = Program::new(name, programs::path(self.program_name())?)
            .flag("--probes-listen", plane.address(self)?.to_string());
        program.env.push(("RUST_LOG".to_owned(), level()));
        Ok(match self {
            Self::Api => api(program, plane),
            Self::Facade => operator(program, plane, "facade"),
            Self::Controllers | Self::SecondControllers => operator(program, plane, "controllers"),
            Self::Agent => client(program, plane, "agent"),
        })
    }
}

fn level() -> std::ffi::OsString {
    std::env::var_os("THREEPORT_TEST_LOG").unwrap_or_else(|| "info".into())
}

fn api(mut program: Program, plane: &Plane) -> Program {
    program.args.insert(0, "serve".into());
    program.env.push((
        "THREEPORT_DATABASE_URL".to_owned(),
        plane.postgres.url(DATABASE).into(),
    ));
    program
        .flag("--listen", plane.listen.to_string())
        .args(ACCOUNTS.api_flags(plane.folder.path()))
        .flag("--nats-url", plane.nats.url())
}

fn operator(program: Program, plane: &Plane, role: &str) -> Program {
    client(program, plane, role)
        .flag("--role", role)
        .flag("--namespace", NAMESPACE)
        .flag("--nats-url", plane.nats.url())
}

fn client(program: Program, plane: &Plane, account: &str) -> Program {
    program.args(client_flags(plane.folder.path(), account, plane.api.url()))
}

/// Waits until the part says that it is ready.
pub(super) fn wait(process: &mut Process, address: SocketAddr) -> Result<()> {
    let what = format!("wait for {}", process.name());
    wait::served(process, &what, DEADLINE, || is_ready(address))
}

/// Fails while the part does not say that it is ready.
pub(super) fn is_ready(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}
