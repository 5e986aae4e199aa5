use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering},
};

use kube::client::Body;
use serde_json::json;
use threeport_model::identity;

use super::*;

/// A watcher in a cluster, and what it says.
fn watcher(client: Client) -> (Watcher, mpsc::Receiver<Event>) {
    let (events, seen) = mpsc::channel(10);
    let watcher = Watcher {
        client,
        manager: "threeport-x".into(),
        selector: "a=b".into(),
        events,
    };
    (watcher, seen)
}

/// With which code a cluster answers, and what; nothing where it swallows what is asked.
type Answer = Option<(u16, Value)>;

/// What a watch of ConfigMaps says in a cluster that answers so.
fn watched(answer: impl Fn(&http::Uri) -> Answer + Send + 'static) -> mpsc::Receiver<Event> {
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let answer = answer(request.uri());
        async move {
            match answer {
                Some((code, said)) => {
                    let mut response = http::Response::new(Body::from(said.to_string().into_bytes()));
                    *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
                    Ok::<_, Infallible>(response)
                }
                None => std::future::pending().await,
            }
        }
    });
    let (watcher, seen) = watcher(Client::new(service, "default"));
    let kind = WatchedKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
    };
    tokio::spawn(watcher.kind(Arc::new(kind)));
    seen
}

/// What is said next.
async fn next(seen: &mut mpsc::Receiver<Event>) -> Event {
    let said = timeout(PAGE * 3, seen.recv()).await;
    said.expect("it says something").expect("it goes on")
}

/// That ConfigMaps are served; nothing where something else is asked.
fn discovered(uri: &http::Uri) -> Answer {
    let resource = json!({"name": "configmaps", "kind": "ConfigMap", "namespaced": true, "singularName": "",
        "verbs": ["get", "list", "watch"]});
    let resources =
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [resource]});
    (uri.path() == "/api/v1").then_some((200, resources))
}

fn asks_for(uri: &http::Uri, what: &str) -> bool {
    uri.query().unwrap_or_default().contains(what)
}

fn failure(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message})
}

/// The first page of a list, with one object; it goes on at `rest`, or ends here where that is empty.
fn first_page(rest: &str) -> Value {
    let labels = json!({identity::INSTANCE: Uuid::nil().to_string()});
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "1", "labels": labels}});
    json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "1", "continue": rest},
        "items": [object]})
}

/// A list of which nothing but the first page can be had.
fn without_its_rest(uri: &http::Uri) -> (u16, Value) {
    if asks_for(uri, "continue=") {
        (500, failure(500, "the conversion webhook failed"))
    } else {
        (200, first_page("rest"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_swallows_what_is_asked_is_found_out() {
    for mut seen in [watched(|_| None), watched(discovered)] {
        let said = next(&mut seen).await;
        assert!(
            matches!(&said, Event::Unlistable(_, why) if why.contains("no answer")),
            "{said:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_list_shows_that_breaks_off_is_not_told() {
    let mut seen = watched(|uri| discovered(uri).or_else(|| Some(without_its_rest(uri))));
    let said = next(&mut seen).await;
    assert!(
        matches!(&said, Event::Unlistable(_, why) if why.contains("webhook")),
        "{said:?}"
    );
    // It is listed again and again.
    let more = timeout(Duration::from_secs(60), seen.recv()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_never_listed_to_its_end_again_is_unlistable_after_a_while() {
    let is_expired = AtomicBool::new(false);
    let mut seen = watched(move |uri| {
        let answer = if asks_for(uri, "watch=true") {
            is_expired.store(true, Ordering::SeqCst);
            let expired = json!({"type": "ERROR", "object": failure(410, "too old resource version")});
            (200, expired)
        } else if is_expired.load(Ordering::SeqCst) {
            without_its_rest(uri)
        } else {
            (200, first_page(""))
        };
        discovered(uri).or(Some(answer))
    });
    assert!(matches!(next(&mut seen).await, Event::Listing(_)));
    assert!(matches!(next(&mut seen).await, Event::Object(_)));
    assert!(matches!(next(&mut seen).await, Event::Listed(_)));
    let since = Instant::now();
    let said = next(&mut seen).await;
    assert!(
        matches!(&said, Event::Unlistable(_, why) if why.contains("webhook")),
        "{said:?}"
    );
    let patience = since.elapsed();
    assert!(
        (PATIENCE..PATIENCE + RETRY.1 * 2).contains(&patience),
        "{patience:?}"
    );
}

#[test]
fn an_object_that_reads_as_no_instance_s_is_not_passed_over() {
    let kind = Arc::new(WatchedKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
    });
    let told = |event: watcher::Event<ObjectMeta>| {
        kind_event(event, &kind, "threeport-x", |metadata| (metadata, Value::Null))
    };
    let labelled = |labels: Value| -> ObjectMeta {
        serde_json::from_value(json!({"name": "web", "namespace": "shop", "labels": labels})).unwrap()
    };
    let expected = Key {
        kind: Arc::clone(&kind),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    };
    for labels in [json!({}), json!({identity::INSTANCE: "somebody"})] {
        let nobody_s = labelled(labels);
        for event in [
            watcher::Event::Apply(nobody_s.clone()),
            watcher::Event::InitApply(nobody_s.clone()),
            watcher::Event::Delete(nobody_s),
        ] {
            let told = told(event);
            assert!(
                matches!(&told, Event::NotOurs(key) if *key == expected),
                "{told:?}"
            );
        }
    }
    let ours = labelled(json!({identity::INSTANCE: Uuid::nil().to_string()}));
    for event in [watcher::Event::Apply(ours.clone()), watcher::Event::Delete(ours)] {
        assert!(matches!(told(event), Event::Object(_)));
    }
}

/// How often a cluster that does not serve a kind is asked for it.
#[tokio::test(start_paused = true)]
async fn a_kind_that_is_long_absent_is_looked_for_seldom() {
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        if request.uri().path().ends_with("/v1") {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        let status = json!({"kind": "Status", "status": "Failure", "code": 404, "message": "not found",
            "reason": "NotFound"});
        let mut response = http::Response::new(Body::from(status.to_string().into_bytes()));
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        async move { Ok::<_, Infallible>(response) }
    });
    let (watcher, mut seen) = watcher(Client::new(service, "default"));
    let kind = WatchedKind {
        group: "example.org".to_owned(),
        version: "v1".to_owned(),
        kind: "Widget".to_owned(),
    };
    let watching = tokio::spawn(watcher.kind(Arc::new(kind)));
    let count = || asked.load(std::sync::atomic::Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    let first_minute = count();
    assert!((20..60).contains(&first_minute), "{first_minute}");
    sleep(Duration::from_secs(60)).await;
    let before = count();
    sleep(Duration::from_secs(600)).await;
    assert!((10..30).contains(&(count() - before)), "{}", count() - before);
    assert!(matches!(seen.try_recv(), Ok(Event::Unlistable(..))));
    assert!(seen.try_recv().is_err(), "it is said once");
    watching.abort();
}
