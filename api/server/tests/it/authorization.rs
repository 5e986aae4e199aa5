//! Every route against the table of who may what. The table here is written by hand on purpose: a change of rights
//! must be made twice.

use std::sync::atomic::Ordering;

use axum::{body::Body, http::Request};
use futures::{StreamExt, stream::FuturesUnordered};
use threeport_model::protocol::whoami::Role;
use threeport_server::{
    connections::Known,
    limits::Admission,
    router::{ROUTES, router},
};
use tower::ServiceExt;
use uuid::Uuid;

use crate::harness::{ADMIN, AGENT, Api, CONTROLLERS, FACADE, HANGING, STRANGER, UNKNOWN, web_token};

/// Everybody; everybody with credentials; admins and these.
#[derive(Clone, Copy)]
enum Who {
    Public,
    Known,
    Only(&'static [Role]),
}

use Role::{Agent as A, Controller as C, Facade as F};

const TABLE: &[(&str, &str, Who)] = &[
    ("GET", "/v1alpha1/{plural}", Who::Only(&[F])),
    ("POST", "/v1alpha1/{plural}", Who::Only(&[F])),
    ("GET", "/v1alpha1/{plural}/{name}", Who::Only(&[F])),
    ("PUT", "/v1alpha1/{plural}/{name}", Who::Only(&[F])),
    ("PATCH", "/v1alpha1/{plural}/{name}", Who::Only(&[F])),
    ("DELETE", "/v1alpha1/{plural}/{name}", Who::Only(&[F])),
    ("POST", "/v1alpha1/{plural}/{name}/takeover", Who::Only(&[F])),
    ("PUT", "/v1alpha1/{plural}/{name}/status", Who::Only(&[F, C])),
    ("GET", "/v1alpha1/{plural}/{name}/history", Who::Only(&[F])),
    ("GET", "/v1alpha1/{plural}/{name}/resources", Who::Only(&[F])),
    ("GET", "/v1alpha1/{plural}/{name}/events", Who::Only(&[F])),
    ("POST", "/v1alpha1/apply", Who::Only(&[])),
    ("GET", "/v1alpha1/operations", Who::Only(&[])),
    ("GET", "/v1alpha1/operations/{id}", Who::Only(&[])),
    ("PUT", "/v1alpha1/sources/{uid}", Who::Only(&[F])),
    ("DELETE", "/v1alpha1/sources/{uid}", Who::Only(&[F])),
    ("POST", "/v1alpha1/claims", Who::Only(&[C])),
    ("POST", "/v1alpha1/claims/renew", Who::Only(&[C])),
    ("POST", "/v1alpha1/claims/complete", Who::Only(&[C])),
    ("POST", "/v1alpha1/inventory", Who::Only(&[C])),
    ("POST", "/v1alpha1/events", Who::Only(&[C, F])),
    ("POST", "/v1alpha1/agents", Who::Only(&[A])),
    ("POST", "/v1alpha1/agents/{runtimeId}/heartbeat", Who::Only(&[A])),
    (
        "POST",
        "/v1alpha1/agents/{runtimeId}/observations",
        Who::Only(&[A]),
    ),
    ("GET", "/v1alpha1/agents/{runtimeId}/watches", Who::Only(&[A])),
    ("GET", "/v1alpha1/watch", Who::Only(&[F])),
    ("GET", "/healthz", Who::Public),
    ("GET", "/readyz", Who::Public),
    ("GET", "/readiness", Who::Public),
    ("GET", "/metrics", Who::Only(&[])),
    ("GET", "/openapi.json", Who::Public),
    ("GET", "/docs", Who::Public),
    ("GET", "/whoami", Who::Known),
    ("GET", "/version", Who::Known),
];

const CALLERS: &[(&str, Option<Role>)] = &[
    (ADMIN, Some(Role::Admin)),
    (FACADE, Some(F)),
    (CONTROLLERS, Some(C)),
    (AGENT, Some(A)),
    (STRANGER, Some(Role::None)),
    ("a-wrong-token-that-nobody-knows", None),
    (UNKNOWN, None),
    ("", None),
];

#[tokio::test]
async fn every_route_is_in_the_table_and_is_held() {
    let api = Api::new().await;
    let known: Vec<_> = TABLE.iter().map(|(method, path, _)| (*method, *path)).collect();
    for route in ROUTES.iter() {
        assert!(
            known.contains(&(route.method, route.path)),
            "{} {} is not in the table",
            route.method,
            route.path
        );
    }
    assert_eq!(ROUTES.len(), TABLE.len());
    for (method, path, who) in TABLE {
        let concrete = path
            .replace("{plural}", "workloaddefinitions")
            .replace("{name}", "nobody")
            .replace("{runtimeId}", &Uuid::nil().to_string())
            .replace("{uid}", "u")
            .replace("{id}", &Uuid::nil().to_string());
        for (token, role) in CALLERS {
            let status = api
                .open(method, &concrete, token, &[], Vec::new())
                .await
                .status()
                .as_u16();
            let expected = match (who, role) {
                (Who::Public, _) | (Who::Known, Some(_)) | (Who::Only(_), Some(Role::Admin)) => None,
                (Who::Only(roles), Some(role)) if roles.contains(role) => None,
                (Who::Only(_), Some(_)) => Some(403),
                (_, None) => Some(401),
            };
            match expected {
                Some(expected) => assert_eq!(status, expected, "{method} {path} as {role:?}"),
                None => assert!(
                    ![401, 403].contains(&status),
                    "{method} {path} as {role:?}: {status}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn a_token_is_reviewed_once_a_minute_at_most() {
    let api = Api::new().await;
    for _ in 0..20 {
        api.send("GET", "/whoami", AGENT, &[], None).await.expect(200);
    }
    assert_eq!(api.reviews.load(Ordering::SeqCst), 1);
}

/// However many tokens that nobody knows come, who is known is not asked about again, and what is no token costs nothing.
#[tokio::test]
async fn tokens_that_nobody_knows_cost_the_known_nothing() {
    let api = Api::new().await;
    let reviews = || api.reviews.load(Ordering::SeqCst);
    api.send("GET", "/whoami", AGENT, &[], None).await.expect(200);
    for number in 0..1100 {
        let junk = format!("nonsense-{number}");
        api.send("GET", "/whoami", &junk, &[], None).await.expect(401);
    }
    assert_eq!(reviews(), 1, "nobody was asked");
    for number in 0..1100 {
        let junk = web_token(&number.to_string());
        api.send("GET", "/whoami", &junk, &[], None).await.expect(401);
    }
    assert_eq!(reviews(), 1101);
    api.send("GET", "/whoami", AGENT, &[], None).await.expect(200);
    assert_eq!(reviews(), 1101, "a good answer is still known");
}

/// A cluster that hangs on what strangers send holds up none who is known, and no more than a few requests of theirs.
#[tokio::test]
async fn strangers_take_no_place() {
    let api = Api::with(Admission::new(100_000, 1, 16)).await;
    api.send("GET", "/whoami", AGENT, &[], None).await.expect(200);
    let strangers = (0..200).map(|number| {
        let token = format!("{HANGING}{number}");
        let api = &api;
        async move { api.send("GET", "/whoami", &token, &[], None).await.status }
    });
    let mut strangers: FuturesUnordered<_> = strangers.collect();
    let refused: Vec<u16> = (&mut strangers).take(200 - 64).collect().await;
    assert!(refused.iter().all(|status| *status == 503), "more than may wait");
    // Everybody had his turn often enough to have asked.
    let turns = async {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = strangers.next() => panic!("answered by a cluster that hangs: {answer:?}"),
        () = turns => {}
    }
    let asked = api.reviews.load(Ordering::SeqCst);
    assert_eq!(
        asked,
        1 + 8,
        "few are asked about at once, once somebody else was"
    );
    api.send("GET", "/whoami", AGENT, &[], None).await.expect(200);
    api.admin("GET", "/whoami", None).await.expect(200);
}

#[tokio::test]
async fn who_may_something_is_known_on_his_connection_and_a_stranger_is_not() {
    let api = Api::new().await;
    for (token, expected) in [(ADMIN, true), (AGENT, true), (STRANGER, false), (UNKNOWN, false)] {
        let known = Known::default();
        let request = Request::get("/whoami").header("authorization", format!("Bearer {token}"));
        let request = request.extension(known.clone()).body(Body::empty()).unwrap();
        router(api.app.clone()).oneshot(request).await.unwrap();
        assert_eq!(known.is_noted(), expected, "{token}");
    }
}

#[tokio::test]
async fn the_admin_token_follows_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "the-first-token-of-this-test").unwrap();
    let token = threeport_server::authentication::admin_token::AdminToken::from_file(file.clone()).unwrap();
    assert!(token.matches("the-first-token-of-this-test"));
    std::fs::write(&file, "the-second-token-of-this-test\n").unwrap();
    token.reload().unwrap();
    assert!(token.matches("the-second-token-of-this-test"));
    assert!(!token.matches("the-first-token-of-this-test"));
    std::fs::write(&file, "short").unwrap();
    assert!(token.reload().is_err());
    assert!(token.matches("the-second-token-of-this-test"));
}

#[tokio::test]
async fn only_who_is_trusted_acts_for_somebody_else() {
    let api = Api::new().await;
    let body = crate::harness::definition("for-alice", "1");
    let headers = [("threeport-on-behalf-of", "alice")];
    let created = api
        .send(
            "POST",
            "/v1alpha1/workloaddefinitions",
            FACADE,
            &headers,
            Some(body),
        )
        .await
        .expect(201);
    let operation = created.header("threeport-operation-id").to_owned();
    let operation = api
        .admin("GET", &format!("/v1alpha1/operations/{operation}"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(operation["onBehalfOf"], "alice");
    assert_eq!(
        operation["actor"],
        "system:serviceaccount:threeport-system:facade"
    );
}
