//! Answers that never arrive: of the database at COMMIT, and of the API on its way to a controller.

use threeport_model::{
    Code,
    kinds::event::{EventType, NewEvent},
    protocol::claim::{Claim, CompleteRequest, Next},
};

use super::{
    claims::expire,
    faults::Fault,
    harness::{Bed, claim_request, database_test, definition_spec, done},
};

/// The end of a run that has something to say.
fn end(claim: &Claim, next: Next) -> CompleteRequest {
    let event = NewEvent {
        object_id: claim.object.id(),
        kind: EventType::Normal,
        reason: "Applied".to_owned(),
        message: "one object".to_owned(),
    };
    CompleteRequest {
        events: vec![event],
        next,
        ..done(claim)
    }
}

async fn counts(bed: &Bed) -> Vec<i64> {
    let events = bed
        .store
        .object_events("WorkloadDefinition", "web")
        .await
        .unwrap();
    events.iter().map(|event| event.count).collect()
}

database_test!(a_completion_counts_once, bed, {
    let id = bed.definition("web").await.id();
    let faults = || &bed.store.transactions().faults;
    let claim = bed.claim_one(id).await;
    let request = end(&claim, Next::Done);
    faults().plan("claim_complete", Fault::AfterCommit);
    let (first, _) = bed.store.claim_complete(&request).await.unwrap();
    let (second, notices) = bed.store.claim_complete(&request).await.unwrap();
    assert!(!first.pending && !second.pending && notices.is_empty());
    assert_eq!(counts(bed).await, [1]);

    bed.update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    let claim = bed.claim_one(id).await;
    let request = end(&claim, Next::After { milliseconds: 60_000 });
    faults().plan("claim_complete", Fault::AfterCommit);
    bed.store.claim_complete(&request).await.unwrap();
    bed.store.claim_complete(&request).await.unwrap();
    assert_eq!(counts(bed).await, [2], "another run of the same words");
    expire(bed).await;
    let claim = bed.claim_one(id).await;
    assert_eq!(claim.attempts, 1, "one run failed, not three");
    let late = bed.store.claim_complete(&request).await.unwrap_err();
    assert_eq!(late.code(), Code::PreconditionFailed);
});

database_test!(a_completion_that_did_not_commit_is_done, bed, {
    let id = bed.definition("web").await.id();
    let claim = bed.claim_one(id).await;
    bed.store
        .transactions()
        .faults
        .plan("claim_complete", Fault::BeforeCommit);
    bed.store.claim_complete(&end(&claim, Next::Done)).await.unwrap();
    assert_eq!(counts(bed).await, [1]);
    assert!(bed.claim(&[id]).await.is_empty());
});

database_test!(a_completion_sent_again_still_tells_of_new_work, bed, {
    let id = bed.definition("web").await.id();
    let claim = bed.claim_one(id).await;
    bed.update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    let request = end(&claim, Next::Done);
    for _ in 0..2 {
        let (response, _) = bed.store.claim_complete(&request).await.unwrap();
        assert!(response.pending);
    }
    assert_eq!(counts(bed).await, [1]);
    bed.claim_one(id).await;
});

database_test!(a_claim_whose_answer_was_lost_is_given_again_to_its_holder, bed, {
    let id = bed.definition("web").await.id();
    let lost = bed.claim_one(id).await;
    let (other, _) = bed
        .store
        .claim_take(&claim_request("other", &[id]))
        .await
        .unwrap();
    assert!(other.claims.is_empty(), "to nobody else");
    let again = bed.claim_one(id).await;
    assert_eq!((again.epoch, &again.token), (lost.epoch + 1, &lost.token));
    let late = bed.store.claim_complete(&done(&lost)).await.unwrap_err();
    assert_eq!(late.code(), Code::PreconditionFailed);
    bed.store.claim_complete(&done(&again)).await.unwrap();
    assert!(bed.claim(&[id]).await.is_empty());
});

database_test!(an_ambiguous_claim_is_given, bed, {
    let id = bed.definition("web").await.id();
    bed.definition("other").await;
    for (ids, expected) in [(vec![id], 1), (Vec::new(), 1)] {
        bed.store.transactions().faults.plan("claim", Fault::AfterCommit);
        let claims = bed.claim(&ids).await;
        assert_eq!(claims.len(), expected, "{ids:?}");
        for claim in claims {
            bed.store.claim_complete(&done(&claim)).await.unwrap();
        }
    }
    assert!(bed.claim(&[]).await.is_empty());
});

database_test!(what_a_claim_reads_is_read_again, bed, {
    let id = bed.definition("web").await.id();
    for _ in 0..3 {
        bed.store
            .transactions()
            .faults
            .plan("snapshot", Fault::BeforeCommit);
    }
    assert_eq!(bed.claim_one(id).await.object.metadata.name, "web");
});
