//! Connections that bring no request, bring it slowly, or bring too much of it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{Extension, Router, routing::get};
use axum_server::{Handle, accept::NoDelayAcceptor};
use threeport_server::connections::{self, Known, Limits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);
/// Longer than headers may take, and than a peer that is gone stays unnoticed.
const SLOW: Duration = Duration::from_secs(3);
const REQUEST: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// The same, of somebody who is known.
const KNOWN: &str = "GET /known HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn limits() -> Limits {
    Limits {
        connections: 100,
        headers: Duration::from_secs(1),
        ping_every: Duration::from_millis(500),
        ping_answer: Duration::from_secs(2),
    }
}

/// A server without TLS that answers `served`, at `/slow` after a while. Who asks for `/known` is.
async fn serve(limits: &Limits) -> SocketAddr {
    crate::harness::init_log();
    let slow = || async {
        tokio::time::sleep(SLOW).await;
        "served"
    };
    let known = |Extension(known): Extension<Known>| async move {
        known.note();
        "served"
    };
    let router = Router::new()
        .route("/", get(|| async { "served" }))
        .route("/known", get(known))
        .route("/slow", get(slow));
    let handle = Handle::new();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = connections::server(address, NoDelayAcceptor::new(), limits).handle(handle.clone());
    tokio::spawn(server.serve(router.into_make_service()));
    handle.listening().await.unwrap()
}

async fn connect(address: SocketAddr, said: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(said).await.unwrap();
    stream
}

/// All that the server says until it closes the connection.
async fn heard(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let ended = timeout(DEADLINE, stream.read_to_end(&mut all)).await;
    // A reset is an end, too.
    let _ = ended.expect("the connection is kept");
    all
}

/// Whether a request is answered.
async fn is_served(stream: &mut TcpStream) -> bool {
    is_answered(stream, REQUEST).await
}

async fn is_answered(stream: &mut TcpStream, request: &str) -> bool {
    if stream.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    let (mut all, mut buffer) = (Vec::new(), [0; 1024]);
    while !all.ends_with(b"served") {
        match timeout(DEADLINE, stream.read(&mut buffer))
            .await
            .expect("an answer")
        {
            Ok(count) if count > 0 => all.extend_from_slice(&buffer[..count]),
            _ => return false,
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_let_go_and_who_is_served_slowly_is_not() {
    let limits = limits();
    let address = serve(&limits).await;
    let start = Instant::now();
    let mut silent = connect(address, b"").await;
    let mut half = connect(address, b"PRI * HT").await;
    let mut slow = connect(address, b"GET /slow HTTP/1.1\r\n").await;
    slow.write_all(b"host: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(heard(&mut silent).await, b"");
    assert!(start.elapsed() >= limits.headers, "{:?}", start.elapsed());
    assert_eq!(heard(&mut half).await, b"");
    assert!(heard(&mut slow).await.ends_with(b"served"));
    assert!(start.elapsed() >= SLOW);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_refused_before_they_take_much_memory() {
    let address = serve(&limits()).await;
    let begun = |bytes: usize| format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}", "x".repeat(bytes));
    let mut long = connect(address, b"").await;
    let ended = format!("{}\r\n\r\n", begun(32 << 10));
    assert!(is_answered(&mut long, &ended).await, "the control");
    let mut endless = connect(address, b"").await;
    // It may be closed before all of it was sent.
    let _ = endless.write_all(begun(200 << 10).as_bytes()).await;
    let said = String::from_utf8(heard(&mut endless).await).unwrap();
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_gone_is_let_go_and_a_long_answer_goes_on() {
    let address = serve(&limits()).await;
    // The preface and empty settings, and then nothing, not even an answer to pings.
    let mut gone = connect(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let answer = client.get(format!("http://{address}/slow")).send();
    let (heard, answer) = tokio::join!(heard(&mut gone), answer);
    assert!(!heard.is_empty(), "it was spoken to");
    assert_eq!(answer.unwrap().text().await.unwrap(), "served");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_until_another_one_is() {
    let limits = Limits {
        connections: 2,
        // None ends by itself.
        headers: DEADLINE * 2,
        ..limits()
    };
    let address = serve(&limits).await;
    let mut kept = [connect(address, b"").await, connect(address, b"").await];
    for stream in &mut kept {
        assert!(is_answered(stream, KNOWN).await);
    }
    assert_eq!(heard(&mut connect(address, b"").await).await, b"");
    let [first, mut second] = kept;
    drop(first);
    let start = Instant::now();
    while !is_served(&mut connect(address, b"").await).await {
        assert!(start.elapsed() < DEADLINE, "there is no place");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_served(&mut second).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_place_a_stranger_s_connection_goes_and_a_known_one_stays() {
    let limits = Limits {
        connections: 3,
        // None ends by itself.
        headers: DEADLINE * 2,
        ..limits()
    };
    let address = serve(&limits).await;
    let mut known = connect(address, b"").await;
    assert!(is_answered(&mut known, KNOWN).await);
    // Each is taken before the next one comes.
    let mut oldest = connect(address, b"").await;
    assert!(is_served(&mut oldest).await);
    let mut other = connect(address, b"").await;
    assert!(is_served(&mut other).await);
    let mut newest = connect(address, b"").await;
    assert!(is_served(&mut newest).await, "it has a place");
    assert_eq!(heard(&mut oldest).await, b"");
    for stream in [&mut known, &mut other, &mut newest] {
        assert!(is_served(stream).await);
    }
}
