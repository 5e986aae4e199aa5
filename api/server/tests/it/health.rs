use threeport_server::limits::Admission;

use crate::harness::{ADMIN, Api};

#[tokio::test]
async fn ready_says_what_is_degraded_and_why_it_is_not() {
    let api = Api::new().await;
    assert_eq!(
        api.send("GET", "/readyz", "", &[], None).await.expect(200).text,
        "ok"
    );
    api.app.health.set_degraded(vec!["NATS is away".to_owned()]);
    let degraded = api.send("GET", "/readyz", "", &[], None).await.expect(200).text;
    assert_eq!(degraded, "ok, degraded: NATS is away");
    api.app
        .health
        .set_ready(Err("the database does not answer".to_owned()));
    let problem = api.send("GET", "/readyz", "", &[], None).await.expect(503).json();
    assert_eq!(problem["code"], "Unavailable");
    assert_eq!(
        api.send("GET", "/healthz", "", &[], None).await.expect(200).text,
        "ok"
    );
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let api = Api::new().await;
    api.admin("GET", "/v1alpha1/workloaddefinitions/nobody", None)
        .await
        .expect(404);
    let text = api.admin("GET", "/metrics", None).await.expect(200).text;
    let line = "threeport_http_request_duration_seconds_count{route=\"/v1alpha1/{plural}/{name}\",method=\"GET\",\
                status=\"404\"} 1";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn who_asks_too_much_is_told_to_wait() {
    let api = Api::with(Admission::new(1, 512, 16)).await;
    let mut refused = None;
    for _ in 0..5 {
        let answer = api.send("GET", "/whoami", ADMIN, &[], None).await;
        if answer.status != 200 {
            refused = Some(answer);
        }
    }
    let refused = refused.unwrap().expect(429);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json()["code"], "TooManyRequests");
}

#[tokio::test]
async fn more_requests_than_places_are_refused_and_probes_are_not() {
    let api = Api::with(Admission::new(1000, 0, 16)).await;
    assert_eq!(
        api.admin("GET", "/whoami", None).await.expect(503).json()["code"],
        "Unavailable"
    );
    api.send("GET", "/healthz", "", &[], None).await.expect(200);
}
