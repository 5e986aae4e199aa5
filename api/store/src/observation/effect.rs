//! What an observation means for the row that it is of. Pure.

use threeport_model::{
    kinds::workload_instance::Health,
    protocol::{agent::Observation, inventory::InventoryRow},
};

/// What an observation means for the row that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Older than what is stored.
    Stale,
    /// Stored; nobody must hear.
    Silent,
    /// Stored; the instance has work.
    Relevant,
}

/// What `observation` means for `row`. Pure.
pub(super) fn effect(row: &InventoryRow, observation: &Observation, epoch: i64, sequence: i64) -> Effect {
    let stored = &row.observed;
    if (epoch, sequence) < (stored.epoch, stored.sequence) {
        return Effect::Stale;
    }
    // That an object is gone is covered by its uid alone: it does not come back, and who lists anew knows only the version
    // that was seen last.
    let gone = observation.health == Health::Missing
        && stored.health == Health::Missing
        && stored.uid.as_deref() == Some(observation.uid.as_str());
    let uncovered = !gone
        && row.applied_resource_version.as_deref().is_some_and(|applied| {
            !stored
                .resource_version
                .as_deref()
                .is_some_and(|seen| covers(seen, applied))
        });
    let differs = stored.epoch != epoch
        || stored.health != observation.health
        || stored.message != observation.message
        || stored.uid.as_deref() != Some(observation.uid.as_str())
        || stored.ownership_digest != observation.ownership_digest
        || stored.images != observation.images
        || (observation.completed.is_some() && observation.completed != row.completed_hash)
        || (uncovered && stored.resource_version.as_deref() != Some(&observation.resource_version));
    if differs { Effect::Relevant } else { Effect::Silent }
}

/// Whether what was seen is not older than what was applied. Resource versions are numbers in practice and opaque by
/// contract: what are none are compared for equality.
fn covers(seen: &str, applied: &str) -> bool {
    match (seen.parse::<u64>(), applied.parse::<u64>()) {
        (Ok(seen), Ok(applied)) => seen >= applied,
        _ => seen == applied,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn seen(resource_version: &str, health: Health) -> Observation {
        Observation {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "web".to_owned(),
            name: "web".to_owned(),
            uid: "u".to_owned(),
            instance_id: Uuid::nil(),
            resource_version: resource_version.to_owned(),
            ownership_digest: None,
            other_managers: Vec::new(),
            health,
            message: String::new(),
            images: Vec::new(),
            completed: None,
        }
    }

    fn row(applied: &str, resource_version: &str) -> InventoryRow {
        let observed = serde_json::json!({"health": "Current", "uid": "u", "resourceVersion": resource_version,
            "epoch": 2, "sequence": 5});
        serde_json::from_value(serde_json::json!({
            "id": Uuid::nil(), "runtimeId": Uuid::nil(), "instanceId": Uuid::nil(), "version": "v1",
            "kind": "Deployment", "name": "web", "appliedResourceVersion": applied, "observed": observed,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_differs_is_work() {
        assert_eq!(
            effect(&row("9", "10"), &seen("11", Health::Current), 2, 6),
            Effect::Silent
        );
        assert_eq!(
            effect(&row("9", "10"), &seen("11", Health::Failed), 2, 6),
            Effect::Relevant
        );
        assert_eq!(
            effect(&row("11", "10"), &seen("11", Health::Current), 2, 6),
            Effect::Relevant
        );
        assert_eq!(
            effect(&row("9", "10"), &seen("10", Health::Current), 3, 1),
            Effect::Relevant,
            "a new epoch"
        );
        assert_eq!(
            effect(&row("9", "10"), &seen("10", Health::Failed), 2, 4),
            Effect::Stale
        );
        assert_eq!(
            effect(&row("9", "10"), &seen("10", Health::Failed), 1, 9),
            Effect::Stale
        );
    }

    #[test]
    fn that_a_job_completed_is_work_once() {
        let mut job = row("9", "10");
        let mut complete = seen("10", Health::Current);
        complete.completed = Some("h".to_owned());
        assert_eq!(effect(&job, &complete, 2, 6), Effect::Relevant);
        job.completed_hash = Some("h".to_owned());
        assert_eq!(effect(&job, &complete, 2, 6), Effect::Silent);
        complete.completed = None;
        assert_eq!(effect(&job, &complete, 2, 6), Effect::Silent);
    }

    #[test]
    fn that_an_object_is_gone_counts_by_its_uid_alone() {
        let applied = row("30", "20");
        assert_eq!(
            effect(&applied, &seen("10", Health::Missing), 2, 6),
            Effect::Relevant,
            "whichever version was seen last"
        );
        let mut gone = row("30", "20");
        gone.observed.health = Health::Missing;
        assert_eq!(
            effect(&gone, &seen("25", Health::Missing), 2, 6),
            Effect::Silent,
            "it is known"
        );
        let mut another = gone.clone();
        another.observed.uid = Some("the one before".to_owned());
        assert_eq!(
            effect(&another, &seen("25", Health::Missing), 2, 6),
            Effect::Relevant
        );
    }

    #[test]
    fn resource_versions_are_numbers_or_opaque() {
        assert!(covers("10", "9") && !covers("9", "10") && covers("x", "x") && !covers("y", "x"));
    }
}
