//! A gate on the way from a process to the cluster's API. While it is closed, what the process sends is on its way: it has
//! left the process and has not arrived. Bytes are passed on as they are, so it may be TLS.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// See the module. Ends with its connections when it is dropped.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    closed: watch::Sender<bool>,
    held: Arc<AtomicUsize>,
    _connections: JoinSet<()>,
}

impl Gate {
    /// An open one.
    pub(crate) async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (closed, watched) = watch::channel(false);
        let held = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&held);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((from, _)) = listener.accept().await {
                let Ok(to) = TcpStream::connect(target).await else {
                    continue;
                };
                let ((from, mut answers), (mut answered, to)) = (from.into_split(), to.into_split());
                connections.spawn(pass(from, to, watched.clone(), Arc::clone(&counted)));
                connections.spawn(async move { copy(&mut answered, &mut answers).await.map(drop) });
            }
        });
        Ok(Self {
            address,
            closed,
            held,
            _connections: accepting,
        })
    }

    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Lets through what it held.
    pub(crate) fn open(&self) {
        self.held.store(0, Ordering::Relaxed);
        self.closed.send_replace(false);
    }

    /// How many bytes wait.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut closed: watch::Receiver<bool>,
    held: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        if *closed.borrow() {
            held.fetch_add(read, Ordering::Relaxed);
            if closed.wait_for(|closed| !closed).await.is_err() {
                return Ok(());
            }
        }
        to.write_all(&buffer[..read]).await?;
    }
}
