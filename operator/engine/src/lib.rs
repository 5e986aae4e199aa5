//! The reconcile engine: takes work, runs each object's controller one at a time, gives the work back. Knows no kind.
//!
//! **Where work comes from.** Two ways, always both. A *signal* ([`signal`]) is a JetStream message that names an
//! object; it gives latency and may be lost. The *sweep* ([`engine`]) asks the API every 15 s for whatever is due and
//! unclaimed; it gives correctness and needs no NATS. Both lead to a *claim* ([`source`]): the object with all that it
//! refers to, an epoch that fences its holder, and a time to live. The database's pending row, not the message, is what
//! a crash leaves behind, so a message is acknowledged as soon as its key is queued.
//!
//! **What runs.** The [`queue`] holds a key at most once: a duplicate merges, one that arrives during a run marks the
//! key dirty and it runs again. Fresh changes go before retries, these before re-verification; what one commit made for
//! hundreds has a share of the runs and leaves the others to what else is fresh. A *budget* (a runtime, say; named by the
//! claim) limits how many run at once against one thing, so one dead cluster slows no other.
//!
//! **How it ends.** A [`controller::Controller`] is four functions (load, plan, execute, status); its [`report`] says
//! Done, RequeueAfter, WaitFor or Stalled, and becomes one `complete` request. Nothing is remembered between runs that
//! the database doesn't know, so restart, retry and failover are the same code path as the first run.
//!
//! What not to do: no decision here may depend on a kind; no state here may be needed for correctness.

pub mod backoff;
pub mod controller;
pub mod engine;
pub mod intake;
pub mod lease;
pub mod metrics;
pub mod options;
pub mod queue;
pub mod report;
pub mod signal;
pub mod source;
pub mod writes;

mod failure;
mod held;
mod run;
mod weight;

pub use controller::{Controller, Reconciler, Run, RunError};
pub use engine::Engine;
pub use intake::Intake;
pub use lease::{Lease, LeaseLost};
pub use options::Options;
pub use queue::{Class, Found};
pub use report::{Outcome, Report};
pub use source::{Source, SourceError};
