//! Claims that ran out and that nobody else took: their runs may still end, and must not hide what changed meanwhile.

use threeport_model::{
    ConditionStatus,
    kinds::{workload_definition::InstanceCounts, workload_instance::Health},
    protocol::claim::CompleteRequest,
};

use super::{
    agents::{applied, observe, report, seen},
    claims::expire,
    harness::{database_test, done, status},
};

database_test!(a_definition_whose_claim_ran_out_counts_again, bed, {
    let definition = bed.definition("web").await;
    let instance = bed.instance("web", "web").await;
    let counting = bed.claim_one(definition.id()).await;
    let counts = |current, ready| {
        let total = 1;
        Some(InstanceCounts {
            total,
            current,
            ready,
        })
    };
    assert_eq!(counting.instances, counts(0, 0));
    let working = bed.claim_one(instance.id()).await;
    expire(bed).await;
    let end = CompleteRequest {
        status: Some(status(ConditionStatus::True, 1, Some((1, 1)))),
        ..done(&working)
    };
    let (_, notices) = bed.store.claim_complete(&end).await.unwrap();
    assert!(
        notices.iter().any(|notice| notice.id == definition.id()),
        "{notices:?}"
    );
    let (response, _) = bed.store.claim_complete(&done(&counting)).await.unwrap();
    assert!(response.pending, "it counted before");
    assert_eq!(bed.claim_one(definition.id()).await.instances, counts(1, 1));
});

database_test!(what_is_seen_after_a_claim_ran_out_has_it_run_again, bed, {
    let (claim, agent) = applied(bed).await;
    let version = |version| vec![seen(&claim, "a", version, Health::Current)];
    observe(bed, &agent, &report(&agent, 1, version("10"))).await;
    let running = bed.claim_one(claim.object.id()).await;
    expire(bed).await;
    observe(bed, &agent, &report(&agent, 2, version("30"))).await;
    let (response, _) = bed.store.claim_complete(&done(&running)).await.unwrap();
    assert!(
        response.pending,
        "its apply may have been answered with that very version"
    );
    bed.claim_one(claim.object.id()).await;
});
