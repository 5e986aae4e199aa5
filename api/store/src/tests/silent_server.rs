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
use crate::{
    Error, Options, Store,
    database::{
        connection::Dialect,
        sql::{Fetch, Sql},
    },
};

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
        // Over TLS, where sqlx ends no connection before the server does.
        let is_postgresql = bed.store.dialect() == Dialect::Postgresql;
        assert!(
            !is_postgresql || bed.options.url.contains("sslmode=require"),
            "not over TLS"
        );
        bed.definition("web").await;
        let wire = Wire::to(bed).await;
        let open = async |timeout: Duration| {
            let options = Options {
                url: wire.url.clone(),
                readers: 1,
                writers: 1,
                timeout,
                ..bed.options.clone()
            };
            Store::open(options).await.unwrap()
        };
        let (busy, idle) = (
            open(Duration::from_secs(3)).await,
            open(bed.options.timeout).await,
        );
        let write = async |store: &Store| {
            let changed = object("WorkloadDefinition", "web", definition_spec("two"));
            let written = store.object_update(&bed.request(), changed, None).await;
            written.map(drop)
        };
        let read = async |store: &Store| store.object_get("WorkloadDefinition", "web").await.map(drop);
        write(&busy).await.unwrap();
        read(&busy).await.unwrap();
        // What is on its way into its pool at that very moment is not to be saved.
        for pools in [&busy.0.connections, &idle.0.connections] {
            for pool in [&pools.writer, &pools.reader] {
                while pool.get_postgres_connection_pool().num_idle() == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }

        wire.cut();
        let given_up = |answer: Result<(), Error>| matches!(answer, Err(Error::TimedOut { .. }));
        let hang = async { tokio::join!(write(&busy), read(&busy)) };
        let (written, found) = timeout(Duration::from_secs(30), hang).await.expect("an end");
        assert!(given_up(written) && given_up(found));
        write(&idle)
            .await
            .expect("an idle session is asked before it is used");
        read(&idle).await.expect("the same of the reader's");
        let both = async { while write(&busy).await.is_err() || read(&busy).await.is_err() {} };
        timeout(Duration::from_secs(30), both)
            .await
            .expect("sessions with the server that is there now");
        if is_postgresql {
            let shown = Sql::new("SELECT current_setting('transaction_read_only') AS reads");
            let row = busy.reader().one(shown).await.unwrap().unwrap();
            let reads: String = row.get("reads").unwrap();
            assert_eq!(reads, "on", "it begins as the one did whose place it took");
        }

        idle.close().await;
        wire.cut();
        timeout(Duration::from_secs(10), busy.close())
            .await
            .expect("what is silent holds up nobody who leaves");
    });
}
