use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, Database};
use serde_json::json;
use threeport_model::protocol::{
    claim::StatusUpdate,
    readiness::{Degradation, NATS_UNAVAILABLE},
};
use threeport_server::{health::LAPSE, limits::Admission, own_record, tasks};
use threeport_store::StatusFence;

use crate::harness::{ADMIN, Api, definition, messages_logged};

#[tokio::test]
async fn ready_says_what_is_degraded_and_why_it_is_not() {
    let api = Api::new().await;
    assert_eq!(
        api.send("GET", "/readyz", "", &[], None).await.expect(200).text,
        "ok"
    );
    api.app.health.set_degraded(vec![away()], Instant::now());
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
async fn readiness_says_the_reason_of_each_degradation_in_a_field() {
    let api = Api::new().await;
    let ask = || api.send("GET", "/readiness", "", &[], None);
    assert_eq!(ask().await.expect(200).json(), json!({"degraded": []}));
    api.app.health.set_degraded(vec![away()], Instant::now());
    let ends = "2027-01-01T00:00:00Z".parse().unwrap();
    api.app.health.set_certificate_ends(Some(ends));
    let told = ask().await.expect(200).json();
    let degraded = told["degraded"].as_array().unwrap();
    let message = degraded[1]["message"].as_str().unwrap();
    assert!(
        message.starts_with("the serving certificate ends on 2027-01-01T00:00:00Z: "),
        "{message}"
    );
    let nats = json!({"reason": "NatsUnavailable", "message": "NATS is away"});
    let certificate = json!({"reason": "CertificateEnds", "message": message});
    assert_eq!(degraded[..], [nats, certificate]);
    // People are told the same.
    let text = api.send("GET", "/readyz", "", &[], None).await.expect(200).text;
    assert_eq!(text, format!("ok, degraded: NATS is away; {message}"));

    let silent = Err("the database does not answer".to_owned());
    api.app.health.set_ready(silent);
    assert_eq!(ask().await.expect(503).json()["code"], "Unavailable");
}

fn away() -> Degradation {
    Degradation::new(NATS_UNAVAILABLE, "NATS is away")
}

/// What the database says may show more than readers of a probe are to see.
#[tokio::test]
async fn why_the_database_fails_is_logged_by_each_task_and_told_by_no_probe() {
    const SAY: [&str; 5] = [
        "failed to read changes: ",
        "not ready: ",
        "failed to plan re-verification: ",
        "failed to purge what is past its retention: ",
        "failed to read how much work is due: ",
    ];
    let api = Api::new().await;
    api.store.close().await;
    let (app, shutdown) = (|| api.app.clone(), || api.shutdown.clone());
    let work = async {
        tokio::join!(
            tasks::health(app(), None, shutdown()),
            tasks::verification(app(), shutdown()),
            tasks::retention(app(), shutdown()),
            tasks::metrics(app(), shutdown()),
        )
    };
    let said = || {
        let messages = messages_logged();
        SAY.map(|what| {
            let mut why = messages.iter().filter_map(|message| message.strip_prefix(what));
            why.next().map(str::to_owned)
        })
    };
    let all_said = async {
        while said().iter().any(Option::is_none) {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            _ = work => {}
            () = all_said => {}
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{:?}", said()));
    for (what, why) in SAY.iter().zip(said()) {
        let why = why.unwrap();
        let cause = why.strip_prefix("the database failed: ");
        assert!(cause.is_some_and(|cause| !cause.is_empty()), "{what}{why}");
    }
    let problem = api.send("GET", "/readyz", "", &[], None).await.expect(503).json();
    assert_eq!(problem["detail"], "the database failed");
}

/// Clients stay connected to a replica that is not ready: what it went on to write, as to the schema before, would be lost or
/// worse.
#[tokio::test]
async fn an_api_that_can_t_serve_the_schema_reads_and_writes_nothing_for_anybody() {
    let api = Api::new().await;
    let database = Database::connect(&api.url).await.unwrap();
    let list = || api.admin("GET", "/v1alpha1/workloaddefinitions", None);
    list().await.expect(200);
    let newer = api.store.schema_version() + 1;
    for (minimum, served) in [(newer, false), (0, true)] {
        let migrated = format!("UPDATE schema_version SET version = {newer}, minimum = {minimum}");
        database.execute_unprepared(&migrated).await.unwrap();
        let looks = tasks::health(api.app.clone(), None, api.shutdown.clone());
        let seen = async {
            while api.app.health.fit().is_ok() != served {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            tokio::select! {
                () = looks => {}
                () = seen => {}
            }
        });
        waited.await.unwrap();
        if served {
            break;
        }
        let refused = list().await.expect(503).json();
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("can't serve it"), "{detail}");
        let definition = crate::harness::definition("web", "1");
        let written = api.admin("POST", "/v1alpha1/workloaddefinitions", definition);
        assert_eq!(written.await.expect(503).json()["code"], "Unavailable");
        api.admin("GET", "/version", None).await.expect(200);
        api.send("GET", "/healthz", "", &[], None).await.expect(200);
    }
    assert_eq!(list().await.expect(200).json()["items"], json!([]));
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
async fn large_objects_wait_for_room_and_others_are_written_meanwhile() {
    let api = Api::new().await;
    let write = |name: &str, bytes: usize| {
        let data = json!({"v": "v".repeat(bytes)});
        let manifest =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data});
        let object = json!({"apiVersion": "threeport.io/v1alpha1", "kind": "WorkloadDefinition",
            "metadata": {"name": name}, "spec": {"manifests": [manifest]}});
        api.admin("POST", "/v1alpha1/workloaddefinitions", object)
    };
    let room = api.app.admission.room(u64::MAX).await.unwrap();
    let mut large = std::pin::pin!(write("large", 2 << 20));
    for number in 0..20 {
        let small = write(&format!("small-{number}"), 10);
        tokio::select! {
            biased;
            answer = &mut large => panic!("it did not wait: {}", answer.text),
            answer = small => drop(answer.expect(201)),
        }
    }
    drop(room);
    large.await.expect(201);
}

#[tokio::test]
async fn a_small_patch_of_a_large_object_waits_for_room() {
    let api = Api::new().await;
    let path = |name: &str| format!("/v1alpha1/workloaddefinitions/{name}");
    for (name, bytes) in [("large", 2 << 20), ("small", 10)] {
        let object = definition(name, &"v".repeat(bytes));
        api.admin("POST", "/v1alpha1/workloaddefinitions", object)
            .await
            .expect(201);
    }
    let patch = async |name: &str, value: &str| {
        let headers = [("content-type", "application/merge-patch+json")];
        let body = json!({"metadata": {"labels": {"a": value}}});
        api.send("PATCH", &path(name), ADMIN, &headers, Some(body)).await
    };
    let room = api.app.admission.room(u64::MAX).await.unwrap();
    let mut large = std::pin::pin!(patch("large", "b"));
    for number in 0..20 {
        let value = number.to_string();
        tokio::select! {
            biased;
            answer = &mut large => panic!("it did not wait: {}", answer.text),
            answer = patch("small", &value) => drop(answer.expect(200)),
        }
    }
    drop(room);
    large.await.expect(200);
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

/// A short interruption writes nothing; what lasts is told, and its end at once.
#[tokio::test]
async fn the_own_record_tells_what_is_degraded_once_it_lasts() {
    let api = Api::new().await;
    // Its controller has said something: before that there is nothing to add to.
    let (kind, name) = ("ControlPlaneInstance", "threeport");
    let (record, _) = api.app.store.status_get(kind, name).await.unwrap();
    let generation = record.generation();
    let status = StatusUpdate {
        observed_generation: generation,
        status: json!({"observedGeneration": generation, "conditions": [], "novel": 1}),
    };
    let put = api
        .app
        .store
        .status_put(kind, name, &status, StatusFence::default());
    put.await.unwrap();
    let start = Instant::now();
    let report = async |after, degraded: &[Degradation]| {
        let now = start + after;
        api.app.health.set_degraded(degraded.to_vec(), now);
        own_record::report(&api.app, false, now).await.unwrap();
        let record = api.admin("GET", "/v1alpha1/controlplaneinstances/threeport", None);
        let status = record.await.expect(200).json()["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let degraded = conditions
            .into_iter()
            .find(|condition| condition["type"] == "Degraded");
        degraded.and_then(|found| found["status"].as_str().map(str::to_owned))
    };
    let away = [away()];
    assert_eq!(report(Duration::ZERO, &[]).await.as_deref(), Some("False"));
    let before = LAPSE - Duration::from_secs(1);
    for (after, degraded, told) in [
        (Duration::from_secs(1), away.as_slice(), "False"),
        (before, &away, "False"),
        (Duration::from_secs(1) + LAPSE, &away, "True"),
        (Duration::from_secs(2) + LAPSE, &[], "False"),
    ] {
        assert_eq!(report(after, degraded).await.as_deref(), Some(told), "{after:?}");
    }
    let (record, _) = api.app.store.status_get(kind, name).await.unwrap();
    assert_eq!(record.status["novel"], 1, "a later version's field stays");
}
