//! Which cluster doctor looks at: that of the kubeconfig, whatever API was named.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
};

use crate::world::{World, program};

const VERSION: &str = r#"{"major": "1", "minor": "35", "gitVersion": "v1.35.0", "gitCommit": "", "gitTreeState": "",
    "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}"#;

/// A cluster that knows nothing but its version.
fn cluster() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut lines = BufReader::new(&stream).lines();
            // To the head's end: who closes on unread bytes resets the connection.
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let length = VERSION.len();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            let _ = (&stream).write_all(format!("{head}{VERSION}").as_bytes());
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_which_cluster_it_looks_at() {
    let world = World::new().await;
    let there = cluster();
    // Nobody listens at the second one.
    let text = format!(
        "clusters: [{{name: a, cluster: {{server: 'http://{there}'}}}}, \
         {{name: b, cluster: {{server: 'http://127.0.0.1:1'}}}}]\n\
         contexts: [{{name: here, context: {{cluster: a}}}}, {{name: other, context: {{cluster: b}}}}]\n\
         current-context: here\n"
    );
    let mut environment = world.environment();
    environment.insert("KUBECONFIG", world.write("kubeconfig", &text).into());
    let answers = format!("ok       cluster: Kubernetes v1.35.0 answers at http://{there} (context here)\n");
    let silent = "FAILED   cluster: http://127.0.0.1:1 (context other): ".to_owned();
    for (arguments, line) in [
        (&["doctor"][..], answers),
        (&["doctor", "--kube-context", "other"][..], silent),
    ] {
        let ran = program(arguments, "", environment.clone()).await;
        assert!(ran.stdout.contains(&line), "{line}: {ran:?}");
    }
}
