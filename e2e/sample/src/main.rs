//! The small program that the sample's images run: a service that says who it is, a job, a failure, and a client to
//! ask services from inside of a cluster.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// How long answers that are under way may take after SIGTERM.
const DRAIN: Duration = Duration::from_secs(3);
/// How long `get` asks a URL again before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Answer HTTP until SIGTERM.
    Serve(Service),
    /// Print the name and succeed.
    Job(Service),
    /// Print the name and fail.
    Fail(Service),
    /// Print what URLs answer (http only), one line each; fail if one does not answer with 200 within ten seconds.
    Get {
        /// The URLs.
        #[arg(required = true)]
        urls: Vec<String>,
    },
}

#[derive(Args)]
struct Service {
    /// What the service calls itself.
    #[arg(long, env = "NAME")]
    name: String,
    /// The value of its configuration.
    #[arg(long, env = "VALUE", conflicts_with = "value_file")]
    value: Option<String>,
    /// A file that holds the value, read for each answer.
    #[arg(long, env = "VALUE_FILE")]
    value_file: Option<PathBuf>,
    /// The version that the image reports.
    #[arg(long, env = "VERSION", default_value = "0")]
    version: String,
    /// The port to answer on.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
}

impl Service {
    /// `name=NAME value=VALUE version=VERSION`.
    fn describe(&self) -> Result<String> {
        let value = match &self.value_file {
            Some(file) => std::fs::read_to_string(file)
                .map(|text| text.trim().to_owned())
                .with_context(|| format!("failed to read {}", file.display()))?,
            None => self.value.clone().unwrap_or_default(),
        };
        Ok(format!(
            "name={} value={value} version={}",
            self.name, self.version
        ))
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().mode) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sample: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: Mode) -> Result<ExitCode> {
    match mode {
        Mode::Serve(service) => serve(service)?,
        Mode::Job(service) => println!("{}", service.describe()?),
        Mode::Fail(service) => {
            println!("{}", service.describe()?);
            return Ok(ExitCode::FAILURE);
        }
        Mode::Get { urls } => return Ok(get_all(&urls)),
    }
    Ok(ExitCode::SUCCESS)
}

#[tokio::main(flavor = "current_thread")]
async fn serve(service: Service) -> Result<()> {
    // As the first process of a container it is stopped by no signal that it does not handle.
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let address = (Ipv4Addr::UNSPECIFIED, service.port);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .context("failed to listen")?;
    let (stop, stopped) = tokio::sync::watch::channel(());
    let mut draining = stopped.clone();
    let router = router(Arc::new(service));
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        // Ends with the sender, too.
        let _ = draining.changed().await;
    });
    let server = tokio::spawn(server.into_future());
    terminate.recv().await;
    drop(stop);
    match tokio::time::timeout(DRAIN, server).await {
        Ok(ended) => ended.context("the server panicked")?.context("failed to serve"),
        Err(_) => Ok(()),
    }
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/", get(answer))
        .with_state(service)
}

async fn answer(State(service): State<Arc<Service>>) -> Result<String, (StatusCode, String)> {
    match service.describe() {
        Ok(description) => Ok(format!("{description}\n")),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n"))),
    }
}

/// Asks each URL until it answers with 200; prints `URL -> STATUS BODY`, or what went wrong last.
fn get_all(urls: &[String]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for url in urls {
        let started = Instant::now();
        let answer = loop {
            match fetch(url) {
                Ok((200, body)) => break format!("200 {body}"),
                _ if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(100)),
                last => {
                    code = ExitCode::FAILURE;
                    break match last {
                        Ok((status, body)) => format!("{status} {body}"),
                        Err(error) => format!("{error:#}"),
                    };
                }
            }
        };
        println!("{url} -> {}", answer.trim_end());
    }
    code
}

/// The status and the body that a URL answers with, by the system's name resolution: what a pod sees.
fn fetch(url: &str) -> Result<(u16, String)> {
    let rest = url.strip_prefix("http://").context("only http:// is supported")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let target = if authority.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let address = target
        .to_socket_addrs()
        .context("failed to resolve")?
        .next()
        .context("no address")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE / 2).context("failed to connect")?;
    stream
        .set_read_timeout(Some(PATIENCE / 2))
        .context("failed to set a time-out")?;
    write!(
        stream,
        "GET /{path} HTTP/1.0\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    )
    .context("failed to ask")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("failed to read the answer")?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no end of its head")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("no status")?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(value: Option<&str>, value_file: Option<PathBuf>) -> Service {
        Service {
            name: "web".into(),
            value: value.map(str::to_owned),
            value_file,
            version: "1".into(),
            port: 0,
        }
    }

    #[tokio::test]
    async fn answers_with_its_name_value_and_version() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, router(Arc::new(service(Some("blue"), None)))).into_future());
        let ask = move |path: &str| {
            let url = format!("http://{address}{path}");
            tokio::task::spawn_blocking(move || fetch(&url).unwrap())
        };
        assert_eq!(
            ask("/").await.unwrap(),
            (200, "name=web value=blue version=1\n".to_owned())
        );
        assert_eq!(ask("/missing").await.unwrap().0, 404);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = service(None, Some("/no/such/file".into()))
            .describe()
            .unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/file"));
    }
}
