//! The agent: one per control plane and cluster. It watches what the control plane has put into the cluster and
//! reports how that is. It dials out only, and never writes to the cluster.
//!
//! ```text
//!  kube-apiserver --watch--> watch (a task per kind) --Event--> world --Observation--> outbox --batch--> API
//!                            watch (pods, ReplicaSets) --------^   (one task, no locks)        (one in flight)
//! ```
//!
//! - [`session`]: an epoch. Registration, heartbeats, which kinds to watch. It ends when the API says that there is
//!   a newer epoch, or that it does not remember what it was told ([`heard`]); then everything is seen anew.
//! - [`watch`], [`discovery`]: lists and watches one kind. Kinds whose status says nothing, and Secrets always, are
//!   watched by their metadata only.
//! - [`project`]: what of an object is reported. [`health`]: how it is, by the rules of kstatus.
//! - [`pods`]: pods carry none of our labels; they are found by their owners, for reasons and images.
//! - [`world`]: what is known now, as little of it as will do; turns events into observations.
//! - [`outbox`], [`report`]: observations on their way to the API: coalesced per object, in order, in batches.
//! - [`control_plane`]: the four calls to the API.
//!
//! What can't be listed is reported as that, and nothing is ever called missing that was not seen to be: what a list of
//! a kind shows is told, and the kind's snapshot closed, only once the list is complete.
//!
//! Rights in the cluster: `get`, `list` and `watch` on the kinds of the workloads (Secrets included, since their
//! metadata can't be granted alone), on `pods` and on `replicasets.apps`; nothing else.

pub mod control_plane;
pub mod discovery;
pub mod health;
pub mod heard;
pub mod metrics;
pub mod outbox;
pub mod pods;
pub mod project;
pub mod report;
pub mod session;
pub mod watch;
pub mod world;
pub mod writes;
