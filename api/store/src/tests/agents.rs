//! Agents and what they see.

use serde_json::json;
use threeport_model::{
    Code,
    kinds::workload_instance::{Health, RunningImage},
    protocol::{
        agent::{
            HeartbeatRequest, HeartbeatResponse, Observation, ObservationsRequest, RegisterRequest,
            RegisterResponse, Unlistable, WatchedKind,
        },
        claim::{Claim, CompleteRequest, Next, Trigger},
    },
};
use uuid::Uuid;

use super::{
    harness::{Bed, database_test, done},
    inventories::{intend, row},
};
use crate::{
    Result, StatusFence,
    database::sql::{Fetch, Sql},
};

async fn register(bed: &Bed) -> RegisterResponse {
    let request = RegisterRequest {
        runtime: None,
        version: "1".to_owned(),
    };
    let (response, notices) = bed.store.agent_register(&request).await.unwrap();
    let told: Vec<_> = notices.iter().map(|notice| notice.id).collect();
    assert_eq!(told, [response.runtime_id], "its runtime is told of at once");
    response
}

/// A heartbeat that remembers the one before.
async fn heartbeat(
    bed: &Bed,
    agent: &RegisterResponse,
    seen: Option<jiff::Timestamp>,
) -> Result<HeartbeatResponse> {
    let epoch = agent.epoch;
    let request = HeartbeatRequest { epoch, seen };
    bed.store.agent_heartbeat(agent.runtime_id, &request).await
}

fn kind() -> WatchedKind {
    WatchedKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
    }
}

pub(super) fn seen(claim: &Claim, name: &str, resource_version: &str, health: Health) -> Observation {
    Observation {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: "web".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        instance_id: claim.object.id(),
        resource_version: resource_version.to_owned(),
        ownership_digest: Some("digest".to_owned()),
        other_managers: Vec::new(),
        health,
        message: String::new(),
        images: Vec::new(),
        completed: None,
    }
}

pub(super) fn report(
    agent: &RegisterResponse,
    sequence: i64,
    observations: Vec<Observation>,
) -> ObservationsRequest {
    ObservationsRequest {
        epoch: agent.epoch,
        sequence,
        observations,
        ..ObservationsRequest::default()
    }
}

pub(super) async fn observe(bed: &Bed, agent: &RegisterResponse, request: &ObservationsRequest) -> Vec<Uuid> {
    let (_, notices) = bed.store.agent_observe(agent.runtime_id, request).await.unwrap();
    notices.into_iter().map(|notice| notice.id).collect()
}

/// An instance with applied rows `a` and `b`, nothing pending, and its agent.
pub(super) async fn applied(bed: &Bed) -> (Claim, RegisterResponse) {
    let runtime = bed.runtime().await.id();
    bed.definition("web").await;
    let instance = bed.instance("web", "web").await;
    let claim = bed.claim_one(instance.id()).await;
    let mut rows = vec![row(&claim, runtime, "a"), row(&claim, runtime, "b")];
    intend(bed, &claim, &rows).await;
    for row in &mut rows {
        row.uid = Some(format!("uid-{}", row.name));
        row.applied_resource_version = Some("10".to_owned());
    }
    bed.store
        .claim_complete(&CompleteRequest {
            inventory: rows,
            ..done(&claim)
        })
        .await
        .unwrap();
    bed.settle().await;
    let agent = register(bed).await;
    bed.settle().await;
    (claim, agent)
}

async fn health(bed: &Bed, name: &str) -> (Health, i64) {
    let rows = bed
        .store
        .object_resources("WorkloadInstance", "web")
        .await
        .unwrap();
    let row = rows.iter().find(|row| row.name == name).unwrap();
    (row.observed.health, row.observed.epoch)
}

