use serde_json::json;
use threeport_model::kinds::workload_instance::Health;

use super::*;
use crate::workload::{
    fixture::{desired, world},
    observed::tests::row,
};

fn actions(plan: &Plan) -> Vec<&Action> {
    match plan {
        Plan::Apply { steps, .. } => steps.iter().map(|step| &step.action).collect(),
        other => panic!("{other:?}"),
    }
}

fn live(uid: &str, labels: bool) -> Value {
    let world = world();
    let labels = if labels {
        json!(threeport_model::identity::labels(
            world.identity.control_plane,
            world.instance(),
            "web"
        ))
    } else {
        json!({})
    };
    json!({"metadata": {"uid": uid, "labels": labels}})
}

fn planned(change: impl FnOnce(&mut World)) -> Plan {
    let mut world = world();
    world.desired = vec![desired("h")];
    world.claim.inventory = vec![row()];
    change(&mut world);
    plan(&world, jiff::Timestamp::UNIX_EPOCH)
}

#[test]
fn what_is_as_it_should_be_is_kept_and_what_is_new_is_created() {
    assert_eq!(actions(&planned(|_| {})), [&Action::Keep]);
    assert_eq!(
        actions(&planned(|world| world.claim.inventory.clear())),
        [&Action::Create]
    );
    let update = Action::Update {
        uid: "u".to_owned(),
        heal: false,
    };
    assert_eq!(
        actions(&planned(|world| world.desired = vec![desired("other")])),
        [&update]
    );
}

/// Somebody gave another instance's object our label, and we want one of that name: whose it is, intent decides. Until then
/// it is neither written to nor removed.
#[test]
fn what_an_agent_found_is_written_with_intent_as_if_it_were_new() {
    let found = |hash: Option<&str>| {
        planned(|world| {
            world.claim.inventory[0].plan_hash = hash.map(str::to_owned);
            world.live.insert(row().id, Some(live("u", true)));
        })
    };
    let is_new = |plan: Plan| match plan {
        Plan::Apply { steps, removals } => {
            assert!(removals.is_empty(), "{removals:?}");
            steps[0].is_new && steps[0].row.uid.is_none() && steps[0].action == Action::Create
        }
        other => panic!("{other:?}"),
    };
    assert!(is_new(found(None)));
    assert!(!is_new(found(Some("another"))), "what we applied");
}

#[test]
fn an_obstacle_blocks_everything_even_a_deletion() {
    for deleting in [false, true] {
        let plan = planned(|world| {
            world.obstacle = Some(Obstacle::new(Reason::RuntimeUnreachable, "", ""));
            world.claim.deleted = deleting;
        });
        assert_eq!(plan, Plan::Blocked);
    }
}

#[test]
fn what_was_seen_to_differ_is_decided_by_what_is_there() {
    let seen = |found: Option<Value>| {
        planned(|world| {
            world.claim.inventory[0].observed.ownership_digest = Some("other".to_owned());
            world.live.insert(world.claim.inventory[0].id, found);
        })
    };
    assert_eq!(actions(&seen(None)), [&Action::Create]);
    assert_eq!(
        actions(&seen(Some(live("u", true)))),
        [&Action::Update {
            uid: "u".to_owned(),
            heal: true
        }]
    );
    // Our labels were taken off, yet it is the object that we made: a foreign change of fields of ours.
    assert_eq!(
        actions(&seen(Some(live("u", false)))),
        [&Action::Update {
            uid: "u".to_owned(),
            heal: true
        }]
    );
    // Another object of that name: ours (made by a late create), or not ours at all.
    assert_eq!(
        actions(&seen(Some(live("v", true)))),
        [&Action::Update {
            uid: "v".to_owned(),
            heal: false
        }]
    );
    assert_eq!(actions(&seen(Some(live("v", false)))), [&Action::Create]);
    let mut going = live("u", true);
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(matches!(actions(&seen(Some(going)))[0], Action::Refuse(_)));
}

#[test]
fn a_stale_observation_of_an_untouched_object_writes_nothing() {
    let plan = planned(|world| {
        world.claim.inventory[0].observed.health = Health::Missing;
        world.claim.inventory[0].ownership_digest = None;
        world
            .live
            .insert(world.claim.inventory[0].id, Some(live("u", true)));
    });
    assert_eq!(actions(&plan), [&Action::Keep]);
}

/// What an agent found of an instance that goes on, and the database has no record of.
#[test]
fn what_the_database_has_no_record_of_stays_while_its_instance_does() {
    let mut world = world();
    let found = InventoryRow {
        plan_hash: None,
        unrecorded: true,
        ..row()
    };
    world.claim.inventory = vec![found.clone()];
    assert!(removals(&world, &[]).is_empty());

    let known = InventoryRow {
        id: Uuid::from_u128(5),
        group: "extensions".to_owned(),
        ..row()
    };
    world.claim.inventory.push(known);
    assert_eq!(
        removals(&world, &[]).len(),
        2,
        "both are of one object, which we know"
    );
    world.claim.inventory.truncate(1);

    world.claim.inventory[0].unrecorded = false;
    assert_eq!(removals(&world, &[]).len(), 1, "it was made late");
    world.claim.inventory[0].unrecorded = true;
    world.claim.object.metadata.deletion_requested_at = Some(jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(removals(&world, &[]), [found]);
}

#[test]
fn removal_goes_the_other_way() {
    let kinds = [
        ("", "Namespace"),
        ("apps", "Deployment"),
        ("example.org", "Widget"),
        ("", "ConfigMap"),
    ];
    let rows = kinds.map(|(group, kind)| InventoryRow {
        group: group.to_owned(),
        kind: kind.to_owned(),
        ..row()
    });
    let mut world = world();
    world.claim.inventory = rows.to_vec();
    let order: Vec<_> = removals(&world, &[]).into_iter().map(|row| row.kind).collect();
    assert_eq!(order, ["Widget", "Deployment", "ConfigMap", "Namespace"]);
    world.claim.inventory = vec![row()];
    assert!(removals(&world, &[desired("h")]).is_empty());
    world.claim.inventory[0].runtime_id = Uuid::from_u128(8);
    assert_eq!(
        removals(&world, &[desired("h")]).len(),
        1,
        "what is in another cluster than it is to be is removed there"
    );
}
