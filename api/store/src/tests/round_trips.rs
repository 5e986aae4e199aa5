//! How many statements take what happens most often: each is a round trip, and those are most of what it costs.

use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::harness::{Bed, claim_request, database_test};
use crate::{Store, clock};

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
        let (response, _) = store.claim(&claim_request("holder", &[id])).await.unwrap();
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
