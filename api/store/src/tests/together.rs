//! Requests that come at the same time: done together, answered each for itself.

use futures::{FutureExt, future::join_all};
use threeport_model::{Code, ManagedBy, protocol::apply::Outcome};

use super::{
    faults::Fault,
    harness::{Bed, database_test, definition_spec, object},
};
use crate::{Idempotency, Request, Result, Written};

/// More than go into one transaction.
const COUNT: usize = 40;
const KIND: &str = "WorkloadDefinition";

fn name(number: usize) -> String {
    format!("web-{number}")
}

/// A request of somebody's own. Every third comes with an idempotency key.
fn request(bed: &Bed, number: usize) -> Request {
    let mut request = Request::new(bed.store.random().uuid(), format!("actor-{number}"), "TEST");
    request.idempotency = number.is_multiple_of(3).then(|| Idempotency {
        key: format!("key-{number}"),
        body_digest: "digest".to_owned(),
    });
    request
}

/// Sends all at once.
async fn create(bed: &Bed, requests: &[Request]) -> Vec<Result<Written>> {
    let create = |(number, request)| {
        let object = object(KIND, &name(number), definition_spec("one"));
        bed.store.object_create(request, object)
    };
    join_all(requests.iter().enumerate().map(create)).await
}

fn committed(bed: &Bed) -> u64 {
    let counts = bed.store.transaction_counts();
    let of_creates = counts.iter().find(|count| count.name == "object_create");
    of_creates.map_or(0, |count| count.committed)
}

/// Each is there, made by its own operation, which says so; revision and pending row included.
async fn each_is_its_own(bed: &Bed, requests: &[Request], answers: &[Result<Written>]) {
    for (number, (request, answer)) in requests.iter().zip(answers).enumerate() {
        let written = answer.as_ref().unwrap();
        let made = bed.get(KIND, &name(number)).await;
        assert_eq!(written.object().unwrap(), &made);
        assert_eq!(written.results[0].outcome, Outcome::Created);
        assert_eq!(written.operation_id, request.operation_id);
        assert_eq!(made.metadata.managed_by, Some(ManagedBy::Api));
        let operation = bed.store.operation_get(request.operation_id).await.unwrap();
        assert_eq!(operation.actor, request.actor);
        let changed: Vec<_> = operation.objects.iter().map(|object| object.id).collect();
        assert_eq!(changed, [made.id()]);
        let history = bed.history(KIND, &name(number)).await;
        assert_eq!(history.len(), 1);
        assert_eq!(
            (history[0].operation_id, &history[0].actor),
            (request.operation_id, &request.actor)
        );
        bed.claim_one(made.id()).await;
    }
}

database_test!(what_comes_at_once_commits_together_and_is_answered_apart, bed, {
    let requests: Vec<Request> = (0..COUNT).map(|number| request(bed, number)).collect();
    let answers = create(bed, &requests).await;
    assert!(committed(bed) <= 6, "{} transactions for {COUNT}", committed(bed));
    for answer in &answers {
        let written = answer.as_ref().unwrap();
        let noticed: Vec<_> = written.notices.iter().map(|notice| notice.id).collect();
        assert_eq!(noticed, [written.object().unwrap().id()]);
        assert!(!written.replayed);
    }
    each_is_its_own(bed, &requests, &answers).await;

    let again: Vec<Request> = requests
        .iter()
        .map(|request| Request {
            operation_id: bed.store.random().uuid(),
            ..request.clone()
        })
        .collect();
    for ((first, second), request) in answers.iter().zip(create(bed, &again).await).zip(&requests) {
        match request.idempotency {
            Some(_) => {
                let second = second.unwrap();
                assert!(second.replayed);
                assert_eq!(second.results, first.as_ref().unwrap().results);
            }
            None => assert_eq!(second.unwrap_err().code(), Code::AlreadyExists),
        }
    }
});

database_test!(one_that_is_refused_refuses_no_other, bed, {
    let taken = COUNT / 2;
    bed.definition(&name(taken)).await;
    let requests: Vec<Request> = (0..COUNT).map(|number| request(bed, number)).collect();
    let mut answers = create(bed, &requests).await;
    let refused = answers.remove(taken).unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(
        refused.to_string(),
        format!("{KIND}/{} already exists", name(taken))
    );
    for (number, answer) in answers.iter().enumerate() {
        assert!(answer.is_ok(), "{number}: {answer:?}");
    }
});

database_test!(an_ambiguous_commit_of_several_is_found_to_have_happened, bed, {
    for (round, fault) in [Fault::BeforeCommit, Fault::AfterCommit].into_iter().enumerate() {
        // The first ones go alone: what follows them meets the fault too.
        for _ in 0..4 {
            bed.store.transactions().faults.plan("object_create", fault);
        }
        let numbers = (0..COUNT).map(|number| round * COUNT + number);
        let requests: Vec<Request> = numbers.map(|number| request(bed, number)).collect();
        let create = requests.iter().enumerate().map(|(number, request)| {
            let object = object(KIND, &format!("{round}-{number}"), definition_spec("one"));
            bed.store.object_create(request, object)
        });
        let answers = join_all(create).await;
        let again = answers.iter().filter(|answer| answer.as_ref().unwrap().replayed);
        let again = again.count();
        if fault == Fault::BeforeCommit {
            assert_eq!(again, 0);
        } else {
            assert!(again > 4, "{again} were found to have been done");
        }
        for (number, answer) in answers.iter().enumerate() {
            let made = bed.get(KIND, &format!("{round}-{number}")).await;
            assert_eq!(answer.as_ref().unwrap().object().unwrap(), &made);
        }
    }
    let operations = bed.store.operation_list(200, None).await.unwrap().0;
    assert_eq!(operations.len(), 2 * COUNT);
});

database_test!(a_clock_that_was_thought_to_be_elsewhere_dates_nothing, bed, {
    let first = bed.definition("first").await;
    for wrong in [-3600, 3600] {
        let hour = crate::database::clock::SECOND * wrong;
        let now = first.metadata.created_at.unwrap().as_microsecond();
        bed.store.transactions().clock.note(now + hour);
        let made = bed.definition(&format!("wrong-{wrong}")).await;
        let off = made.metadata.created_at.unwrap().as_microsecond() - now;
        assert!(
            off.abs() < crate::database::clock::SECOND * 60,
            "dated {off} microseconds after the first"
        );
    }
});

database_test!(controllers_do_not_stand_back_for_who_went_away, bed, {
    let asked = || bed.store.transactions().pace.asked();
    for round in 0.. {
        let requests: Vec<Request> = (0..4).map(|number| request(bed, 4 * round + number)).collect();
        let mut creates: Vec<_> = requests
            .iter()
            .enumerate()
            .map(|(number, request)| {
                let object = object(KIND, &format!("{round}-{number}"), definition_spec("one"));
                Box::pin(bed.store.object_create(request, object))
            })
            .collect();
        let under_way = creates
            .iter_mut()
            .filter_map(|create| create.now_or_never().is_none().then_some(()))
            .count();
        let meanwhile = asked();
        drop(creates);
        assert_eq!(asked(), 0);
        // Where this thread had to stand still between its question and its look for the answer, one is done already.
        if under_way == 4 {
            assert!(meanwhile >= 2, "two lead, and two wait for them: {meanwhile}");
            return;
        }
        assert!(round < 20, "{under_way} of 4 are under way");
    }
});
