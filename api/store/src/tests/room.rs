//! Answers have room for so much: of what is large, a claim gets a few, and the others are as they were; a history is
//! pages.

use serde_json::{Value, json};
use threeport_model::{
    Code, Object,
    protocol::claim::{Claim, ClaimRequest, Trigger},
};
use uuid::Uuid;

use super::{
    claims::expire,
    harness::{Bed, claim_request, database_test, done},
};
use crate::claim::{Taken, world::Worlds};

fn large(mebibytes: usize) -> Value {
    let data = json!({"v": "v".repeat(mebibytes << 20)});
    json!({"manifests": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}]})
}

/// For as long as the test takes.
fn request(holder: &str, ids: &[Uuid]) -> ClaimRequest {
    ClaimRequest {
        ttl_seconds: 300,
        ..claim_request(holder, ids)
    }
}

database_test!(what_has_no_room_in_an_answer_is_given_back_as_it_was, bed, {
    let mut ids = Vec::new();
    for (name, mebibytes) in [("a", 3), ("b", 3), ("c", 6), ("d", 9), ("e", 1)] {
        let created = bed.create("WorkloadDefinition", name, large(mebibytes)).await;
        ids.push(created.id());
    }
    let rounds: [&[(&str, usize)]; 4] = [&[("a", 3), ("b", 3)], &[("c", 6)], &[("d", 9)], &[("e", 1)]];
    let mut given = 0;
    for (epoch, expected) in (1..).zip(rounds) {
        let holder = format!("holder {epoch}");
        let (response, _) = bed.store.claim_take(&request(&holder, &[])).await.unwrap();
        let names = response
            .claims
            .iter()
            .map(|claim| &claim.object.metadata.name[..]);
        let names: Vec<&str> = names.collect();
        let wanted: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, wanted);
        given += names.len();
        assert_eq!(response.busy, ids[given..].to_vec());
        for (claim, (name, mebibytes)) in response.claims.iter().zip(expected) {
            assert_eq!(
                (claim.epoch, claim.attempts, claim.trigger),
                (epoch, 0, Trigger::Change),
                "{name}"
            );
            assert!(claim.object.spec == large(*mebibytes), "{name}");
        }
    }
    let (rest, _) = bed.store.claim_take(&request("another", &[])).await.unwrap();
    assert!(rest.claims.is_empty() && rest.busy.is_empty(), "{:?}", rest.busy);
});

/// Of two instances of `web` an answer has room for one, with all that it carries.
async fn are_given_apart(bed: &Bed, web: Value, has_all: impl Fn(&Claim) -> bool) {
    // To encrypt so much takes seconds in a debug build.
    let store = bed.patient().await;
    let definition = Object::new("WorkloadDefinition", "web", web);
    store.object_create(&bed.request(), definition).await.unwrap();
    bed.settle().await;
    let mut ids = Vec::new();
    for name in ["x", "y"] {
        ids.push(bed.instance(name, "web").await.id());
    }
    for epoch in [1, 2] {
        let (mut response, _) = bed.store.claim_take(&request("holder", &ids)).await.unwrap();
        assert_eq!(response.claims.len(), 1);
        let claim = response.claims.remove(0);
        assert_eq!(claim.epoch, epoch);
        assert!(has_all(&claim));
        ids.retain(|id| *id != claim.object.id());
        assert_eq!(response.busy, ids);
        bed.store.claim_complete(&done(&claim)).await.unwrap();
    }
    assert_eq!(ids, Vec::<Uuid>::new());
}

database_test!(each_claim_counts_what_it_refers_to, bed, {
    are_given_apart(bed, large(5), |claim| claim.references[0].spec == large(5)).await;
});

database_test!(each_claim_counts_its_secret_values, bed, {
    const BYTES: usize = 4 << 20;
    let secret = json!({"manifests": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"v": "v".repeat(BYTES)}}]});
    // In base64.
    let has_all = |claim: &Claim| claim.secrets.values().any(|value| value.len() > BYTES);
    are_given_apart(bed, secret, has_all).await;
});

database_test!(what_was_taken_again_is_not_given_back, bed, {
    let id = bed.definition("web").await.id();
    let late = bed.claim_one(id).await;
    expire(bed).await;
    let newest = bed.claim_one(id).await;
    let left = |claim: &Claim| Worlds {
        left: vec![Taken {
            id,
            token: claim.token.clone(),
            epoch: claim.epoch,
            priority: 0,
            attempts: claim.attempts,
            waited: 0,
        }],
        ..Worlds::default()
    };
    bed.store.set_aside(&left(&late)).await.unwrap();
    let (other, _) = bed.store.claim_take(&request("other", &[id])).await.unwrap();
    assert!(other.claims.is_empty());
    assert_eq!(other.busy, [id]);
    bed.store.set_aside(&left(&newest)).await.unwrap();
    let (other, _) = bed.store.claim_take(&request("other", &[id])).await.unwrap();
    assert_eq!(
        (other.claims[0].epoch, &other.claims[0].token),
        (newest.epoch + 1, &newest.token)
    );
});

database_test!(a_history_is_pages_of_what_has_room, bed, {
    let sizes = [3, 9, 3, 4];
    let kind = "WorkloadDefinition";
    bed.create(kind, "web", large(sizes[0])).await;
    for mebibytes in &sizes[1..] {
        bed.update(kind, "web", large(*mebibytes)).await.unwrap();
    }
    let page = async |limit, after: Option<&str>| {
        let (page, next) = bed.store.object_history(kind, "web", limit, after).await.unwrap();
        let mut generations = Vec::new();
        for revision in page {
            let size = sizes[usize::try_from(revision.generation).unwrap() - 1];
            assert!(revision.spec == large(size), "{}", revision.generation);
            generations.push(revision.generation);
        }
        (generations, next)
    };
    let mut after: Option<String> = None;
    for (expected, is_last) in [(vec![4, 3], false), (vec![2], false), (vec![1], true)] {
        let (generations, next) = page(100, after.as_deref()).await;
        assert_eq!((&generations, next.is_none()), (&expected, is_last));
        after = next;
    }
    let (generations, next) = page(1, None).await;
    assert_eq!(generations, [4]);
    assert_eq!(page(1, next.as_deref()).await.0, [3]);
    let wrong = bed.store.object_history(kind, "web", 1, Some("web")).await;
    assert_eq!(wrong.unwrap_err().code(), Code::Invalid);
});
