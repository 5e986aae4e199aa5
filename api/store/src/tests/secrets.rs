//! Secret values of many objects at once, and of long ago.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use threeport_model::{Code, Object, protocol::apply::Outcome};
use uuid::Uuid;

use super::harness::{Bed, database_test, object};
use crate::database::sql::{Fetch, Sql};

const KIND: &str = "WorkloadDefinition";

fn spec(value: &str) -> Value {
    json!({"manifests": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"a": value}}]})
}

async fn count(bed: &Bed) -> i64 {
    let query = Sql::new("SELECT COUNT(*) AS count FROM secret_value");
    let row = bed.store.reader().one(query).await.unwrap().unwrap();
    row.get("count").unwrap()
}

database_test!(
    the_secret_values_of_many_take_as_many_statements_as_those_of_one,
    bed,
    {
        let heard = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&heard);
        let store = bed.overheard(move |text| {
            if text.contains("secret_value") {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut taken = Vec::new();
        for many in [1, 40] {
            let mut shown: Vec<Object> = Vec::with_capacity(many);
            for number in 0..many {
                let created = bed
                    .create(KIND, &format!("web-{many}-{number}"), spec("one"))
                    .await;
                shown.push(created);
            }
            let ids: Vec<Uuid> = shown.iter().map(Object::id).collect();
            for object in &mut shown {
                object.spec["manifests"][0]["stringData"] = json!({"b": "two"});
            }
            heard.store(0, Ordering::Relaxed);
            let written = store.object_apply(&bed.request(), shown, false).await.unwrap();
            taken.push(heard.load(Ordering::Relaxed));
            let outcomes: Vec<Outcome> = written.results.iter().map(|result| result.outcome).collect();
            assert_eq!(outcomes, vec![Outcome::Configured; many]);
            let claims = bed.claim(&ids).await;
            let values: Vec<usize> = claims.iter().map(|claim| claim.secrets.len()).collect();
            assert_eq!(
                values,
                vec![2; many],
                "the one that was there and the one that is new"
            );
        }
        assert!(taken[0] > 1, "the control: {taken:?}");
        assert_eq!(taken[0], taken[1]);
    }
);

database_test!(a_value_that_ten_generations_did_not_use_is_forgotten, bed, {
    let shown = bed.create(KIND, "web", spec("1")).await;
    let second = bed.update(KIND, "web", spec("2")).await.unwrap();
    for value in 3..=11 {
        bed.update(KIND, "web", spec(&value.to_string())).await.unwrap();
    }
    assert_eq!(count(bed).await, 11);
    let put = async |shown: &Object| {
        let back = object(KIND, "web", shown.spec.clone());
        bed.store.object_update(&bed.request(), back, None).await
    };
    let refused = put(&shown).await.unwrap_err();
    assert_eq!(refused.code(), Code::Invalid);
    assert_eq!(refused.field_errors()[0].field, "spec.manifests[0].data.a");
    assert_eq!(count(bed).await, 11, "what is refused changes nothing");
    let written = put(second.object().unwrap()).await.unwrap();
    assert_eq!(written.object().unwrap().generation(), 12);
    assert_eq!(count(bed).await, 10, "the first is gone");
    for value in 13..=20 {
        bed.update(KIND, "web", spec(&value.to_string())).await.unwrap();
    }
    let again = put(second.object().unwrap()).await.unwrap();
    assert_eq!(
        again.results[0].outcome,
        Outcome::Configured,
        "it was used again since"
    );
});