database_test!(what_differs_is_work_and_what_does_not_is_none, bed, {
    let (claim, agent) = applied(bed).await;
    let id = claim.object.id();
    let first = report(&agent, 1, vec![seen(&claim, "a", "10", Health::InProgress)]);
    assert_eq!(observe(bed, &agent, &first).await, [id]);
    let claimed = bed.claim_one(id).await;
    assert_eq!(claimed.trigger, Trigger::Observation);
    let found = claimed.inventory.iter().find(|row| row.name == "a").unwrap();
    assert_eq!(found.observed.health, Health::InProgress);
    assert_eq!(found.observed.resource_version.as_deref(), Some("10"));
    assert_eq!(
        claimed.agent.as_ref().map(|agent| (agent.epoch, agent.heard)),
        Some((agent.epoch, true))
    );
    bed.store.claim_complete(&done(&claimed)).await.unwrap();
    let newer = report(&agent, 2, vec![seen(&claim, "a", "11", Health::InProgress)]);
    assert!(
        observe(bed, &agent, &newer).await.is_empty(),
        "only the resource version is newer"
    );
    let late = report(&agent, 1, vec![seen(&claim, "a", "10", Health::Failed)]);
    assert!(observe(bed, &agent, &late).await.is_empty(), "it is older");
    assert_eq!(health(bed, "a").await.0, Health::InProgress);
    let mut image = seen(&claim, "a", "12", Health::InProgress);
    image.images = vec![RunningImage {
        image_id: "sha256:1".to_owned(),
        ..RunningImage::default()
    }];
    assert_eq!(observe(bed, &agent, &report(&agent, 3, vec![image])).await, [id]);
});

database_test!(
    an_apply_that_is_answered_with_a_version_seen_before_is_covered,
    bed,
    {
        let (claim, agent) = applied(bed).await;
        observe(
            bed,
            &agent,
            &report(&agent, 1, vec![seen(&claim, "a", "10", Health::Current)]),
        )
        .await;
        bed.settle().await;
        let silent = report(&agent, 2, vec![seen(&claim, "a", "20", Health::Current)]);
        assert!(observe(bed, &agent, &silent).await.is_empty());
        let rows = bed
            .store
            .object_resources("WorkloadInstance", "web")
            .await
            .unwrap();
        assert_eq!(rows[0].observed.resource_version.as_deref(), Some("20"));
    }
);

database_test!(what_is_seen_during_a_run_has_it_run_again, bed, {
    let (claim, agent) = applied(bed).await;
    observe(
        bed,
        &agent,
        &report(&agent, 1, vec![seen(&claim, "a", "10", Health::Current)]),
    )
    .await;
    let running = bed.claim_one(claim.object.id()).await;
    observe(
        bed,
        &agent,
        &report(&agent, 2, vec![seen(&claim, "a", "30", Health::Current)]),
    )
    .await;
    let (response, _) = bed.store.claim_complete(&done(&running)).await.unwrap();
    assert!(
        response.pending,
        "its apply may have been answered with that very version"
    );
});

database_test!(a_closed_list_tells_what_is_missing, bed, {
    let (claim, agent) = applied(bed).await;
    let mut request = report(&agent, 1, vec![seen(&claim, "a", "10", Health::Current)]);
    observe(bed, &agent, &request).await;
    assert_eq!(
        health(bed, "b").await,
        (Health::Unknown, 0),
        "an open list says nothing"
    );
    bed.settle().await;
    request.sequence = 2;
    request.observations.clear();
    request.closed = vec![kind()];
    assert_eq!(observe(bed, &agent, &request).await, [claim.object.id()]);
    assert_eq!(health(bed, "a").await.0, Health::Current);
    assert_eq!(health(bed, "b").await, (Health::Missing, agent.epoch));
    assert_eq!(
        bed.claim_one(claim.object.id()).await.agent.unwrap().closed,
        [kind()]
    );
});

database_test!(what_is_gone_is_gone_whichever_version_was_seen_last, bed, {
    let (claim, agent) = applied(bed).await;
    let id = claim.object.id();
    let alive = report(&agent, 1, vec![seen(&claim, "a", "12", Health::Current)]);
    observe(bed, &agent, &alive).await;
    bed.settle().await;
    // The apply was answered with 10; an agent that lists anew knows only what it saw before that.
    let gone = report(&agent, 2, vec![seen(&claim, "a", "7", Health::Missing)]);
    assert_eq!(observe(bed, &agent, &gone).await, [id]);
    let found = bed.claim_one(id).await;
    let row = found.inventory.iter().find(|row| row.name == "a").unwrap();
    assert_eq!(
        (row.observed.health, &row.observed.uid),
        (Health::Missing, &row.uid),
        "who reads it knows that it is ours that is gone"
    );
    bed.store.claim_complete(&done(&found)).await.unwrap();
    let again = report(&agent, 3, vec![seen(&claim, "a", "8", Health::Missing)]);
    assert!(observe(bed, &agent, &again).await.is_empty(), "that is no news");
});

