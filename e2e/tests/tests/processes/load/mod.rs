//! A load that can be judged: eight clients write the same few objects at once, each write recognisable in whatever it
//! left behind, while a controller works on what they made.
//!
//! What the clients ask for follows from the seed alone. What they are answered does not: it depends on who came first.

pub(crate) mod controller;
pub(crate) mod rest;
pub(crate) mod verdict;
pub(crate) mod write;

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use threeport_model::{Etag, Object};
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use self::{
    rest::{Answer, Request, Rest},
    write::{Action, Write},
};

const CLIENTS: u64 = 8;
/// Of each client.
pub(crate) const WRITES: usize = 5;
/// How long a write with a key is sent again: an API that was killed is back long before.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// What became of a write.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) write: Write,
    /// The version that it was tied to.
    pub(crate) if_match: Option<Etag>,
    /// What it was answered, each time that it was sent.
    pub(crate) answers: Vec<Answer>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = self.write.request();
        write!(f, "{} {} {}", self.write.marker, request.method, request.path)?;
        if let Some(etag) = self.if_match {
            write!(f, " if {etag}")?;
        }
        if self.write.key.is_some() {
            write!(f, " with a key")?;
        }
        for (kind, name) in self.write.names() {
            write!(f, " {kind}/{name}")?;
        }
        for answer in &self.answers {
            write!(f, "\n    {answer}")?;
        }
        Ok(())
    }
}

/// All names of a run begin with this.
pub(crate) fn prefix(seed: u64) -> String {
    format!("f{seed:x}")
}

/// One run of the load; done when every client has its last answer.
pub(crate) async fn run(rest: &Arc<Rest>, seed: u64) -> Result<Vec<Entry>> {
    let done = Arc::new(Notify::new());
    let controller = tokio::spawn(controller::work(
        Arc::clone(rest),
        prefix(seed),
        Arc::clone(&done),
    ));
    // There is something to refer to.
    let mut entries = vec![perform(rest, Write::first(seed)).await];
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let rest = Arc::clone(rest);
        clients.spawn(async move {
            let mut entries = Vec::with_capacity(WRITES);
            for write in write::of_client(seed, client) {
                entries.push(perform(&rest, write).await);
            }
            entries
        });
    }
    while let Some(finished) = clients.join_next().await {
        entries.extend(finished.context("a client panicked")?);
    }
    done.notify_one();
    controller.await.context("the controller panicked")??;
    Ok(entries)
}

/// Sends a write and, where it has a key, again until it is answered.
async fn perform(rest: &Rest, write: Write) -> Entry {
    let if_match = match &write.action {
        Action::Replace { thing, tied: true } => etag(rest, thing.path()).await,
        _ => None,
    };
    let request = Request {
        if_match,
        ..write.request()
    };
    let begin = Instant::now();
    let mut answers = vec![rest.send(&request).await];
    while write.key.is_some()
        && matches!(answers.last(), Some(Answer::Unanswered(_)))
        && begin.elapsed() < PATIENCE
    {
        tokio::time::sleep(PAUSE).await;
        answers.push(rest.send(&request).await);
    }
    Entry {
        write,
        if_match,
        answers,
    }
}

/// The version that an object has now, if that can be told.
async fn etag(rest: &Rest, path: String) -> Option<Etag> {
    match rest.send(&Request::get(path)).await {
        Answer::Acknowledged { body, .. } => {
            let object: Object = serde_json::from_value(body).ok()?;
            Some(Etag::of(&object))
        }
        _ => None,
    }
}
