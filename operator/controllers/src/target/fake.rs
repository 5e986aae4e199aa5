//! A cluster of a test: a function of the request, which is written down.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use kube::{Client, client::Body};
use serde_json::{Value, json};

use super::{Target, discovery::Discovery};

/// What a cluster was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// As in `GET /api/v1/namespaces/web`.
    pub(crate) line: String,
    /// The query.
    pub(crate) query: String,
    /// Null where there was none.
    pub(crate) body: Value,
}

/// An answer, or none ever.
pub(crate) type Answer = Option<(u16, Value)>;

/// All that was asked, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    pub(crate) fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.all().into_iter().map(|asked| asked.line).collect()
    }
}

/// A target whose requests `answer` answers.
pub(crate) fn target(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Target, Log) {
    slow_target(Duration::ZERO, answer)
}

/// The same, each answer after that time.
pub(crate) fn slow_target(
    delay: Duration,
    answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> (Target, Log) {
    let log = Log::default();
    let (written, answer) = (log.clone(), Arc::new(answer));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (log, answer) = (written.clone(), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect_bytes().await.unwrap();
            let asked = Asked {
                line: format!("{} {}", head.method, head.uri.path()),
                query: head.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
            };
            log.0.lock().unwrap().push(asked.clone());
            let Some((code, value)) = answer(&asked) else {
                return std::future::pending().await;
            };
            tokio::time::sleep(delay).await;
            let mut response = http::Response::new(Body::from(value.to_string().into_bytes()));
            *response.status_mut() = StatusCode::from_u16(code).unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    let client = Client::new(service, "default");
    (Target::new(client, Arc::new(Discovery::default())), log)
}

/// A failure as the API server says it.
pub(crate) fn status(code: u16, message: &str) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": message, "reason": "Tested"});
    Some((code, status))
}

/// What aggregated discovery says: namespaced kinds as (group, kind, plural), at version v1.
pub(crate) fn discovery(path: &str, kinds: &[(&str, &str, &str)]) -> Answer {
    let core = path.ends_with("/api");
    let mut groups: Vec<Value> = Vec::new();
    for (group, kind, plural) in kinds.iter().filter(|(group, ..)| group.is_empty() == core) {
        let resource = json!({"resource": plural, "scope": "Namespaced", "responseKind": {"kind": kind},
            "verbs": ["get", "list"]});
        let version = json!({"version": "v1", "freshness": "Current", "resources": [resource]});
        groups.push(json!({"metadata": {"name": group}, "versions": [version]}));
    }
    Some((200, json!({"kind": "APIGroupDiscoveryList", "items": groups})))
}