database_test!(what_cannot_be_listed_is_unknown, bed, {
    let (claim, agent) = applied(bed).await;
    observe(
        bed,
        &agent,
        &report(&agent, 1, vec![seen(&claim, "a", "10", Health::Current)]),
    )
    .await;
    bed.settle().await;
    let mut request = report(&agent, 2, Vec::new());
    request.unlistable = vec![Unlistable {
        kind: kind(),
        message: "forbidden".to_owned(),
    }];
    assert_eq!(observe(bed, &agent, &request).await, [claim.object.id()]);
    assert_eq!(health(bed, "a").await.0, Health::Unknown);
    request.sequence = 3;
    bed.settle().await;
    assert!(
        observe(bed, &agent, &request).await.is_empty(),
        "it is known already"
    );
});

database_test!(
    a_list_that_failed_at_first_tells_what_is_missing_in_the_end,
    bed,
    {
        let (claim, before) = applied(bed).await;
        let both = ["a", "b"].map(|name| seen(&claim, name, "10", Health::Current));
        observe(bed, &before, &report(&before, 1, both.to_vec())).await;
        let agent = register(bed).await;
        let mut request = report(&agent, 1, Vec::new());
        request.unlistable = vec![Unlistable {
            kind: kind(),
            message: "no answer".to_owned(),
        }];
        observe(bed, &agent, &request).await;
        assert_eq!(health(bed, "b").await.0, Health::Unknown);
        bed.settle().await;
        let mut request = report(&agent, 2, vec![seen(&claim, "a", "10", Health::Current)]);
        request.closed = vec![kind()];
        assert_eq!(observe(bed, &agent, &request).await, [claim.object.id()]);
        assert_eq!(health(bed, "a").await, (Health::Current, agent.epoch));
        assert_eq!(health(bed, "b").await, (Health::Missing, agent.epoch));
    }
);

database_test!(
    what_was_gone_before_its_kind_could_not_be_listed_is_missing_after_that,
    bed,
    {
        let (claim, agent) = applied(bed).await;
        let both = ["a", "b"].map(|name| seen(&claim, name, "10", Health::Current));
        observe(bed, &agent, &report(&agent, 1, both.to_vec())).await;
        let gone = seen(&claim, "b", "11", Health::Missing);
        observe(bed, &agent, &report(&agent, 2, vec![gone])).await;
        let mut request = report(&agent, 3, Vec::new());
        request.unlistable = vec![Unlistable {
            kind: kind(),
            message: "no answer".to_owned(),
        }];
        observe(bed, &agent, &request).await;
        assert_eq!(health(bed, "b").await, (Health::Unknown, agent.epoch));
        bed.settle().await;
        let mut request = report(&agent, 4, vec![seen(&claim, "a", "10", Health::Current)]);
        request.closed = vec![kind()];
        assert_eq!(observe(bed, &agent, &request).await, [claim.object.id()]);
        assert_eq!(health(bed, "a").await, (Health::Current, agent.epoch));
        assert_eq!(health(bed, "b").await, (Health::Missing, agent.epoch));
    }
);

database_test!(an_agent_of_a_former_epoch_is_not_heard, bed, {
    let (claim, old) = applied(bed).await;
    let new = register(bed).await;
    assert_eq!(new.epoch, old.epoch + 1);
    let request = report(&old, 9, vec![seen(&claim, "a", "10", Health::Failed)]);
    let error = bed
        .store
        .agent_observe(old.runtime_id, &request)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    let error = heartbeat(bed, &old, None).await.unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    heartbeat(bed, &new, None).await.unwrap();
    assert_eq!(health(bed, "a").await.0, Health::Unknown);
    let same = report(&new, 1, vec![seen(&claim, "a", "10", Health::Current)]);
    observe(bed, &new, &same).await;
    bed.settle().await;
    let newest = register(bed).await;
    bed.settle().await;
    let again = report(&newest, 1, vec![seen(&claim, "a", "10", Health::Current)]);
    assert_eq!(
        observe(bed, &newest, &again).await,
        [claim.object.id()],
        "health of a former epoch did not count"
    );
});

