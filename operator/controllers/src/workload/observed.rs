//! What an agent's observation of an inventory row says. Pure.
//!
//! An observation counts only if it is of the agent's present epoch, of the very object that we know (uid), and not
//! older than our last write of it. One that doesn't count says nothing: neither healthy nor gone.
//!
//! An agent that starts anew has an epoch of its own, and needs a moment to list everything. Until the list of a kind
//! is closed, what the epoch before said of it still holds for status ([`health`]), so that an agent's restart is no
//! outage of every instance; nothing is read or written for its sake. Whether it may hold after a silence is for
//! [`super::status`] to say, by [`is_taking_stock`].

use threeport_model::{
    kinds::workload_instance::Health,
    protocol::{
        agent::AgentState,
        inventory::{InventoryRow, Observed},
    },
};

use super::job;

/// What must be found out or done about an object that should be as it was last applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: it is as it should be, or nothing says otherwise.
    Nothing,
    /// It was seen to differ: read it.
    Read,
    /// Something else is wanted than was applied.
    Write,
}

/// What there is to do about a row whose object should have `hash`.
pub(super) fn need(row: &InventoryRow, hash: &str, agent: Option<&AgentState>) -> Need {
    if job::is_completed(row, hash) {
        return Need::Nothing;
    }
    if row.uid.is_none() || row.plan_hash.as_deref() != Some(hash) {
        return Need::Write;
    }
    let Some(observed) = current(row, agent) else {
        return Need::Nothing;
    };
    let gone = observed.health == Health::Missing;
    let replaced = observed.uid.is_some() && observed.uid != row.uid;
    let taken = !gone && observed.ownership_digest != row.ownership_digest;
    if gone || replaced || taken {
        Need::Read
    } else {
        Need::Nothing
    }
}

/// How the row's object is, and why: Unknown where no observation counts.
pub(super) fn health(row: &InventoryRow, agent: Option<&AgentState>) -> (Health, String) {
    if row
        .plan_hash
        .as_deref()
        .is_some_and(|hash| job::is_completed(row, hash))
    {
        return (Health::Current, String::new());
    }
    if row.uid.is_none() {
        return (Health::InProgress, "not applied yet".to_owned());
    }
    let agent = agent_of(row, agent);
    let known = current(row, agent).or_else(|| of_the_epoch_before(row, agent));
    match known.filter(|observed| observed.uid == row.uid || observed.health == Health::Missing) {
        Some(observed) => (observed.health, observed.message.clone()),
        None if is_unlistable(row) => (Health::Unknown, row.observed.message.clone()),
        None => (Health::InProgress, "not observed yet".to_owned()),
    }
}

/// Whether the row's kind can't be listed: the only thing that is said without the object being seen.
fn is_unlistable(row: &InventoryRow) -> bool {
    row.observed.health == Health::Unknown && !row.observed.message.is_empty()
}

/// Whether the agent has yet to see the row's object in its present epoch.
pub(super) fn is_taking_stock(row: &InventoryRow, agent: &AgentState) -> bool {
    let closed = agent
        .closed
        .iter()
        .any(|kind| kind.group == row.group && kind.kind == row.kind);
    row.observed.epoch < agent.epoch && !closed
}

fn of_the_epoch_before<'a>(row: &'a InventoryRow, agent: Option<&AgentState>) -> Option<&'a Observed> {
    let observed = &row.observed;
    let known = observed.seen_at.is_some() && observed.health != Health::Missing && covers(observed, row);
    (known && agent.is_some_and(|agent| is_taking_stock(row, agent))).then_some(observed)
}

/// The agent, if it is the one of the row's cluster.
pub(super) fn agent_of<'a>(row: &InventoryRow, agent: Option<&'a AgentState>) -> Option<&'a AgentState> {
    // One that does not say where it is comes from an older API, whose instances are in one cluster.
    agent.filter(|agent| agent.runtime_id.is_none_or(|runtime| runtime == row.runtime_id))
}

