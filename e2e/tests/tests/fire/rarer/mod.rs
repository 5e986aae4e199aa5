//! Failpoints on ways that creating, editing and deleting seldom take: what is adopted, left, orphaned or made anew, what is
//! refused, taken over or applied by the API. One object each, and the part dies at each failpoint of that way: nothing is
//! made twice by that either.

mod created;
mod objects;
mod scene;
mod well;

use std::time::Duration;

use anyhow::{Context, Result};
use threeport_e2e::plane::Plane;
use threeport_testbed::kubectl::Kubectl;

use crate::round::Kill;

/// A way, and the writes that are on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// An instance takes over what was there.
    Adopt,
    /// An instance goes and leaves its objects.
    Orphan,
    /// An instance goes, and somebody else lives in its namespace.
    Guest,
    /// The last instance leaves a namespace that another one had made.
    LastLodger,
    /// A Job is changed, which can't be.
    Job,
    /// A Job that is slow to go is changed: the claim is renewed meanwhile.
    SlowJob,
    /// `kubectl` brings what the API refuses.
    Refused,
    /// Two objects in one transaction.
    Apply,
    /// The API becomes the owner of what Kubernetes managed.
    TakeOver,
    /// Somebody reports an event.
    Event,
    /// What happened to an instance before is told again when its Ready changes.
    Again,
    /// The control plane writes down that NATS is away.
    Record,
    /// Nobody hears the signal, and the relay tells again.
    Relay,
    /// The agent is started anew.
    Register,
    /// What the database holds of an object can't be read.
    Unreadable,
}

const WAYS: [(Way, &[&str]); 15] = [
    (Way::Adopt, &["controllers.take"]),
    (Way::Orphan, &["controllers.release"]),
    (Way::Guest, &["controllers.leave"]),
    (Way::LastLodger, &["controllers.remove-left"]),
    (Way::Job, &["controllers.recreate"]),
    (Way::SlowJob, &["engine.renew", "store.claim_renew"]),
    (Way::Refused, &["facade.event-refused"]),
    (Way::Apply, &["store.object_apply"]),
    (Way::TakeOver, &["store.object_take_over"]),
    (Way::Event, &["store.event_record"]),
    (Way::Again, &["facade.event-count"]),
    (Way::Record, &["store.status_put"]),
    (Way::Relay, &["server.relay"]),
    (Way::Register, &["store.agent_register"]),
    (Way::Unreadable, &["store.claim_unreadable"]),
];

/// The failpoints that are on no usual way.
pub(crate) fn failpoints() -> impl Iterator<Item = String> {
    let writes = WAYS.iter().flat_map(|(_, writes)| writes.iter());
    writes.flat_map(|write| ["before", "after"].map(|side| format!("{write}.{side}")))
}

/// Kills at a failpoint of a rarer way; says how long it took from the restart until all was well.
pub(crate) async fn kill(plane: &mut Plane, failpoint: &str, prefix: &str) -> Result<Duration> {
    let write = failpoint.rsplit_once('.').map_or("", |(write, _)| write);
    let way = WAYS.iter().find(|(_, writes)| writes.contains(&write));
    let (way, _) = way.with_context(|| format!("no way to {failpoint}"))?;
    let scene = Scene {
        way: *way,
        name: prefix.to_owned(),
        kubectl: plane.kubectl()?,
    };
    let kill = Kill {
        failpoint: failpoint.to_owned(),
        nth: 1,
    };
    scene
        .play(plane, &kill)
        .await
        .with_context(|| format!("{way:?}, killed at {failpoint}"))
}

/// One way with objects of one name.
#[derive(Clone, Debug)]
struct Scene {
    way: Way,
    name: String,
    kubectl: Kubectl,
}