database_test!(leftovers_are_found_by_their_identity, bed, {
    let (claim, agent) = applied(bed).await;
    let id = claim.object.id();
    let stray = report(&agent, 1, vec![seen(&claim, "late", "10", Health::Current)]);
    assert_eq!(observe(bed, &agent, &stray).await, [id]);
    let running = bed.claim_one(id).await;
    let leftover = running
        .inventory
        .iter()
        .find(|row| row.name == "late")
        .unwrap()
        .clone();
    assert_eq!(
        (leftover.uid.as_deref(), leftover.plan_hash.as_ref()),
        (Some("uid-late"), None)
    );
    let ids = running.inventory.iter().map(|row| row.id).collect();
    bed.delete("WorkloadInstance", "web").await.unwrap();
    let end = CompleteRequest {
        finalize: true,
        inventory_removed: ids,
        ..done(&running)
    };
    bed.store.claim_complete(&end).await.unwrap();
    assert!(
        bed.store
            .object_get("WorkloadInstance", "web")
            .await
            .unwrap_err()
            .is_not_found()
    );
    let later = report(&agent, 2, vec![seen(&claim, "later", "10", Health::Current)]);
    assert_eq!(
        observe(bed, &agent, &later).await,
        [id],
        "the tombstone's leftovers are work"
    );
    let tombstone = bed.claim_one(id).await;
    assert!(tombstone.deleted);
    assert_eq!(tombstone.inventory.len(), 1);
    assert!(tombstone.agent.is_some());
    let end = CompleteRequest {
        inventory_removed: vec![tombstone.inventory[0].id],
        ..done(&tombstone)
    };
    bed.store.claim_complete(&end).await.unwrap();
    assert!(bed.claim(&[id]).await.is_empty());
    let mut foreign = seen(&claim, "foreign", "10", Health::Current);
    foreign.instance_id = Uuid::from_u128(1);
    let request = report(&agent, 3, vec![foreign]);
    let (response, notices) = bed.store.agent_observe(agent.runtime_id, &request).await.unwrap();
    assert_eq!(response.unknown, [Uuid::from_u128(1)]);
    assert!(notices.is_empty(), "what the database doesn't know is left alone");
});

database_test!(
    what_a_living_instance_never_had_is_recorded_as_such_and_is_no_leftover,
    bed,
    {
        let (claim, agent) = applied(bed).await;
        let id = claim.object.id();
        let found = async |sequence: i64, name: &str| {
            let request = report(&agent, sequence, vec![seen(&claim, name, "10", Health::Current)]);
            observe(bed, &agent, &request).await;
            let running = bed.claim_one(id).await;
            let row = running
                .inventory
                .iter()
                .find(|row| row.name == name)
                .unwrap()
                .clone();
            (running, row)
        };
        let end = async |running: &Claim, rows: &[Uuid]| {
            let request = CompleteRequest {
                inventory_removed: rows.to_vec(),
                ..done(running)
            };
            bed.store.claim_complete(&request).await.unwrap();
        };
        let (running, unknown) = found(1, "unknown").await;
        assert!(unknown.unrecorded);
        let of_a = running.inventory.iter().find(|row| row.name == "a").unwrap().id;
        end(&running, &[of_a, unknown.id]).await;

        let (running, late) = found(2, "a").await;
        assert!(!late.unrecorded, "the instance had it");
        end(&running, &[late.id]).await;
        let (running, again) = found(3, "unknown").await;
        assert!(again.unrecorded, "that it was forgotten is no reason");
        end(&running, &[]).await;

        let passed = crate::inventory::former::REMEMBERED + 1;
        let text = Sql::new(format!(
            "UPDATE former_resource SET removed_at = removed_at - {passed}"
        ));
        bed.store.0.connections.writer.run(text).await.unwrap();
        let (running, old) = found(4, "a").await;
        assert!(old.unrecorded, "it had it long ago");
        // Of what its definition names, intent takes the place.
        let wanted = row(&running, agent.runtime_id, "a");
        intend(bed, &running, std::slice::from_ref(&wanted)).await;
        let of_b = running.inventory.iter().find(|row| row.name == "b").unwrap().id;
        end(&running, &[of_b]).await;
        let rows = bed
            .store
            .object_resources("WorkloadInstance", "web")
            .await
            .unwrap();
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.unrecorded))
            .collect();
        assert_eq!(told, [("a", false), ("unknown", true)]);
        let count = Sql::new("SELECT COUNT(*) AS count FROM former_resource");
        let count = bed.store.0.connections.writer.one(count).await.unwrap().unwrap();
        let count: i64 = count.get("count").unwrap();
        assert_eq!(count, 1, "what was long ago is forgotten");

        bed.delete("WorkloadInstance", "web").await.unwrap();
        let (_, ending) = found(5, "ending").await;
        assert!(!ending.unrecorded, "all of it is to go");
    }
);

