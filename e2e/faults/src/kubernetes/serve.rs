//! Takes connections and requests, and does to each what the plan says.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rand::{Rng, rngs::StdRng};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use threeport_testbed::certificates::Authority;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Fault, Plan, Shared,
    body::{self, Body, End},
    request::{self, Kind},
};

/// A short page holds so many objects.
const PAGE: u32 = 1;
/// A watch is cut within its first so many bytes: the first event or the second.
const EVENTS: usize = 1000;

/// The connection is lost: no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("by plan")]
    Planned,
    #[error("the API server failed: {0}")]
    Upstream(#[from] reqwest::Error),
    #[error("the client failed: {0}")]
    Client(#[from] hyper::Error),
    #[error("failed to make an answer: {0}")]
    Answer(#[from] http::Error),
}

/// A certificate for the loopback, and the authority's that vouches for it.
pub(super) fn acceptor() -> Result<(TlsAcceptor, String)> {
    let authority = Authority::new("threeport-faults")?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let issued = authority.issue("threeport-faults", None, &names)?;
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes())
        .context("failed to read the certificate just made")?;
    let key =
        PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).context("failed to read the key just made")?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .context("failed to configure TLS")?;
    Ok((
        TlsAcceptor::from(Arc::new(config)),
        authority.certificate().to_owned(),
    ))
}

pub(super) async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // Its connections end with the proxy.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(connection(socket, acceptor.clone(), Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(socket: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let stream = match acceptor.accept(socket).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "no TLS"),
    };
    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
    let served = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

/// A request that was read.
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    kind: Kind,
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Lost> {
    let (parts, body) = request.into_parts();
    let kind = request::kind(&parts.method, &parts.uri);
    let asked = Asked {
        body: body.collect().await?.to_bytes(),
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        kind,
    };
    if let Some(token) = request::parameter(&asked.uri, "continue")
        && let Some(code) = shared.state().continuations.remove(&token)
    {
        return failure(code, true);
    }
    match decide(&shared, &asked) {
        Some((plan, fault, random)) => fail(shared, asked, &plan, fault, random).await,
        None if kind == Kind::Watch => pass_watch(shared, &asked).await,
        None => shared.pass(&asked).await,
    }
}

fn decide(shared: &Shared, asked: &Asked) -> Option<(Arc<Plan>, Fault, StdRng)> {
    let mut state = shared.state();
    let plan = state.plan.clone()?;
    let request = format!("{} {}", asked.method, asked.uri.path());
    let occurrence = state.occurrences.entry(request.clone()).or_default();
    *occurrence += 1;
    let (fault, random) = plan.decide(asked.kind, &request, *occurrence)?;
    Some((plan, fault, random))
}

async fn fail(
    shared: Arc<Shared>,
    asked: Asked,
    plan: &Plan,
    fault: Fault,
    mut random: StdRng,
) -> Result<Response<Body>, Lost> {
    tracing::debug!(?fault, method = %asked.method, uri = %asked.uri, "fails by plan");
    match fault {
        Fault::PartialList => shared.short_page(&asked, one_of(&mut random, &[410, 500])).await,
        Fault::Truncated | Fault::Garbled => shared.part(&asked, fault, &mut random).await,
        Fault::WatchCut | Fault::WatchTruncated => {
            watch(shared, &asked, plan.watch, fault, &mut random).await
        }
        _ => shared.withhold(&asked, plan.hold, fault, &mut random).await,
    }
}

fn one_of(random: &mut StdRng, codes: &[u16]) -> u16 {
    codes[random.random_range(0..codes.len())]
}

async fn pass_watch(shared: Arc<Shared>, asked: &Asked) -> Result<Response<Body>, Lost> {
    let lost = shared.state().watches.clone();
    let response = shared.send(asked, None).await?;
    Ok(response.map(|body| body::passed_until(body, lost, move || shared.counts.add(Fault::WatchCut))))
}

/// A watch that ends before its time.
async fn watch(
    shared: Arc<Shared>,
    asked: &Asked,
    longest: Duration,
    fault: Fault,
    random: &mut StdRng,
) -> Result<Response<Body>, Lost> {
    let (parts, body) = shared.send(asked, None).await?.into_parts();
    let in_an_event = fault == Fault::WatchTruncated;
    let end = End {
        bytes: in_an_event.then(|| random.random_range(1..EVENTS)),
        at: (!in_an_event).then(|| Instant::now() + longest.mul_f64(random.random())),
        is_lost: random.random(),
    };
    let body = body::cut_watch(body, end, move || shared.counts.add(fault));
    Ok(Response::from_parts(parts, body))
}

