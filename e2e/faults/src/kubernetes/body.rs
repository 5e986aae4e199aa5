//! Bodies of answers: whole, and broken in the ways that a plan asks for.

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

/// A body; an error in it is a connection that is lost there.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;
type Part = io::Result<Frame<Bytes>>;

/// For so long what comes before the loss has to reach the client: hyper throws away what it has not written when a
/// body fails.
const FLUSH: Duration = Duration::from_millis(20);

pub(super) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

pub(super) fn passed(body: reqwest::Body) -> Body {
    body.map_err(io::Error::other).boxed_unsync()
}

/// `bytes`, and then the connection is lost.
pub(super) fn cut_after(bytes: Bytes) -> Body {
    let head = stream::iter([Ok(Frame::data(bytes))]);
    StreamBody::new(head.chain(stream::once(lost()))).boxed_unsync()
}

async fn lost() -> Part {
    sleep(FLUSH).await;
    Err(loss())
}

fn loss() -> io::Error {
    io::Error::other("the connection is lost by plan")
}

/// A watch that is passed on as it is, until its connection is lost with all others. `ended` is called then.
pub(super) fn passed_until(
    body: reqwest::Body,
    lost: CancellationToken,
    ended: impl FnOnce() + Send + 'static,
) -> Body {
    let events = stream::unfold(Some((body, lost, ended)), async |watch| {
        let (mut body, lost, ended) = watch?;
        match lost.run_until_cancelled(body.frame()).await {
            Some(frame) => Some((frame?.map_err(io::Error::other), Some((body, lost, ended)))),
            None => {
                ended();
                Some((Err(loss()), None))
            }
        }
    });
    StreamBody::new(events).boxed_unsync()
}

/// How a watch ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// In the middle of the first event that begins or goes on after so many bytes; never if none.
    pub(super) bytes: Option<usize>,
    /// At the latest then, between two events; never if none.
    pub(super) at: Option<Instant>,
    /// Whether the connection is lost; otherwise the answer ends as if it were whole.
    pub(super) is_lost: bool,
}

/// A watch that ends so. `ended` is called when it does; a watch that ends by itself is passed on as it is.
pub(super) fn cut_watch(body: reqwest::Body, end: End, ended: impl FnOnce() + Send + 'static) -> Body {
    let begun = Watch::Open {
        body,
        rest: end.bytes,
        ended,
    };
    let events = stream::unfold(begun, move |watch| next(watch, end));
    StreamBody::new(events).boxed_unsync()
}

enum Watch<F> {
    Open {
        body: reqwest::Body,
        rest: Option<usize>,
        ended: F,
    },
    Ending,
    Over,
}

async fn next<F: FnOnce()>(watch: Watch<F>, end: End) -> Option<(Part, Watch<F>)> {
    let (mut body, rest, ended) = match watch {
        Watch::Open { body, rest, ended } => (body, rest, ended),
        Watch::Ending if end.is_lost => return Some((lost().await, Watch::Over)),
        Watch::Ending | Watch::Over => return None,
    };
    let frame = match end.at {
        Some(at) => match timeout_at(at, body.frame()).await {
            Ok(frame) => frame,
            Err(_) => {
                ended();
                return end.is_lost.then_some((Err(loss()), Watch::Over));
            }
        },
        None => body.frame().await,
    };
    let data = match frame?.map(Frame::into_data) {
        Ok(Ok(data)) => data,
        Ok(Err(_trailers)) => return None,
        Err(error) => return Some((Err(io::Error::other(error)), Watch::Over)),
    };
    match rest {
        // What is left out is the event's end: without it the event is not whole.
        Some(rest) if data.len() > 1 && rest < data.len() => {
            ended();
            Some((Ok(Frame::data(data.slice(..rest.max(1)))), Watch::Ending))
        }
        rest => {
            let rest = rest.map(|rest| rest.saturating_sub(data.len()));
            Some((Ok(Frame::data(data)), Watch::Open { body, rest, ended }))
        }
    }
}

/// What the API server, or a load balancer before it, says in a failure.
pub(super) fn failure(code: u16, is_json: bool) -> (&'static str, Bytes) {
    if !is_json {
        let html = format!("<html><body><h1>{code} by plan</h1></body></html>");
        return ("text/html", html.into());
    }
    let reason = match code {
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "failed by plan", "reason": reason, "code": code,
    });
    ("application/json", status.to_string().into())
}