database_test!(
    what_is_seen_while_a_run_ends_is_not_forgotten_with_its_row,
    bed,
    {
        let (claim, agent) = applied(bed).await;
        let id = claim.object.id();
        bed.delete("WorkloadInstance", "web").await.unwrap();
        let end = async |running: &Claim| {
            let request = CompleteRequest {
                finalize: true,
                inventory_removed: running.inventory.iter().map(|row| row.id).collect(),
                ..done(running)
            };
            bed.store.claim_complete(&request).await.unwrap().0
        };
        // The run has seen both gone; then one is made late.
        let running = bed.claim_one(id).await;
        let mut late = seen(&claim, "a", "20", Health::Current);
        late.uid = "made-late".to_owned();
        let gone = seen(&claim, "b", "20", Health::Missing);
        observe(bed, &agent, &report(&agent, 1, vec![late, gone])).await;
        assert!(end(&running).await.pending);

        let again = bed.claim_one(id).await;
        let left: Vec<_> = again
            .inventory
            .iter()
            .map(|row| row.observed.uid.as_deref())
            .collect();
        assert_eq!(left, [Some("made-late")]);
        assert!(!end(&again).await.pending);
        let gone = bed.store.object_get("WorkloadInstance", "web").await;
        assert!(gone.unwrap_err().is_not_found());
    }
);

database_test!(a_copy_of_our_labels_is_nobody_s_leftover, bed, {
    let (claim, agent) = applied(bed).await;
    let mut copy = seen(&claim, "copy", "10", Health::Current);
    copy.ownership_digest = None;
    assert!(
        observe(bed, &agent, &report(&agent, 1, vec![copy]))
            .await
            .is_empty()
    );
    let rows = bed
        .store
        .object_resources("WorkloadInstance", "web")
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
});

database_test!(that_a_job_completed_is_never_forgotten, bed, {
    let (claim, agent) = applied(bed).await;
    let id = claim.object.id();
    let completed = async || {
        let rows = bed
            .store
            .object_resources("WorkloadInstance", "web")
            .await
            .unwrap();
        let row = rows.into_iter().find(|row| row.name == "a").unwrap();
        row.completed_hash
    };
    let end = async |running: &Claim, plan: &str, completed: Option<&str>| {
        let rows = running.inventory.iter();
        let mut row = rows.clone().find(|row| row.name == "a").unwrap().clone();
        (row.plan_hash, row.completed_hash) = (Some(plan.to_owned()), completed.map(str::to_owned));
        let request = CompleteRequest {
            inventory: vec![row],
            next: Next::After { milliseconds: 0 },
            ..done(running)
        };
        bed.store.claim_complete(&request).await.unwrap();
    };
    // A run goes on that knows of nothing, while it completes and is removed by its time to live.
    bed.update(
        "WorkloadInstance",
        "web",
        json!({"definition": "web", "suspend": true}),
    )
    .await
    .unwrap();
    let running = bed.claim_one(id).await;
    let mut gone = seen(&claim, "a", "11", Health::Missing);
    gone.completed = Some("one".to_owned());
    observe(bed, &agent, &report(&agent, 1, vec![gone])).await;
    assert_eq!(completed().await.as_deref(), Some("one"));
    end(&running, "one", None).await;
    assert_eq!(completed().await.as_deref(), Some("one"), "the run did not know");
    let running = bed.claim_one(id).await;
    end(&running, "two", Some("former")).await;
    assert_eq!(
        completed().await.as_deref(),
        Some("one"),
        "it is older than what was seen"
    );
    let running = bed.claim_one(id).await;
    end(&running, "two", Some("two")).await;
    assert_eq!(completed().await.as_deref(), Some("two"));
});

