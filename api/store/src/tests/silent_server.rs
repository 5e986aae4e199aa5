//! A server that is gone without a word: connections to it stay open, and nothing comes of what is sent. Another one is there
//! under the same name.

use std::{future::pending, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::harness::{Bed, definition_spec, object, on_servers};
use crate::{Error, Options, Store};

/// What lies between a store and its server.
struct Wire {
    /// The store's URL.
    url: String,
    cut: watch::Sender<()>,
}

impl Wire {
    async fn to(bed: &Bed) -> Self {
        let (before, rest) = bed.options.url.split_once('@').unwrap();
        let (server, after) = rest.split_once('/').unwrap();
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{before}@{}/{after}", listener.local_addr().unwrap());
        let (cut, cuts) = watch::channel(());
        tokio::spawn(async move {
            while let Ok((mut store, _)) = listener.accept().await {
                let (server, mut cut) = (server.clone(), cuts.clone());
                tokio::spawn(async move {
                    cut.mark_unchanged();
                    let mut server = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut store, &mut server) => {}
                        Ok(()) = cut.changed() => pending::<()>().await,
                    }
                });
            }
        });
        Self { url, cut }
    }

    /// From now on the connections that there are carry nothing.
    fn cut(&self) {
        self.cut.send_replace(());
    }
}

#[test]
fn a_server_that_is_gone_without_a_word_takes_no_session_along() {
    on_servers(&async |bed| {
        bed.definition("web").await;
        let wire = Wire::to(bed).await;
        let options = Options {
            url: wire.url.clone(),
            readers: 1,
            writers: 1,
            timeout: Duration::from_secs(3),
            ..bed.options.clone()
        };
        let store = Store::open(options).await.unwrap();
        let write = async || {
            let changed = object("WorkloadDefinition", "web", definition_spec("two"));
            let written = store.object_update(&bed.request(), changed, None).await;
            written.map(drop)
        };
        let read = async || store.object_get("WorkloadDefinition", "web").await.map(drop);
        write().await.unwrap();
        read().await.unwrap();
        // What is on its way into its pool at that very moment is not to be saved.
        for pool in [&store.0.connections.writer, &store.0.connections.reader] {
            while pool.get_postgres_connection_pool().num_idle() == 0 {
                tokio::task::yield_now().await;
            }
        }

        wire.cut();
        let given_up = |answer: Result<(), Error>| matches!(answer, Err(Error::TimedOut { .. }));
        let hang = async { tokio::join!(write(), read()) };
        let (written, found) = timeout(Duration::from_secs(30), hang).await.expect("an end");
        assert!(given_up(written) && given_up(found));
        let both = async { while write().await.is_err() || read().await.is_err() {} };
        timeout(Duration::from_secs(30), both)
            .await
            .expect("sessions with the server that is there now");
        store.close().await;
    });
}
