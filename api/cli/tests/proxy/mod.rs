//! A cluster behind a proxy of the environment or of the kubeconfig.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc::{Receiver, channel},
};

use crate::world::{World, program};

/// A proxy that refuses, and what it was asked for.
fn proxy() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut lines = BufReader::new(&stream).lines();
            let request = lines.next().unwrap().unwrap();
            // To the head's end: who closes on unread bytes resets the connection.
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            if asked.send(request).is_err() {
                return;
            }
            let refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
            let _ = (&stream).write_all(refusal);
        }
    });
    (address, requests)
}

/// What the proxy is asked for by a command that goes through a kubeconfig, which names it for the cluster or leaves that to
/// the environment.
async fn asked(world: &World, cluster: &str, named: bool) -> Option<String> {
    let (address, requests) = proxy();
    let url = format!("http://{address}");
    let authority = world.key("ca.crt").display().to_string();
    let mut entry = format!("server: '{cluster}', certificate-authority: '{authority}'");
    // The proxy's own, of which who is sent through it knows nothing.
    let mut environment = BTreeMap::from([("NO_PROXY", "127.0.0.1".into())]);
    if named {
        entry.push_str(&format!(", proxy-url: '{url}'"));
    } else {
        environment.insert("HTTPS_PROXY", url.into());
    }
    let text = format!(
        "clusters: [{{name: a, cluster: {{{entry}}}}}]\ncontexts: [{{name: a, context: {{cluster: a}}}}]\n\
         current-context: a\n"
    );
    let kubeconfig = world.write("kubeconfig", &text);
    environment.insert("KUBECONFIG", kubeconfig.into());
    let ran = program(&["get", "all"], "", environment).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("failed to look for a control plane"),
        "{ran:?}"
    );
    requests.try_recv().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_reached_by_the_proxy_that_kubectl_would_take() {
    let world = World::new().await;
    let far = asked(&world, "https://cluster.invalid:6443", false).await;
    assert_eq!(far.as_deref(), Some("CONNECT cluster.invalid:6443 HTTP/1.1"));
    // Nobody listens there.
    assert_eq!(asked(&world, "https://127.0.0.1:1", false).await, None);
    let named = asked(&world, "https://127.0.0.1:1", true).await;
    assert_eq!(named.as_deref(), Some("CONNECT 127.0.0.1:1 HTTP/1.1"));
}
