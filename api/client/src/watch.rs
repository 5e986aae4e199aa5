//! The watch: server-sent events as a stream. At least once, never a promise: who uses it lists again from time to
//! time.

use futures::{Stream, StreamExt, stream};
use reqwest::{Method, header::ACCEPT};
use threeport_model::protocol::watch::WatchEvent;

use crate::{Client, Error};

/// The longest event that is taken: an object of the largest size, and its frame.
const MAX_EVENT: usize = 20 << 20;

/// One event and the token that a later watch may start from.
#[derive(Clone, Debug)]
pub struct WatchItem {
    /// What happened.
    pub event: WatchEvent,
    /// For `since`.
    pub token: String,
}

/// Ends when the API ends it, which it does from time to time: watch again from the last token.
pub type WatchStream = std::pin::Pin<Box<dyn Stream<Item = Result<WatchItem, Error>> + Send>>;

impl Client {
    /// Watches objects of `kinds` (all where empty) from `since` (from now on where absent). Gone: list again.
    pub async fn watch(&self, kinds: &[&str], since: Option<&str>) -> Result<WatchStream, Error> {
        self.watch_selected(kinds, None, since).await
    }

    /// The same for objects whose labels a selector selects. A change of any other comes as its removal, whether it was
    /// selected before or not.
    pub async fn watch_selected(
        &self,
        kinds: &[&str],
        label_selector: Option<&str>,
        since: Option<&str>,
    ) -> Result<WatchStream, Error> {
        let kinds = (!kinds.is_empty()).then(|| kinds.join(","));
        let response = self
            .request(Method::GET, "/v1alpha1/watch")?
            .query("since", since)
            .query("kinds", kinds)
            .query("labelSelector", label_selector)
            .header(ACCEPT.as_str(), Some("text/event-stream"))
            .open()
            .await?;
        let state = (Box::pin(response.bytes_stream()), Parser::default());
        let events = stream::unfold(Some(state), |state| async move {
            let (mut bytes, mut parser) = state?;
            loop {
                if let Some(item) = parser.next() {
                    return Some((item, Some((bytes, parser))));
                }
                match bytes.next().await? {
                    Ok(chunk) => parser.push(&chunk),
                    Err(source) => {
                        let request = "GET /v1alpha1/watch".to_owned();
                        return Some((Err(Error::Reach { request, source }), None));
                    }
                }
                if parser.buffer.len() > MAX_EVENT {
                    return None;
                }
            }
        });
        Ok(Box::pin(events))
    }
}

/// The part of the server-sent events format (WHATWG HTML, 9.2) that the API uses: fields end with a line feed,
/// events with an empty line, lines that begin with a colon are comments.
#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    /// Up to here there is no end of an event, so that a large one is searched once.
    searched: usize,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Option<Result<WatchItem, Error>> {
        loop {
            let found = self.buffer[self.searched..]
                .windows(2)
                .position(|pair| pair == b"\n\n");
            let Some(end) = found.map(|end| self.searched + end) else {
                self.searched = self.buffer.len().saturating_sub(1);
                return None;
            };
            self.searched = 0;
            let frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&frame);
            let field = |name: &str| {
                let lines = text
                    .lines()
                    .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                lines
                    .map(|value| value.strip_prefix(' ').unwrap_or(value))
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            let data = field("data");
            if data.is_empty() {
                continue;
            }
            let request = "GET /v1alpha1/watch".to_owned();
            let event = serde_json::from_str(&data).map_err(|source| Error::Decode { request, source });
            return Some(event.map(|event| WatchItem {
                event,
                token: field("id"),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_may_arrive_in_pieces_and_comments_are_skipped() {
        let mut parser = Parser::default();
        let whole = b": keep-alive\n\nid: t1\nevent: bookmark\ndata: {\"type\":\"bookmark\"}\n\n";
        for byte in &whole[..whole.len() - 1] {
            parser.push(&[*byte]);
            assert!(parser.next().is_none());
        }
        parser.push(b"\n");
        let item = parser.next().unwrap().unwrap();
        assert_eq!((item.event, item.token.as_str()), (WatchEvent::Bookmark, "t1"));
    }
}
