//! The one form of every refusal.

use insta::assert_json_snapshot;
use serde_json::json;
use threeport_server::problem::ApiError;

use crate::harness::{Api, definition, instance, object};

#[tokio::test]
async fn a_wrong_field() {
    let api = Api::new().await;
    let body = object(
        "WorkloadInstance",
        "web",
        &json!({"definition": "web", "runtyme": "x"}),
    );
    let answer = api.admin("POST", "/v1alpha1/workloadinstances", body).await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(
        answer.json()["operationId"],
        answer.header("threeport-operation-id")
    );
    assert_json_snapshot!(answer.json(), {".operationId" => "[id]"}, @r#"
    {
      "code": "Invalid",
      "detail": "spec.runtyme: unknown field `runtyme`, expected one of `definition`, `runtime`, `namespace`, `dependsOn`, `suspend`, `adopt`, `deletionPolicy`",
      "errors": [
        {
          "field": "spec.runtyme",
          "message": "unknown field `runtyme`, expected one of `definition`, `runtime`, `namespace`, `dependsOn`, `suspend`, `adopt`, `deletionPolicy`"
        }
      ],
      "next": "mend the fields that are named and send it again",
      "operationId": "[id]",
      "status": 422,
      "title": "Invalid",
      "type": "https://threeport.io/problems/Invalid"
    }
    "#);
}

#[tokio::test]
async fn a_secret_in_a_field_of_the_wrong_type_is_not_told() {
    let api = Api::new().await;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: \"c0rrect, expected h0rse\"}\n";
    let path = "/v1alpha1/workloaddefinitions";
    let json = object("WorkloadDefinition", "web", &json!({"manifests": secret}));
    let yaml = format!(
        "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {{name: web}}\nspec:\n  manifests: |\n    {}\n",
        secret.replace('\n', "\n    ")
    );
    for (path, media, body) in [
        (path, "application/json", json.to_string()),
        (path, "application/yaml", yaml.clone()),
        ("/v1alpha1/apply", "application/yaml", yaml),
    ] {
        let headers = [("content-type", media)];
        let answer = api
            .raw("POST", path, crate::harness::ADMIN, &headers, body.into_bytes())
            .await
            .expect(422);
        assert!(
            !answer.text.contains("c0rrect") && !answer.text.contains("h0rse"),
            "{}",
            answer.text
        );
        let problem = answer.json();
        let error = &problem["errors"][0];
        assert_eq!(error["message"], "invalid type: string, expected a sequence");
        assert!(
            error["field"].as_str().unwrap().ends_with("spec.manifests"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_malformed_body() {
    let api = Api::new().await;
    let headers = [("content-type", "application/yaml")];
    let body =
        b"apiVersion: threeport.io/v1alpha1\nkind: WorkloadInstance\nkind: WorkloadInstance\n".to_vec();
    let answer = api
        .raw(
            "POST",
            "/v1alpha1/workloadinstances",
            crate::harness::ADMIN,
            &headers,
            body,
        )
        .await;
    assert_json_snapshot!(answer.json(), {".operationId" => "[id]"}, @r#"
    {
      "code": "Malformed",
      "detail": "the body can't be read: line 3: duplicate mapping key: kind",
      "errors": [
        {
          "document": 1,
          "field": "",
          "line": 3,
          "message": "duplicate mapping key: kind"
        }
      ],
      "next": "mend the body at the place that is named and send it again",
      "operationId": "[id]",
      "status": 400,
      "title": "Malformed",
      "type": "https://threeport.io/problems/Malformed"
    }
    "#);
}

#[tokio::test]
async fn a_document_that_is_wrong_in_an_apply() {
    let api = Api::new().await;
    let headers = [("content-type", "application/yaml")];
    let good = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadInstance\nmetadata: {name: web}\nspec: {definition: web}\n";
    let bad =
        "apiVersion: threeport.io/v1alpha1\nkind: WorkloadInstance\nmetadata: {name: Web, labels: {a: 1}}\n";
    let body = format!("{good}---\n{bad}").into_bytes();
    let answer = api
        .raw("POST", "/v1alpha1/apply", crate::harness::ADMIN, &headers, body)
        .await;
    assert_json_snapshot!(answer.json(), {".operationId" => "[id]"}, @r#"
    {
      "code": "Invalid",
      "detail": "objects[1].metadata.name: must consist of lower case letters, digits and '-' (and 1 more)",
      "errors": [
        {
          "document": 2,
          "field": "objects[1].metadata.name",
          "line": 6,
          "message": "must consist of lower case letters, digits and '-'"
        },
        {
          "document": 2,
          "field": "objects[1].metadata.labels[\"a\"]",
          "line": 6,
          "message": "must be a string (quote numbers and booleans)"
        }
      ],
      "next": "mend the fields that are named and send it again",
      "operationId": "[id]",
      "status": 422,
      "title": "Invalid",
      "type": "https://threeport.io/problems/Invalid"
    }
    "#);
}

#[tokio::test]
async fn no_route_no_method_no_credentials() {
    let api = Api::new().await;
    let answer = api.admin("GET", "/v1alpha2/x/y/z", None).await.expect(404);
    assert_json_snapshot!(answer.json(), {".operationId" => "[id]"}, @r#"
    {
      "code": "NotFound",
      "detail": "there is no route /v1alpha2/x/y/z",
      "next": "GET /openapi.json lists the routes",
      "operationId": "[id]",
      "status": 404,
      "title": "Not found",
      "type": "https://threeport.io/problems/NotFound"
    }
    "#);
    let answer = api.admin("PATCH", "/v1alpha1/apply", json!({})).await.expect(405);
    assert_eq!(answer.header("allow"), "POST");
    assert_json_snapshot!(answer.json(), {".operationId" => "[id]"}, @r#"
    {
      "code": "MethodNotAllowed",
      "detail": "/v1alpha1/apply has no method PATCH",
      "next": "use one of the methods in the header `allow`",
      "operationId": "[id]",
      "status": 405,
      "title": "Method not allowed",
      "type": "https://threeport.io/problems/MethodNotAllowed"
    }
    "#);
    let answer = api.send("GET", "/whoami", "", &[], None).await.expect(401);
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_json_snapshot!(answer.json(), {".operationId" => "[id]"}, @r#"
    {
      "code": "Unauthenticated",
      "detail": "the request has no bearer token",
      "next": "send a valid token in the header `authorization: Bearer ...`",
      "operationId": "[id]",
      "status": 401,
      "title": "Unauthenticated",
      "type": "https://threeport.io/problems/Unauthenticated"
    }
    "#);
}

#[tokio::test]
async fn what_is_referred_to() {
    let api = Api::new().await;
    api.admin("POST", "/v1alpha1/workloaddefinitions", definition("web", "1"))
        .await
        .expect(201);
    api.admin("POST", "/v1alpha1/workloadinstances", instance("web", "web"))
        .await
        .expect(201);
    let answer = api
        .admin("DELETE", "/v1alpha1/workloaddefinitions/web", None)
        .await
        .expect(409);
    assert_json_snapshot!(answer.json(), {".operationId" => "[id]"}, @r#"
    {
      "code": "Referenced",
      "detail": "WorkloadDefinition/web is referred to by WorkloadInstance/web",
      "next": "delete what refers to it first, or delete with ?propagation=cascade",
      "operationId": "[id]",
      "referrers": [
        "WorkloadInstance/web"
      ],
      "status": 409,
      "title": "Referenced",
      "type": "https://threeport.io/problems/Referenced"
    }
    "#);
    let answer = api
        .admin(
            "POST",
            "/v1alpha1/workloadinstances",
            instance("other", "nothing"),
        )
        .await
        .expect(422);
    assert_json_snapshot!(answer.json(), {".operationId" => "[id]"}, @r#"
    {
      "code": "ReferenceNotFound",
      "detail": "WorkloadInstance/other refers to what does not exist: spec.definition: WorkloadDefinition \"nothing\" does not exist",
      "errors": [
        {
          "field": "spec.definition",
          "message": "WorkloadDefinition \"nothing\" does not exist"
        }
      ],
      "next": "create what is missing, or send all of it in one apply",
      "operationId": "[id]",
      "status": 422,
      "title": "Reference not found",
      "type": "https://threeport.io/problems/ReferenceNotFound"
    }
    "#);
}

/// It is for the log.
#[test]
fn what_the_database_said_is_not_told() {
    let said = sea_orm::DbErr::Custom("SELECT 'c0rrect h0rse'".to_owned());
    let refused = ApiError::from(threeport_store::Error::Database(said));
    let problem = refused.problem("an operation");
    assert_eq!(problem.detail, "the database failed");
    let told = serde_json::to_string(&problem).unwrap();
    assert!(!told.contains("h0rse"), "{told}");
}

#[tokio::test]
async fn of_very_many_wrong_fields_the_first_are_named() {
    let api = Api::new().await;
    let wrong: Vec<_> = (0..50)
        .map(|_| object("WorkloadInstance", "B", &json!({})))
        .collect();
    let problem = api
        .admin("POST", "/v1alpha1/apply", json!(wrong))
        .await
        .expect(422)
        .json();
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(
        (errors.len(), &errors[20]["message"]),
        (21, &json!("and 30 more"))
    );
    assert!(
        problem["detail"].as_str().unwrap().ends_with("(and 49 more)"),
        "{problem}"
    );
}
