//! What may be done to a request, and how often each was.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::request::Kind;

/// One way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Answered 500, 503, 504 or 429, and not executed.
    Refused,
    /// Executed, and answered 500 or 504 all the same.
    RefusedAfter,
    /// Not executed and never answered: the client's time-out or the plan's limit ends it.
    Held,
    /// Executed and never answered.
    HeldAfter,
    /// The connection is lost before it was executed.
    Cut,
    /// The connection is lost after it was executed.
    CutAfter,
    /// The connection is lost in the middle of the answer.
    Truncated,
    /// The answer lacks its end and claims to be whole: what was JSON is none.
    Garbled,
    /// A list's first page is short, and its continuation fails with 410 or 500.
    PartialList,
    /// A watch is lost between two events.
    WatchCut,
    /// A watch is lost in the middle of an event.
    WatchTruncated,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::RefusedAfter,
        Self::Held,
        Self::HeldAfter,
        Self::Cut,
        Self::CutAfter,
        Self::Truncated,
        Self::Garbled,
        Self::PartialList,
        Self::WatchCut,
        Self::WatchTruncated,
    ];

    /// Whether a request of that kind can fail so. What fails after it was executed is a fault of its own for writes
    /// only: a read that was executed is one that was not.
    pub(super) fn applies_to(self, kind: Kind) -> bool {
        match self {
            Self::Refused | Self::Held | Self::Cut => true,
            Self::RefusedAfter | Self::HeldAfter | Self::CutAfter => kind == Kind::Write,
            Self::Truncated | Self::Garbled => kind != Kind::Watch,
            Self::PartialList => kind == Kind::List,
            Self::WatchCut | Self::WatchTruncated => kind == Kind::Watch,
        }
    }
}

/// How often each fault was injected.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<Fault, u64>>);

impl Counts {
    pub(super) fn add(&self, fault: Fault) {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(fault)
            .or_default() += 1;
    }

    pub(super) fn all(&self) -> BTreeMap<Fault, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
