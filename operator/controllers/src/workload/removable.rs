//! Whether a live object may be removed for an inventory row. Pure.
//!
//! Labels are no proof: `kubectl get -o yaml | kubectl apply -n elsewhere` copies them, and so do operators to what they
//! make; and anybody can set them. Nor are field managers alone: backup tools restore those, too. What proves that we made
//! an object is that our own apply was answered with its uid, or that our field manager applied its labels when it was
//! made or later ([`is_applied_by`]). A row that an agent found (a create of a paused replica that came late, after its instance was
//! gone) names the uid that was seen: another object of that name is left alone until an agent saw that one too.

use serde_json::Value;
use threeport_model::protocol::inventory::InventoryRow;

use super::identity::{Owner, is_applied_by};

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Removable {
    /// The object of that uid, and no other.
    Yes(String),
    /// It is not ours; why.
    No(&'static str),
    /// Not yet: it is another object than the one that was seen.
    Unseen,
}

/// Whether `live`, which is `owner`'s by its labels, may be removed for `row`.
pub(super) fn removable(row: &InventoryRow, live: &Value, owner: &Owner, manager: &str) -> Removable {
    if *owner != Owner::Ours {
        return Removable::No("it does not carry our identity");
    }
    let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
    let is = |known: &Option<String>| known.as_deref() == Some(uid);
    let made = is_applied(row) && is(&row.uid);
    if !made && !is_applied_by(live, manager) {
        return Removable::No(
            "it carries our labels, but we never gave it those: it is a copy, or another instance's",
        );
    }
    if is_found(row) && !is(&row.uid) && !is(&row.observed.uid) {
        return Removable::Unseen;
    }
    Removable::Yes(uid.to_owned())
}

/// Whether an agent found the object of this row, and no run of the instance made it or took it.
pub(super) fn is_found(row: &InventoryRow) -> bool {
    !is_applied(row) && row.uid.is_some()
}

/// Only our own apply gives a row its hash.
fn is_applied(row: &InventoryRow) -> bool {
    row.plan_hash.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::identity::INSTANCE;

    use super::*;
    use crate::workload::{identity::tests::fields, observed::tests::row};

    const US: &str = "threeport-1";

    const CREATED: &str = "2026-01-02T00:00:00Z";

    fn live(uid: &str, manager: &str) -> Value {
        applied_at(uid, manager, CREATED)
    }

    fn applied_at(uid: &str, manager: &str, time: &str) -> Value {
        let entry =
            json!({"manager": manager, "operation": "Apply", "time": time, "fieldsV1": fields(INSTANCE)});
        json!({"metadata": {"uid": uid, "creationTimestamp": CREATED, "managedFields": [{"manager": "other"}, entry]}})
    }

    fn found(uid: Option<&str>, seen: &str) -> InventoryRow {
        let mut row = row();
        (row.uid, row.plan_hash) = (uid.map(str::to_owned), None);
        row.observed.uid = Some(seen.to_owned());
        row
    }

    #[test]
    fn a_leftover_goes_only_by_label_and_manager_and_the_uid_that_was_seen() {
        let row = found(Some("u"), "u");
        let ours = |live: &Value| removable(&row, live, &Owner::Ours, US);
        assert_eq!(ours(&live("u", US)), Removable::Yes("u".to_owned()));
        assert_eq!(ours(&live("v", US)), Removable::Unseen);
        assert!(matches!(ours(&live("u", "kubectl")), Removable::No(why) if why.contains("copy")));
        let owners = [
            Owner::Foreign("helm".to_owned()),
            Owner::ControlPlane("2".to_owned()),
            Owner::Instance("other".to_owned()),
            Owner::Left,
        ];
        for owner in owners {
            assert!(
                matches!(removable(&row, &live("u", US), &owner, US), Removable::No(_)),
                "{owner:?}"
            );
        }
    }

    /// What a backup tool restores beside its instance, or after it, has all that a late create of ours has, but for the
    /// time. It takes the place of no object that we know either: it is another one, of that name.
    #[test]
    fn what_was_restored_stays_unless_we_applied_to_it_since() {
        let restored = applied_at("v", US, "2020-01-01T00:00:00Z");
        let mut unanswered = row();
        (unanswered.uid, unanswered.plan_hash) = (None, None);
        for row in [found(Some("v"), "v"), row(), unanswered] {
            let kept = removable(&row, &restored, &Owner::Ours, US);
            assert!(
                matches!(kept, Removable::No(why) if why.contains("copy")),
                "{row:?}"
            );
        }
        let since = applied_at("v", US, "2026-02-01T00:00:00Z");
        let uid = || Removable::Yes("v".to_owned());
        assert_eq!(removable(&found(Some("v"), "v"), &since, &Owner::Ours, US), uid());
        let mut taken = row();
        taken.uid = Some("v".to_owned());
        assert_eq!(
            removable(&taken, &restored, &Owner::Ours, US),
            uid(),
            "our apply found nothing to change"
        );
    }

    #[test]
    fn another_object_goes_once_an_agent_saw_it() {
        let row = found(Some("u"), "v");
        let uid = "v".to_owned();
        assert_eq!(
            removable(&row, &live("v", US), &Owner::Ours, US),
            Removable::Yes(uid)
        );
    }

    #[test]
    fn what_our_apply_was_answered_with_goes_whoever_owns_its_fields_now() {
        let yes = |uid: &str| Removable::Yes(uid.to_owned());
        assert_eq!(removable(&row(), &live("u", "helm"), &Owner::Ours, US), yes("u"));
        assert!(matches!(
            removable(&row(), &live("v", "helm"), &Owner::Ours, US),
            Removable::No(_)
        ));
        assert_eq!(
            removable(&row(), &live("v", US), &Owner::Ours, US),
            yes("v"),
            "made anew, answer lost"
        );
        let intent = found(None, "v");
        assert_eq!(
            removable(&intent, &live("w", US), &Owner::Ours, US),
            yes("w"),
            "made, answer lost"
        );
        assert!(matches!(
            removable(&intent, &live("w", "kubectl"), &Owner::Ours, US),
            Removable::No(_)
        ));
    }
}
