//! How many statements take what happens most often: each is a round trip, and those are most of what it costs.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use serde_json::json;
use threeport_model::{
    kinds::workload_instance::Health,
    protocol::{claim::Claim, inventory::IntentRequest},
};
use uuid::Uuid;

use super::{
    agents::{applied, observe, report, seen},
    harness::{Bed, claim_request, database_test, object},
    inventories::row,
};
use crate::{
    Store,
    database::{clock, connection::Dialect},
};

/// The statements of `work`, those apart that begin and end transactions or only read the clock.
async fn heard(bed: &Bed, work: impl AsyncFnOnce(&Store)) -> Vec<String> {
    let texts: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&texts);
    let store = bed.overheard(move |text| kept.lock().unwrap().push(text.to_owned()));
    work(&store).await;
    let clock = format!("SELECT {} AS now", clock::expression(bed.store.dialect()));
    let texts = texts.lock().unwrap().clone();
    texts.into_iter().filter(|text| *text != clock).collect()
}

/// Of a claim of an object, those that load what belongs to it.
async fn loaded(bed: &Bed, id: Uuid) -> usize {
    let texts = heard(bed, async |store| {
        let (response, _) = store.claim_take(&claim_request("holder", &[id])).await.unwrap();
        assert_eq!(response.claims.len(), 1);
    })
    .await;
    texts.iter().filter(|text| text.starts_with("SELECT ")).count()
}

database_test!(a_claim_reads_only_what_belongs_to_it, bed, {
    bed.runtime().await;
    let unused = bed.definition("unused").await.id();
    let definition = bed.definition("web").await.id();
    let instance = bed.instance("web", "web").await.id();
    assert_eq!(
        loaded(bed, unused).await,
        3,
        "the object, its references, the counts"
    );
    assert_eq!(
        loaded(bed, definition).await,
        4,
        "and which instance is worst off, since one is not Ready"
    );
    assert_eq!(
        loaded(bed, instance).await,
        6,
        "the object, its references, its inventory, the default runtime, these objects, the runtime's agent"
    );
});

database_test!(an_intent_asks_who_has_an_object_only_where_somebody_has, bed, {
    let runtime = bed.runtime().await.id();
    bed.definition("web").await;
    let mut claims = Vec::new();
    for name in ["first", "second"] {
        claims.push(bed.claim_one(bed.instance(name, "web").await.id()).await);
    }
    let intended = async |claim: &Claim| {
        let request = IntentRequest {
            instance_id: claim.object.id(),
            epoch: claim.epoch,
            rows: vec![row(claim, runtime, "shared")],
        };
        let mut conflicts = 0;
        let texts = heard(bed, async |store| {
            conflicts = store.inventory_intent(&request).await.unwrap().conflicts.len();
        })
        .await;
        let asked = texts.iter().filter(|text| text.contains("instance_name"));
        (asked.count(), conflicts)
    };
    assert_eq!(intended(&claims[0]).await, (0, 0));
    assert_eq!(intended(&claims[1]).await, (1, 1), "the control");
});

database_test!(what_was_seen_is_written_with_what_follows_from_it, bed, {
    let (claim, agent) = applied(bed).await;
    let version = |sequence: i64, version: &str| {
        report(
            &agent,
            sequence,
            vec![seen(&claim, "a", version, Health::Current)],
        )
    };
    assert_eq!(observe(bed, &agent, &version(1, "11")).await, [claim.object.id()]);
    let request = version(2, "12");
    let texts = heard(bed, async |store| {
        let (_, notices) = store.agent_observe(agent.runtime_id, &request).await.unwrap();
        assert!(notices.is_empty(), "a version alone is no news");
    })
    .await;
    // The agent's epoch, the rows, and these with the work list and the agent; the last is three where statements can't be
    // merged.
    let merges = bed.store.dialect().merges_writes();
    assert_eq!(texts.len(), if merges { 3 } else { 5 }, "{texts:#?}");
});

database_test!(named_work_is_taken_by_one_statement, bed, {
    let id = bed.definition("web").await.id();
    for holder in ["one", "other"] {
        let mut answer = None;
        let texts = heard(bed, async |store| {
            answer = Some(store.claim_take(&claim_request(holder, &[id])).await.unwrap().0);
        })
        .await;
        let takes = texts.iter().filter(|text| text.contains("UPDATE pending"));
        let fences = texts.iter().filter(|text| text.contains("UPDATE object_status"));
        assert_eq!((takes.count(), fences.count()), (1, 1));
        if bed.store.dialect().merges_writes() {
            // No transaction was begun: it would have asked for the clock, or this statement would be none of the clock's.
            assert!(
                texts[0].contains(clock::expression(bed.store.dialect())),
                "{texts:#?}"
            );
        }
        let (claims, busy) = answer.map(|answer| (answer.claims.len(), answer.busy)).unwrap();
        let expected = if holder == "one" {
            (1, vec![])
        } else {
            (0, vec![id])
        };
        assert_eq!((claims, busy), expected, "work is given once");
    }
});

database_test!(an_instance_is_created_in_few_statements, bed, {
    let definition = bed.definition("web").await.id();
    bed.settle().await;
    let wanted = object("WorkloadInstance", "web", json!({"definition": "web"}));
    let mut told = BTreeSet::new();
    let texts = heard(bed, async |store| {
        let written = store.object_create(&bed.request(), wanted).await.unwrap();
        told.extend(written.notices.into_iter().map(|notice| notice.id));
    })
    .await;
    let instance = bed.get("WorkloadInstance", "web").await.id();
    assert_eq!(told, BTreeSet::from([definition, instance]), "it counts it");
    // The operation, the definition, and all rows with the definition's work; these are six where statements can't be merged,
    // and that work is apart where one may not write to a table twice.
    let expected = match bed.store.dialect() {
        Dialect::Sqlite => 8,
        Dialect::Postgresql => 3,
        Dialect::Cockroachdb => 4,
    };
    assert_eq!(texts.len(), expected, "{texts:#?}");
});
