//! The servers that tests start: they answer, they come back after a stop, and they are gone after a drop.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to clippy")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use threeport_testbed::images;
use threeport_testbed::nats::Authentication;
use threeport_testbed::process::output;
use threeport_testbed::{
    ControlPlane, ControlPlaneOptions, Nats, NatsOptions, Postgres, PostgresOptions, Registry, wait,
};

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

fn process_exists(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

#[test]
fn testbed_control_planes_run_side_by_side_and_end_with_their_owner() {
    let mut first = ControlPlane::start(&ControlPlaneOptions::default()).unwrap();
    let second = ControlPlane::start(&ControlPlaneOptions {
        controller_manager: true,
        ..Default::default()
    })
    .unwrap();
    assert_ne!(first.url(), second.url());

    second
        .kubectl()
        .unwrap()
        .run(&["create", "configmap", "only-here", "-n", "default"])
        .unwrap();
    let audit = std::fs::read_to_string(second.audit_log()).unwrap();
    assert!(
        audit.contains("\"name\":\"only-here\""),
        "the audit log is written before the answer"
    );
    assert!(
        !std::fs::read_to_string(first.audit_log())
            .unwrap()
            .contains("only-here")
    );
    // A token request answered and reviewed: what in-cluster callers authenticate by.
    let token = second
        .kubectl()
        .unwrap()
        .run(&["create", "token", "default", "-n", "default"])
        .unwrap();
    let whoami = second
        .kubectl()
        .unwrap()
        .command()
        .env("KUBECONFIG", "/dev/null")
        .args([
            "--server",
            second.url(),
            "--insecure-skip-tls-verify",
            "auth",
            "whoami",
        ])
        .args(["--token", token.trim()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&whoami.stdout).into_owned();
    assert!(
        text.contains("system:serviceaccount:default:default"),
        "{whoami:?}"
    );

    let folder = first.kubeconfig();
    let ids = ["kube-apiserver", "etcd"].map(|name| first.process(name).unwrap().id());
    drop(first);
    assert!(!folder.exists());
    assert!(!ids.into_iter().any(process_exists));
    assert!(
        second
            .kubectl()
            .unwrap()
            .run(&["get", "--raw", "/readyz"])
            .is_ok()
    );
}

#[test]
fn testbed_simulated_nodes_run_pods() {
    let options = ControlPlaneOptions {
        nodes: 2,
        ..Default::default()
    };
    let control_plane = ControlPlane::start(&options).unwrap();
    let kubectl = control_plane.kubectl().unwrap();
    kubectl
        .run(&["create", "deployment", "web", "--image=none", "--replicas=20"])
        .unwrap();
    kubectl
        .run(&["rollout", "status", "deployment/web", "--timeout=60s"])
        .unwrap();
}

#[test]
fn testbed_nats_comes_back_with_its_address() {
    let mut nats = Nats::start(&NatsOptions {
        tls: true,
        authentication: Authentication::Users(vec![("api".into(), "a \"quoted\" password".into())]),
        ..Default::default()
    })
    .unwrap();
    assert!(nats.url().starts_with("tls://") && nats.authority().unwrap().exists());
    let address = nats.address();
    nats.stop().unwrap();
    assert!(!answers(address));
    nats.resume().unwrap();
    nats.wipe_storage().unwrap();
    assert!(answers(address));
    drop(nats);
    assert!(!answers(address));
}

/// What the server says to a client with this password.
fn login(address: SocketAddr, password: &str) -> String {
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    let connect =
        format!("CONNECT {{\"verbose\":false,\"user\":\"api\",\"pass\":\"{password}\"}}\r\nPING\r\n");
    stream.get_mut().write_all(connect.as_bytes()).unwrap();
    let mut line = String::new();
    while !(line.starts_with("PONG") || line.starts_with("-ERR")) {
        line.clear();
        assert!(
            stream.read_line(&mut line).unwrap() > 0,
            "the server closed the connection"
        );
    }
    line
}

#[test]
fn testbed_nats_takes_only_its_users() {
    let users = Authentication::Users(vec![("api".into(), "right".into())]);
    let nats = Nats::start(&NatsOptions {
        authentication: users,
        ..Default::default()
    })
    .unwrap();
    assert_eq!(login(nats.address(), "right").trim(), "PONG");
    assert!(login(nats.address(), "wrong").contains("Authorization Violation"));
}

#[test]
fn testbed_postgres_keeps_data_over_stop_and_kill() {
    let mut postgres = Postgres::start(&PostgresOptions {
        isolation: "serializable".into(),
        ..Default::default()
    })
    .unwrap();
    postgres.create_database("template_a", None).unwrap();
    postgres
        .execute("template_a", "CREATE TABLE t AS SELECT 42 AS n")
        .unwrap();
    let url = postgres.create_database("a", Some("template_a")).unwrap();
    assert!(url.contains("/a?"), "{url}");
    postgres.stop().unwrap();
    assert!(!answers(postgres.address()));
    postgres.resume().unwrap();
    postgres.kill().unwrap();
    postgres.resume().unwrap();
    assert_eq!(postgres.execute("a", "SELECT n FROM t").unwrap().trim(), "42");
    assert_eq!(
        postgres
            .execute("a", "SHOW transaction_isolation")
            .unwrap()
            .trim(),
        "serializable"
    );
    assert!(postgres.create_database("Bad-Name", None).is_err());
    // What the URL says works: TLS and the password, as a client over TCP.
    let rows = output(
        Command::new("psql")
            .arg(&url)
            .args(["-Atc", "SELECT current_user"]),
    );
    assert_eq!(rows.unwrap().trim(), "threeport");
    let guessed = url.replace("://threeport:", "://threeport:0");
    assert!(output(Command::new("psql").arg(&guessed).args(["-c", "SELECT 1"])).is_err());
    let kept = postgres.execute(
        "a",
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'threeport'",
    );
    let kept = kept.unwrap();
    assert!(kept.trim().starts_with("SCRAM-SHA-256$1:"), "{kept}");
    let address = postgres.address();
    drop(postgres);
    assert!(!answers(address));
}

/// Set in the process that is killed in the test below.
const VICTIM: &str = "THREEPORT_TESTBED_VICTIM";

#[test]
fn testbed_servers_end_with_a_killed_owner() {
    if std::env::var_os(VICTIM).is_some() {
        let mut nats = Nats::start(&NatsOptions::default()).unwrap();
        let mut postgres = Postgres::start(&PostgresOptions::default()).unwrap();
        println!(
            "victim {} {}",
            nats.process().unwrap().id(),
            postgres.process().unwrap().id()
        );
        // Until it is killed.
        loop {
            std::thread::park();
        }
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "testbed_servers_end_with_a_killed_owner",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let line = lines
        .map_while(Result::ok)
        .find(|line| line.contains("victim "))
        .unwrap();
    let ids = line
        .split(' ')
        .filter_map(|word| word.parse::<u32>().ok())
        .collect::<Vec<_>>();
    assert!(
        ids.len() == 2 && ids.iter().all(|id| process_exists(*id)),
        "{line}"
    );
    victim.kill().unwrap();
    victim.wait().unwrap();
    let gone = wait::until("see the servers end", Duration::from_secs(10), || {
        anyhow::ensure!(
            !ids.iter().any(|id| process_exists(*id)),
            "still running: {ids:?}"
        );
        Ok(())
    });
    assert!(gone.is_ok(), "{gone:?}");
}

#[test]
fn testbed_registry_keeps_a_pushed_image_until_dropped() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("program"), "content").unwrap();
    std::fs::write(
        folder.path().join("Dockerfile"),
        "ARG BASE=scratch\nFROM ${BASE}\nCOPY program /program\nUSER 65532:65532\nENTRYPOINT [\"/program\"]\n",
    )
    .unwrap();
    let image = images::build(&folder.path().join("Dockerfile"), folder.path(), &[]).unwrap();
    let archive = folder.path().join("image.tar");
    image.write(&archive, "localhost/pushed:1").unwrap();

    let registry = Registry::start(Ipv4Addr::LOCALHOST).unwrap();
    let address = registry.address();
    let target = format!("docker://{address}/pushed:1");
    let source = format!("oci-archive:{}", archive.display());
    output(Command::new("skopeo").args(["copy", "--quiet", "--dest-tls-verify=false", &source, &target]))
        .unwrap();
    let config =
        output(Command::new("skopeo").args(["inspect", "--config", "--tls-verify=false", &target])).unwrap();
    assert!(
        config.contains("65532:65532") && config.contains("/program"),
        "{config}"
    );
    drop(registry);
    assert!(!answers(address));
}
