//! Connections, before anybody knows whose they are: how many there may be, how much is kept of what one says, and how long
//! one is kept that says nothing.
//!
//! hyper waits for headers for a while only once it knows which version of HTTP is spoken, and it waits for the bytes
//! that say so for ever. So a connection that has brought fewer bytes than an HTTP/2 preface has is ended here. Of
//! HTTP/2, where a connection without a request is kept, the peer is asked from time to time whether it is still there:
//! clients answer by themselves, so that watches are not cut.
//!
//! That does not keep a stranger from having all places: he asks for `/healthz` from time to time, or answers pings. So
//! where there is no place, the oldest connection ends of those on which nobody has spoken who is [`Known`].

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Extension, middleware::AddExtension};
use axum_server::{Server, accept::Accept};
use futures::{FutureExt, future::BoxFuture};
use hyper_util::rt::TokioTimer;
use threeport_telemetry::connections::End;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};
use tokio_util::sync::CancellationToken;
use tower::Layer;

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`; no request of HTTP/1.1 is shorter.
const PREFACE: usize = 24;
/// The most bytes of a request's line and headers in HTTP/1. hyper by itself keeps 400 KiB of a request whose headers don't
/// end, of whoever sends it: as many strangers as there are places would have more than the process may.
const HEAD: usize = 64 << 10;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many there are at once: for one more the oldest of a stranger ends, and where there is none, that one.
    pub connections: usize,
    /// How long a request's headers may take.
    pub headers: Duration,
    /// How often a peer that speaks HTTP/2 is asked whether it is there.
    pub ping_every: Duration,
    /// How long its answer may take.
    pub ping_answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            headers: Duration::from_secs(10),
            ping_every: Duration::from_secs(20),
            ping_answer: Duration::from_secs(20),
        }
    }
}

/// A server on `address` within `limits`. `inner` makes of a TCP connection what HTTP is spoken on.
pub fn server<A>(address: SocketAddr, inner: A, limits: &Limits) -> Server<SocketAddr, Acceptor<A>> {
    let mut server = axum_server::bind(address).acceptor(Acceptor {
        inner,
        headers: limits.headers,
        places: Arc::new(Semaphore::new(limits.connections)),
        full: Arc::default(),
        strangers: Arc::default(),
    });
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_buf_size(HEAD);
    server
        .http_builder()
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.ping_every)
        .keep_alive_timeout(limits.ping_answer)
        .max_concurrent_streams(256)
        .max_header_list_size(32 << 10);
    server
}

/// An extension of each request: whether somebody who may something has spoken on its connection.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<AtomicBool>);

impl Known {
    /// He has.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether he has.
    pub fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection on which nobody has spoken who is known, when it was taken.
#[derive(Clone, Debug, Default)]
struct Stranger {
    /// Cancelled once the connection has ended, or is to end.
    ends: CancellationToken,
    known: Known,
}

impl Stranger {
    fn may_go(&self) -> bool {
        !self.ends.is_cancelled() && !self.known.is_noted()
    }
}

/// The connections of strangers, the oldest first, and some that are none any more.
#[derive(Debug, Default)]
struct Strangers(Mutex<VecDeque<Stranger>>);

impl Strangers {
    fn add(&self) -> Stranger {
        let stranger = Stranger::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(Stranger::may_go);
        }
        all.push_back(stranger.clone());
        stranger
    }

    /// Ends the oldest. False where there is none.
    fn end_oldest(&self) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(oldest) = all.pop_front() {
            if oldest.may_go() {
                oldest.ends.cancel();
                return true;
            }
        }
        false
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Acceptor<A> {
    inner: A,
    headers: Duration,
    places: Arc<Semaphore>,
    /// Whether the last one found no place.
    full: Arc<AtomicBool>,
    strangers: Arc<Strangers>,
}

impl<A, S> Accept<TcpStream, S> for Acceptor<A>
where
    A: Accept<TcpStream, AddExtension<S, Known>> + 'static,
    A::Stream: Send + 'static,
    A::Service: Send + 'static,
    A::Future: Send + 'static,
    S: 'static,
{
    type Stream = Connection<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let places = Arc::clone(&self.places);
        let place = Arc::clone(&places).try_acquire_owned();
        if !self.full.swap(place.is_err(), Ordering::Relaxed) && place.is_err() {
            tracing::warn!("there are as many connections as may be; others are closed, of strangers first");
        }
        let makes_room = place.is_err() && self.strangers.end_oldest();
        let Stranger { ends, known } = self.strangers.add();
        let service = Extension(known).layer(service);
        let (accepted, headers) = (self.inner.accept(stream, service), self.headers);
        let end = End::of(ends.clone());
        async move {
            let taken = async {
                let place = if makes_room {
                    let room = tokio::time::timeout(headers, places.acquire_owned());
                    room.await?.map_err(io::Error::other)?
                } else {
                    place.map_err(io::Error::other)?
                };
                let (stream, service) = accepted.await?;
                Ok::<_, io::Error>((place, stream, service))
            };
            let taken = ends.run_until_cancelled(taken).await;
            let (place, stream, service) = taken.ok_or(io::ErrorKind::ConnectionAborted)??;
            let connection = Connection {
                stream,
                read: 0,
                deadline: Some(Box::pin(tokio::time::sleep(headers))),
                end,
                _place: place,
            };
            Ok((connection, service))
        }
        .boxed()
    }
}

/// A connection that fails where it doesn't begin to speak, or has to go.
pub struct Connection<S> {
    stream: S,
    /// Bytes, as long as there is a deadline.
    read: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    end: End,
    _place: OwnedSemaphorePermit,
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.end.poll_due(context)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(deadline) = &mut this.deadline else {
            return polled;
        };
        this.read += buffer.filled().len().saturating_sub(before);
        if this.read >= PREFACE {
            this.deadline = None;
        } else if polled.is_pending() && deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.end.poll_due(context)?;
        Pin::new(&mut this.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.end.poll_due(context)?;
        Pin::new(&mut this.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