/// The observation, if it is of the agent's epoch and not older than our last write.
fn current<'a>(row: &'a InventoryRow, agent: Option<&AgentState>) -> Option<&'a Observed> {
    let observed = &row.observed;
    let epoch =
        agent_of(row, agent).is_some_and(|agent| agent.epoch == observed.epoch) && observed.seen_at.is_some();
    let counts = if observed.health == Health::Missing {
        // By the uid alone: one that is gone does not come back, whichever version of it was seen last. A closed list,
        // in which nothing of the name was, says no uid.
        observed.uid.is_none() || observed.uid == row.uid
    } else {
        covers(observed, row)
    };
    (epoch && counts).then_some(observed)
}

/// Whether the row's object was seen as it was last applied, or later.
pub(super) fn is_covered(row: &InventoryRow, agent: Option<&AgentState>) -> bool {
    current(row, agent).is_some_and(|observed| observed.health != Health::Missing)
}

/// Whether an agent saw the row's object with all that we wrote of it, and nobody else who owns any field, be it one that
/// was left to him (replicas to an autoscaler).
pub(super) fn is_untouched(row: &InventoryRow, agent: Option<&AgentState>) -> bool {
    current(row, agent).is_some_and(|observed| {
        observed.health != Health::Missing && is_as_we_left_it(row) && observed.other_managers.is_empty()
    })
}

/// Whether the row's own object was seen, with all that we wrote of it, our labels included.
pub(super) fn is_as_we_left_it(row: &InventoryRow) -> bool {
    let observed = &row.observed;
    // What an agent can't list any more it saw some time ago, however long.
    !is_unlistable(row)
        && observed.uid.is_some()
        && observed.uid == row.uid
        && observed.ownership_digest.is_some()
        && observed.ownership_digest == row.ownership_digest
}

