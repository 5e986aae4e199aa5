//! For tests: an API that answers as a test says, and keeps every connection open.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

/// The address of an API that begins each answer so and goes on as `then` does.
pub(crate) fn api(head: &'static str, then: impl Fn(&mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(head.as_bytes()).unwrap();
            then(&mut stream);
            held.push(stream);
        }
    });
    url
}
