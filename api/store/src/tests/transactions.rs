//! Transactions under faults and contention.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::json;
use threeport_model::{
    Code, ConditionStatus,
    protocol::{apply::Outcome, claim::CompleteRequest},
};

use super::{
    faults::Fault,
    harness::{database_test, definition_spec, done, object, on_servers, status},
};
use crate::{
    Error, Options, Store,
    database::{
        clock,
        connection::Dialect,
        sql::{Fetch, Sql},
    },
};

database_test!(an_ambiguous_commit_is_found_to_have_happened, bed, {
    for (name, fault) in [("before", Fault::BeforeCommit), ("after", Fault::AfterCommit)] {
        bed.store.transactions().faults.plan("object_create", fault);
        let request = bed.request();
        let wanted = object("WorkloadDefinition", name, definition_spec("one"));
        let written = bed.store.object_create(&request, wanted).await.unwrap();
        assert_eq!(written.replayed, fault == Fault::AfterCommit, "{fault:?}");
        assert_eq!(written.operation_id, request.operation_id);
        assert_eq!(written.results[0].outcome, Outcome::Created);
        assert_eq!(
            written.object().unwrap(),
            &bed.get("WorkloadDefinition", name).await
        );
        assert_eq!(bed.history("WorkloadDefinition", name).await.len(), 1);
    }
    assert_eq!(bed.store.operation_list(10, None).await.unwrap().0.len(), 2);
});

database_test!(an_ambiguous_update_and_delete_happen_once, bed, {
    bed.definition("web").await;
    bed.store
        .transactions()
        .faults
        .plan("object_update", Fault::AfterCommit);
    let updated = bed
        .update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    assert_eq!(
        (updated.replayed, updated.object().unwrap().generation()),
        (true, 2)
    );
    bed.store
        .transactions()
        .faults
        .plan("object_delete", Fault::AfterCommit);
    let deleted = bed.delete("WorkloadDefinition", "web").await.unwrap();
    assert!(deleted.replayed && deleted.object().unwrap().is_deleting());
});

database_test!(an_ambiguous_completion_ends_as_one_that_was_answered, bed, {
    bed.definition("web").await;
    let instance = bed.instance("web", "web").await;
    let claim = bed.claim_one(instance.id()).await;
    bed.store
        .transactions()
        .faults
        .plan("claim_complete", Fault::AfterCommit);
    let end = CompleteRequest {
        status: Some(status(ConditionStatus::True, 1, Some((1, 1)))),
        ..done(&claim)
    };
    let (response, _) = bed.store.claim_complete(&end).await.unwrap();
    assert!(!response.pending);
    assert!(bed.claim(&[instance.id()]).await.is_empty());
    bed.delete("WorkloadInstance", "web").await.unwrap();
    let claim = bed.claim_one(instance.id()).await;
    bed.store
        .transactions()
        .faults
        .plan("claim_complete", Fault::AfterCommit);
    bed.store
        .claim_complete(&CompleteRequest {
            finalize: true,
            ..done(&claim)
        })
        .await
        .unwrap();
    assert!(
        bed.store
            .object_get("WorkloadInstance", "web")
            .await
            .unwrap_err()
            .is_not_found()
    );
});

database_test!(a_rollback_that_fails_does_not_hide_why_there_was_one, bed, {
    bed.store
        .transactions()
        .faults
        .plan("snapshot", Fault::AfterRollback);
    let tried = AtomicU32::new(0);
    let answer = bed.store.transactions().snapshot(
        &tried,
        |_, dialect| Sql::new(format!("SELECT {} AS now", clock::expression(dialect))),
        |_, tried| {
            Box::pin(async move {
                tried.fetch_add(1, Ordering::Relaxed);
                Err::<(), _>(Error::Conflict("the reason".to_owned()))
            })
        },
    );
    assert_eq!(answer.await.unwrap_err().to_string(), "the reason");
    assert_eq!(
        tried.load(Ordering::Relaxed),
        1,
        "it is not the lost connection that it failed for"
    );
});