fn covers(observed: &Observed, row: &InventoryRow) -> bool {
    match (
        observed.resource_version.as_deref(),
        row.applied_resource_version.as_deref(),
    ) {
        (Some(seen), Some(applied)) => match (seen.parse::<u64>(), applied.parse::<u64>()) {
            (Ok(seen), Ok(applied)) => seen >= applied,
            _ => seen == applied,
        },
        (_, None) => true,
        (None, Some(_)) => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use uuid::Uuid;

    use threeport_model::protocol::agent::WatchedKind;

    use super::*;

    pub(in super::super) fn row() -> InventoryRow {
        InventoryRow {
            id: Uuid::from_u128(1),
            runtime_id: Uuid::from_u128(2),
            instance_id: Uuid::from_u128(3),
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            kind: "Deployment".to_owned(),
            plural: "deployments".to_owned(),
            namespace: "web".to_owned(),
            name: "api".to_owned(),
            uid: Some("u".to_owned()),
            plan_hash: Some("h".to_owned()),
            ownership_digest: Some("d".to_owned()),
            applied_resource_version: Some("100".to_owned()),
            completed_hash: None,
            observed: Observed {
                health: Health::Current,
                uid: Some("u".to_owned()),
                resource_version: Some("100".to_owned()),
                ownership_digest: Some("d".to_owned()),
                epoch: 7,
                seen_at: Some(jiff::Timestamp::UNIX_EPOCH),
                ..Observed::default()
            },
            healed_at: Vec::new(),
            unrecorded: false,
        }
    }

    pub(in super::super) fn agent() -> AgentState {
        AgentState {
            runtime_id: Some(row().runtime_id),
            epoch: 7,
            version: "1".to_owned(),
            last_seen: jiff::Timestamp::UNIX_EPOCH,
            heard: true,
            closed: Vec::new(),
        }
    }

    fn with(change: impl FnOnce(&mut InventoryRow)) -> InventoryRow {
        let mut row = row();
        change(&mut row);
        row
    }

    #[test]
    fn equal_hash_uid_and_digest_need_nothing() {
        assert_eq!(need(&row(), "h", Some(&agent())), Need::Nothing);
        assert_eq!(health(&row(), Some(&agent())), (Health::Current, String::new()));
    }

    #[test]
    fn another_hash_needs_a_write_and_another_uid_or_digest_or_absence_a_read() {
        let agent = agent();
        assert_eq!(need(&row(), "other", Some(&agent)), Need::Write);
        assert_eq!(need(&with(|row| row.uid = None), "h", Some(&agent)), Need::Write);
        for changed in [
            with(|row| row.observed.uid = Some("v".to_owned())),
            with(|row| row.observed.ownership_digest = Some("e".to_owned())),
            with(|row| row.observed.ownership_digest = None),
            with(|row| row.observed.health = Health::Missing),
        ] {
            assert_eq!(need(&changed, "h", Some(&agent)), Need::Read, "{changed:?}");
        }
    }

    #[test]
    fn until_its_list_is_closed_the_epoch_before_holds_for_status_and_for_nothing_else() {
        let row = with(|row| row.observed.epoch = 6);
        assert_eq!(health(&row, Some(&agent())).0, Health::Current);
        let taken = with(|row| {
            row.observed.epoch = 6;
            row.observed.ownership_digest = None;
        });
        assert_eq!(need(&taken, "h", Some(&agent())), Need::Nothing);
        for never in [
            with(|row| (row.observed.epoch, row.observed.health) = (6, Health::Missing)),
            with(|row| (row.observed.epoch, row.observed.uid) = (6, Some("v".to_owned()))),
            with(|row| (row.observed.epoch, row.observed.resource_version) = (6, Some("99".to_owned()))),
        ] {
            assert_eq!(health(&never, Some(&agent())).0, Health::InProgress, "{never:?}");
        }
        let kind = WatchedKind {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            kind: "Deployment".to_owned(),
        };
        let closed = AgentState {
            closed: vec![kind],
            ..agent()
        };
        assert_eq!(health(&row, Some(&closed)).0, Health::InProgress);
    }

    #[test]
    fn what_does_not_count_says_nothing() {
        for row in [
            with(|row| row.observed.resource_version = Some("99".to_owned())),
            with(|row| row.observed.resource_version = None),
            with(|row| row.observed.seen_at = None),
        ] {
            let row = InventoryRow {
                observed: Observed {
                    ownership_digest: Some("x".to_owned()),
                    ..row.observed.clone()
                },
                ..row
            };
            assert_eq!(need(&row, "h", Some(&agent())), Need::Nothing);
            assert_eq!(health(&row, Some(&agent())).0, Health::InProgress);
        }
        assert_eq!(
            need(&with(|row| row.observed.health = Health::Missing), "h", None),
            Need::Nothing
        );
    }

    #[test]
    fn that_our_object_is_gone_counts_whichever_version_was_seen_last() {
        let old = |uid: &str| {
            with(|row| {
                row.observed.health = Health::Missing;
                row.observed.resource_version = Some("99".to_owned());
                row.observed.uid = Some(uid.to_owned());
            })
        };
        assert_eq!(need(&old("u"), "h", Some(&agent())), Need::Read);
        assert_eq!(health(&old("u"), Some(&agent())).0, Health::Missing);
        let mut before = old("the one before");
        for version in ["99", "101"] {
            before.observed.resource_version = Some(version.to_owned());
            assert_eq!(need(&before, "h", Some(&agent())), Need::Nothing, "{version}");
            assert_eq!(health(&before, Some(&agent())).0, Health::InProgress);
        }
    }

    #[test]
    fn health_of_another_object_of_that_name_does_not_count() {
        let other = with(|row| row.observed.uid = Some("v".to_owned()));
        assert_eq!(health(&other, Some(&agent())).0, Health::InProgress);
    }

    #[test]
    fn a_kind_that_can_t_be_listed_is_unknown_whether_its_objects_were_seen_or_not() {
        let mut row =
            with(|row| (row.observed.health, row.observed.message) = (Health::Unknown, "no".to_owned()));
        let unknown = (Health::Unknown, "no".to_owned());
        assert_eq!(health(&row, Some(&agent())), unknown);
        (row.observed.epoch, row.observed.seen_at, row.observed.uid) = (0, None, None);
        assert_eq!(health(&row, Some(&agent())), unknown);
        assert_eq!(need(&row, "h", Some(&agent())), Need::Nothing);
    }

    #[test]
    fn a_completed_job_may_be_gone() {
        let row = with(|row| {
            row.group = "batch".to_owned();
            row.kind = "Job".to_owned();
            row.completed_hash = Some("h".to_owned());
            row.observed.health = Health::Missing;
        });
        assert_eq!(need(&row, "h", Some(&agent())), Need::Nothing);
        assert_eq!(health(&row, Some(&agent())).0, Health::Current);
        assert_eq!(need(&row, "other", Some(&agent())), Need::Write);
    }
}
