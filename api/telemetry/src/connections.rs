//! Connections that may be ended, where there are too many of them.
//!
//! Those of the probes' port are kept here. Whoever reaches a pod may open them, without a credential, so there are few of them
//! at once: where there would be more, the oldest goes. The newest is no stranger's more often than any other, and is a
//! probe that has to be answered: one that is not costs the process its life.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

/// Takes connections, and keeps a bounded number of them.
pub(crate) struct Bounded {
    listener: TcpListener,
    most: usize,
    /// The oldest first; each is cancelled once its connection has ended, or is to end.
    kept: VecDeque<CancellationToken>,
}

impl Bounded {
    /// Of `listener`, `most` at once.
    pub(crate) fn new(listener: TcpListener, most: usize) -> Self {
        Self {
            listener,
            most,
            kept: VecDeque::new(),
        }
    }

    fn keep(&mut self, stream: TcpStream) -> Connection {
        self.kept.retain(|kept| !kept.is_cancelled());
        if self.kept.len() >= self.most
            && let Some(oldest) = self.kept.pop_front()
        {
            oldest.cancel();
        }
        let token = CancellationToken::new();
        self.kept.push_back(token.clone());
        Connection {
            stream,
            end: End::of(token),
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (self.keep(stream), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What a connection has that may be ended: it is told when it has to go, and tells by its own end that it has gone.
pub struct End {
    due: Pin<Box<WaitForCancellationFutureOwned>>,
    _gone: DropGuard,
}

impl End {
    /// By a token that is cancelled for both.
    pub fn of(token: CancellationToken) -> Self {
        Self {
            due: Box::pin(token.clone().cancelled_owned()),
            _gone: token.drop_guard(),
        }
    }

    /// Fails once the connection has to go, and wakes whoever asked before.
    pub fn poll_due(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.due.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

/// A connection that fails once it has to go.
pub(crate) struct Connection {
    stream: TcpStream,
    end: End,
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.end.poll_due(context)?;
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.end.poll_due(context)?;
        Pin::new(&mut this.stream).poll_write(context, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// A new connection, from both its sides.
    async fn connect(bounded: &mut Bounded) -> (TcpStream, Connection) {
        let address = bounded.local_addr().unwrap();
        let (client, (server, _)) = tokio::join!(TcpStream::connect(address), bounded.accept());
        (client.unwrap(), server)
    }

    #[tokio::test]
    async fn one_connection_too_many_ends_the_oldest_and_one_that_has_ended_gives_its_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut bounded = Bounded::new(listener, 2);
        let (_first, mut oldest) = connect(&mut bounded).await;
        let (_second, mut second) = connect(&mut bounded).await;
        oldest.write_all(b"served").await.unwrap();
        // It waits for a request that never comes.
        let waits = tokio::spawn(async move { oldest.read_u8().await.unwrap_err().kind() });
        let (_third, mut third) = connect(&mut bounded).await;
        let ended = timeout(DEADLINE, waits).await.expect("it is kept").unwrap();
        assert_eq!(ended, io::ErrorKind::ConnectionAborted);
        second.write_all(b"served").await.unwrap();
        drop(second);
        let (_fourth, mut fourth) = connect(&mut bounded).await;
        for kept in [&mut third, &mut fourth] {
            kept.write_all(b"served").await.unwrap();
        }
    }
}