database_test!(an_agent_that_a_restored_database_forgot_registers_anew, bed, {
    let (_, agent) = applied(bed).await;
    let first = heartbeat(bed, &agent, None).await.unwrap().seen;
    bed.tick().await;
    let second = heartbeat(bed, &agent, first).await.unwrap().seen;
    assert!(first < second, "{first:?} {second:?}");
    bed.tick().await;
    // What it did not hear an answer to it does not remember: that is no restore.
    heartbeat(bed, &agent, first).await.unwrap();
    let last = heartbeat(bed, &agent, second).await.unwrap().seen;

    let seen = second.unwrap().as_microsecond();
    let restored = Sql::new(format!("UPDATE agent SET last_seen = {seen}"));
    bed.store.0.connections.writer.run(restored).await.unwrap();
    let error = heartbeat(bed, &agent, last).await.unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    let anew = register(bed).await;
    assert_eq!(anew.epoch, agent.epoch + 1);
    heartbeat(bed, &anew, None).await.unwrap();
});

database_test!(an_agent_registers_anew_where_a_failover_lost_what_it_saw, bed, {
    let (claim, agent) = applied(bed).await;
    let last_seen = async |at: Option<jiff::Timestamp>| {
        let at = at.unwrap().as_microsecond();
        let text = Sql::new(format!("UPDATE agent SET last_seen = {at}"));
        bed.store.0.connections.writer.run(text).await.unwrap();
    };
    let beat = heartbeat(bed, &agent, None).await.unwrap().seen;
    let request = report(&agent, 1, vec![seen(&claim, "a", "10", Health::Current)]);
    let (answer, _) = bed.store.agent_observe(agent.runtime_id, &request).await.unwrap();
    // However fine the clock is.
    assert!(answer.seen > beat, "{beat:?} {:?}", answer.seen);
    heartbeat(bed, &agent, answer.seen).await.unwrap();
    // No heartbeat was lost.
    last_seen(beat).await;
    heartbeat(bed, &agent, beat).await.unwrap();
    last_seen(beat).await;
    let error = heartbeat(bed, &agent, answer.seen).await.unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
});

database_test!(watches_follow_the_inventory, bed, {
    let (_, agent) = applied(bed).await;
    assert_eq!(agent.watches.kinds, [kind()]);
    let answer = heartbeat(bed, &agent, None).await.unwrap();
    assert_eq!(answer.watches_revision, agent.watches.revision);
    let other = bed.instance("other", "web").await;
    let claim = bed.claim_one(other.id()).await;
    let mut secret = row(&claim, agent.runtime_id, "s");
    secret.kind = "Secret".to_owned();
    intend(bed, &claim, &[secret]).await;
    let watches = bed.store.agent_watches(agent.runtime_id).await.unwrap();
    assert_eq!(watches.kinds.len(), 2);
    assert_ne!(watches.revision, agent.watches.revision);
});

database_test!(a_runtime_that_changes_wakes_its_instances, bed, {
    let (claim, agent) = applied(bed).await;
    let idle = bed.instance("nothing-there-yet", "web").await;
    bed.settle().await;
    let runtime = bed.store.object_get_by_id(agent.runtime_id).await.unwrap();
    let mut update = crate::tests::harness::status(threeport_model::ConditionStatus::True, 1, None);
    update.status["agent"] = serde_json::json!({"version": "1", "connected": true});
    let notices = bed
        .store
        .status_put(
            &runtime.kind,
            &runtime.metadata.name,
            &update,
            StatusFence::default(),
        )
        .await
        .unwrap();
    let mut woken: Vec<Uuid> = notices.iter().map(|notice| notice.id).collect();
    woken.retain(|id| [claim.object.id(), idle.id()].contains(id));
    assert_eq!(
        woken.len(),
        2,
        "those with objects in it, and those that name no runtime"
    );
});