database_test!(collisions_are_run_again_and_counted, bed, {
    bed.definition("web").await;
    // Whoever comes last of sixteen may wait for longer than the five seconds on a busy machine.
    let patient = bed.patient().await;
    let mut tasks = Vec::new();
    for index in 0..16 {
        let (store, request) = (patient.clone(), bed.request());
        tasks.push(tokio::spawn(async move {
            let changed = object("WorkloadDefinition", "web", definition_spec(&index.to_string()));
            store.object_update(&request, changed, None).await.unwrap()
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(
        bed.get("WorkloadDefinition", "web").await.generation(),
        17,
        "no update was lost"
    );
    let counts = patient.transaction_counts();
    let updates = counts.iter().find(|count| count.name == "object_update").unwrap();
    assert_eq!((updates.committed, updates.failed), (16, 0));
    let generations: Vec<i64> = bed
        .history("WorkloadDefinition", "web")
        .await
        .iter()
        .map(|revision| revision.generation)
        .collect();
    assert_eq!(generations, (1..=17).rev().collect::<Vec<_>>());
    patient.close().await;
});

database_test!(a_reference_and_a_deletion_that_race_do_not_both_win, bed, {
    for index in 0..15 {
        let name = format!("w{index}");
        bed.definition(&name).await;
        let (store, request) = (bed.store.clone(), bed.request());
        let wanted = object("WorkloadInstance", &name, json!({"definition": name}));
        let create = tokio::spawn(async move { store.object_create(&request, wanted).await.is_ok() });
        let (store, request, deleted) = (bed.store.clone(), bed.request(), name.clone());
        let delete = tokio::spawn(async move {
            store
                .object_delete(&request, "WorkloadDefinition", &deleted, None, false)
                .await
                .is_ok()
        });
        let (created, deleted) = (create.await.unwrap(), delete.await.unwrap());
        assert!(created != deleted, "{name}: created {created}, deleted {deleted}");
        assert_eq!(
            bed.store.object_get("WorkloadDefinition", &name).await.is_ok(),
            created
        );
    }
});

database_test!(what_is_held_up_is_dead_in_time_and_can_be_sent_again, bed, {
    assert_eq!(bed.options.timeout, Duration::from_secs(5), "what is said of it");
    bed.definition("web").await;
    let (impatient, request) = (bed.impatient(Duration::from_secs(1)), bed.request());
    let changed = || object("WorkloadDefinition", "web", definition_spec("two"));
    let holder = bed.holder().await;
    let error = impatient
        .object_update(&request, changed(), None)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::TimedOut {
                name: "object_update",
                seconds: 1
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(
        bed.get("WorkloadDefinition", "web").await.generation(),
        1,
        "who reads is not held up"
    );
    let counts = impatient.transaction_counts();
    let updates = counts.iter().find(|count| count.name == "object_update").unwrap();
    assert_eq!((updates.committed, updates.failed), (0, 1));

    holder.let_go().await;
    let written = bed.store.object_update(&request, changed(), None).await.unwrap();
    assert!(!written.replayed, "nothing was written by what was dead");
    assert_eq!(written.object().unwrap().generation(), 2);
    assert_eq!(bed.history("WorkloadDefinition", "web").await.len(), 2);
});

/// What a restarted server leaves of a pool: each connection says once that it is lost.
#[test]
fn a_read_whose_connection_was_lost_is_sent_again() {
    on_servers(&async |bed| {
        if bed.store.dialect() != Dialect::Postgresql {
            println!("{} has no way to end one connection", bed.store.database());
            return;
        }
        bed.definition("web").await;
        let options = Options {
            readers: 1,
            ..bed.options.clone()
        };
        let store = Store::open(options).await.unwrap();
        let lose = async || {
            let own = Sql::new("SELECT pg_backend_pid() AS own");
            let own: i32 = store
                .reader()
                .one(own)
                .await
                .unwrap()
                .unwrap()
                .get("own")
                .unwrap();
            let end = Sql::new("SELECT pg_terminate_backend($1, 5000)").values([own.into()]);
            bed.store.0.connections.writer.one(end).await.unwrap();
        };
        lose().await;
        let found = store.object_get("WorkloadDefinition", "web").await.unwrap();
        assert_eq!(found.metadata.name, "web");
        lose().await;
        store.check().await.unwrap();
        store.close().await;
    });
}
