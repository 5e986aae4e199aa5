//! One request and its answer: the only place that speaks HTTP.

use std::{borrow::Cow, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Method, RequestBuilder, Response,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Client, Error, refusal};

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A request that is being put together.
pub(crate) struct Request {
    description: String,
    builder: RequestBuilder,
}

/// A path segment, so that a name that is none can't reach another route.
pub(crate) fn segment(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, SEGMENT).into()
}

impl Client {
    pub(crate) fn request(&self, method: Method, path: &str) -> Result<Request, Error> {
        let description = format!("{method} {path}");
        let mut builder = self
            .inner
            .http
            .request(method, format!("{}{path}", self.inner.base));
        if let Some(token) = &self.inner.token {
            builder = builder.bearer_auth(token.read()?);
        }
        Ok(Request {
            description,
            builder: builder.header(ACCEPT, "application/json"),
        })
    }
}

impl Request {
    pub(crate) fn query(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.builder = self.builder.query(&[(name, value.to_string())]);
        }
        self
    }

    pub(crate) fn header(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.builder = self.builder.header(name, value.to_string());
        }
        self
    }

    /// To the end of the answer.
    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.builder = self.builder.timeout(timeout);
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        self.builder = self.builder.json(body);
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.builder = self.builder.header(CONTENT_TYPE, content_type).body(body);
        self
    }

    pub(crate) async fn send<T: DeserializeOwned>(self) -> Result<T, Error> {
        let request = self.description.clone();
        let bytes = self.send_text().await?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Decode { request, source })
    }

    /// A page, and the token for the next one.
    pub(crate) async fn send_page<T: DeserializeOwned>(self) -> Result<(Vec<T>, Option<String>), Error> {
        let request = self.description.clone();
        let response = self.open().await?;
        let next = response.headers().get("threeport-continue");
        let next = next.and_then(|token| token.to_str().ok()).map(str::to_owned);
        match response.bytes().await {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(page) => Ok((page, next)),
                Err(source) => Err(Error::Decode { request, source }),
            },
            Err(source) => Err(Error::Reach { request, source }),
        }
    }

    pub(crate) async fn send_text(self) -> Result<Vec<u8>, Error> {
        let request = self.description.clone();
        let response = self.open().await?;
        let bytes = response
            .bytes()
            .await
            .map_err(|source| Error::Reach { request, source })?;
        Ok(bytes.into())
    }

    /// The answer's head has come and is a success.
    pub(crate) async fn open(self) -> Result<Response, Error> {
        let request = self.description;
        let sent = self.builder.send().await;
        let response = sent.map_err(|source| Error::Reach {
            request: request.clone(),
            source,
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap_or_default();
        Err(match refusal::read(status, &bytes) {
            Some(problem) => Error::Refused(Box::new(problem)),
            None => {
                let body = String::from_utf8_lossy(&bytes).chars().take(200).collect();
                Error::UnexpectedAnswer {
                    request,
                    status,
                    body,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use futures::StreamExt;
    use threeport_model::protocol::watch::WatchEvent;

    use crate::{Client, Options, scripted};

    /// For how long an answer may be silent.
    const SILENCE: Duration = Duration::from_secs(2);
    /// How often an answer is kept alive, for longer than that.
    const ALIVE: (u32, Duration) = (50, Duration::from_millis(50));

    /// An API whose answers are kept alive for longer than they may be silent, then tell one event, and then nothing more.
    fn api() -> String {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        scripted::api(head, |stream| {
            for _ in 0..ALIVE.0 {
                std::thread::sleep(ALIVE.1);
                stream.write_all(b": keep-alive\n\n").unwrap();
            }
            let event = b"id: t\ndata: {\"type\":\"bookmark\"}\n\n";
            stream.write_all(event).unwrap();
        })
    }

    #[tokio::test]
    async fn an_answer_that_falls_silent_is_given_up_and_a_watch_that_is_kept_alive_is_not() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        assert!(ALIVE.1 * ALIVE.0 > SILENCE, "the test is wrong");
        let mut options = Options::new(api(), "test");
        options.timeout = SILENCE;
        let client = Client::new(options).unwrap();
        let mut watch = client.watch(&[], None).await.unwrap();
        let told = watch.next().await.unwrap();
        assert_eq!(told.unwrap().event, WatchEvent::Bookmark);
        let silent = tokio::time::timeout(SILENCE * 5, watch.next()).await;
        let ended = silent.expect("it is given up").expect("it says so");
        assert!(ended.unwrap_err().is_transient());
    }
}
