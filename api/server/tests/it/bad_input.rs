//! Bad input: a 4xx with code, field and line; nothing stored; nothing in the log at error level. A story asks the same of
//! the API as it is installed.

use serde_json::Value;
use threeport_bad_input::cases;

use crate::harness::{ADMIN, Api, definition, errors_logged};

async fn everything(api: &Api) -> Vec<Value> {
    let mut all = Vec::new();
    for kind in threeport_model::kinds::ALL {
        all.push(
            api.admin("GET", &format!("/v1alpha1/{}", kind.plural), None)
                .await
                .expect(200)
                .json()["items"]
                .clone(),
        );
    }
    all.push(
        api.admin("GET", "/v1alpha1/operations", None)
            .await
            .expect(200)
            .json(),
    );
    all
}

#[tokio::test]
async fn bad_input_is_refused_and_leaves_nothing() {
    for api in Api::everywhere().await {
        is_refused_and_leaves_nothing(&api).await;
    }
}

async fn is_refused_and_leaves_nothing(api: &Api) {
    let errors = errors_logged();
    let before = everything(api).await;
    let mut wrong = Vec::new();
    for case in cases() {
        let headers: Vec<_> = (!case.content_type.is_empty())
            .then_some(("content-type", case.content_type))
            .into_iter()
            .collect();
        let answer = api
            .raw(case.method, &case.path, ADMIN, &headers, case.body.clone())
            .await;
        wrong.extend(case.check(answer.status, &answer.text).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(everything(api).await, before);
    assert_eq!(errors_logged(), errors, "errors were logged");
    // The control: this way of looking does see a write.
    api.admin("POST", "/v1alpha1/workloaddefinitions", definition("web", "1"))
        .await
        .expect(201);
    assert_ne!(everything(api).await, before);
    tracing::error!("seen");
    assert_eq!(errors_logged(), errors + 1);
}