fn failure(code: u16, is_json: bool) -> Result<Response<Body>, Lost> {
    let (content_type, text) = body::failure(code, is_json);
    let mut response = Response::builder()
        .status(code)
        .header(header::CONTENT_TYPE, content_type);
    if code == StatusCode::TOO_MANY_REQUESTS {
        response = response.header(header::RETRY_AFTER, "1");
    }
    Ok(response.body(body::whole(text))?)
}

impl Shared {
    /// Asks the API server; with another path and query than the client's if there is one.
    async fn send(&self, asked: &Asked, target: Option<&str>) -> Result<Response<reqwest::Body>, Lost> {
        let own = asked.uri.path_and_query().map_or("/", |target| target.as_str());
        let url = format!("{}{}", self.upstream, target.unwrap_or(own));
        let mut headers = asked.headers.clone();
        // Those of the connection, those that the client sets itself, and a compression that would hide the body.
        for name in [
            header::HOST,
            header::CONNECTION,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::ACCEPT_ENCODING,
        ] {
            headers.remove(name);
        }
        let request = self.client.request(asked.method.clone(), url).headers(headers);
        let mut response = Response::from(request.body(asked.body.clone()).send().await?);
        *response.version_mut() = http::Version::HTTP_11;
        for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
            response.headers_mut().remove(name);
        }
        Ok(response)
    }

    async fn pass(&self, asked: &Asked) -> Result<Response<Body>, Lost> {
        Ok(self.send(asked, None).await?.map(body::passed))
    }

    /// No answer of the API server's at all.
    async fn withhold(
        &self,
        asked: &Asked,
        hold: Duration,
        fault: Fault,
        random: &mut StdRng,
    ) -> Result<Response<Body>, Lost> {
        if matches!(fault, Fault::RefusedAfter | Fault::HeldAfter | Fault::CutAfter) {
            self.pass(asked).await?;
        }
        self.counts.add(fault);
        match fault {
            Fault::Refused => failure(one_of(random, &[500, 503, 504, 429]), random.random()),
            Fault::RefusedAfter => failure(one_of(random, &[500, 504]), random.random()),
            Fault::Held | Fault::HeldAfter => {
                sleep(hold).await;
                Err(Lost::Planned)
            }
            _ => Err(Lost::Planned),
        }
    }

    /// The answer without its end.
    async fn part(&self, asked: &Asked, fault: Fault, random: &mut StdRng) -> Result<Response<Body>, Lost> {
        let (mut parts, body) = self.send(asked, None).await?.into_parts();
        let whole = body.collect().await?.to_bytes();
        if whole.is_empty() {
            return Ok(Response::from_parts(parts, body::whole(whole)));
        }
        self.counts.add(fault);
        let part = whole.slice(..random.random_range(0..whole.len()));
        let (length, body) = if fault == Fault::Truncated {
            (whole.len(), body::cut_after(part))
        } else {
            (part.len(), body::whole(part))
        };
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
        Ok(Response::from_parts(parts, body))
    }

    /// The first page, short; its continuation will fail with `code`. A list that is whole all the same is no fault.
    async fn short_page(&self, asked: &Asked, code: u16) -> Result<Response<Body>, Lost> {
        if request::parameter(&asked.uri, "continue").is_some() {
            return self.pass(asked).await;
        }
        let target = request::paged(&asked.uri, PAGE);
        let (mut parts, page) = self.send(asked, Some(&target)).await?.into_parts();
        let page = page.collect().await?.to_bytes();
        if let Some(token) = continuation(&page) {
            self.counts.add(Fault::PartialList);
            self.state().continuations.insert(token, code);
        }
        parts.headers.insert(header::CONTENT_LENGTH, page.len().into());
        Ok(Response::from_parts(parts, body::whole(page)))
    }
}

/// The token of a page's continuation, if it has one.
fn continuation(page: &[u8]) -> Option<String> {
    let page: serde_json::Value = serde_json::from_slice(page).ok()?;
    let token = page.pointer("/metadata/continue")?.as_str()?;
    (!token.is_empty()).then(|| token.to_owned())
}
