use serde_json::json;
use threeport_model::identity;

use super::*;
use crate::{outbox::Batch, pods, project};

const UID: Uuid = Uuid::from_u128(0xd);

fn kind(group: &str, kind: &str) -> Arc<WatchedKind> {
    Arc::new(WatchedKind {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
    })
}

fn object(kind: &Arc<WatchedKind>, name: &str, version: u32, deleted: bool) -> Event {
    let metadata = serde_json::from_value(json!({
        "name": name, "namespace": "shop", "uid": UID.to_string(), "resourceVersion": version.to_string(),
        "generation": 1, "labels": {identity::INSTANCE: Uuid::nil().to_string()},
    }))
    .unwrap();
    let status = json!({"status": {"observedGeneration": 1}});
    let seen = match deleted {
        true => project::deleted(kind, &metadata, &serde_json::Value::Null, "m"),
        false => project::existing(kind, &metadata, status, "m"),
    };
    Event::Object(Box::new(seen.unwrap()))
}

fn of_instance(event: Event, instance: Uuid) -> Event {
    let Event::Object(mut seen) = event else {
        unreachable!()
    };
    seen.observation.instance_id = instance;
    Event::Object(seen)
}

fn failing_pod(owner: Uuid) -> PodFacts {
    let trouble = pods::Trouble {
        failed: true,
        message: "container web: ImagePullBackOff".to_owned(),
    };
    PodFacts {
        uid: Uuid::from_u128(1),
        owner: Some(owner),
        name: "web-1".into(),
        terminating: false,
        trouble: Some(Box::new(trouble)),
        images: Box::default(),
    }
}

fn all(outbox: &mut Outbox) -> Batch {
    outbox.take(1000)
}

fn healths(batch: &Batch) -> Vec<(String, Health)> {
    batch
        .to_request(1, 1)
        .observations
        .into_iter()
        .map(|it| (it.name, it.health))
        .collect()
}

#[test]
fn what_a_second_list_lacks_was_deleted() {
    let maps = kind("", "ConfigMap");
    let (mut world, mut outbox) = (World::default(), Outbox::default());
    let first = [object(&maps, "a", 1, false), object(&maps, "b", 2, false)];
    let begin = Event::Listing(Arc::clone(&maps));
    let end = Event::Listed(Arc::clone(&maps));
    for event in [begin.clone()].into_iter().chain(first).chain([end.clone()]) {
        world.take(event, &mut outbox);
    }
    let batch = all(&mut outbox);
    assert_eq!(
        healths(&batch),
        [
            ("a".to_owned(), Health::Current),
            ("b".to_owned(), Health::Current)
        ]
    );
    assert_eq!(batch.to_request(1, 1).closed, [WatchedKind::clone(&maps)]);
    world.take(begin, &mut outbox);
    world.take(object(&maps, "b", 2, false), &mut outbox);
    assert_eq!(healths(&all(&mut outbox)), [("b".to_owned(), Health::Current)]);
    world.take(end, &mut outbox);
    assert_eq!(healths(&all(&mut outbox)), [("a".to_owned(), Health::Missing)]);
}

#[test]
fn what_is_deleted_while_its_kind_comes_to_be_watched_in_another_version_is_missing() {
    let old = kind("example.org", "Widget");
    let new = Arc::new(WatchedKind {
        version: "v2".to_owned(),
        ..WatchedKind::clone(&old)
    });
    let (mut world, mut outbox) = (World::default(), Outbox::default());
    for name in ["a", "b", "c"] {
        world.take(object(&old, name, 1, false), &mut outbox);
    }
    all(&mut outbox);
    // One is seen to go, and not yet said; one goes while nobody looks.
    world.take(object(&old, "a", 2, true), &mut outbox);
    world.take(Event::Listed(Arc::clone(&old)), &mut outbox);
    let (from, to) = (Arc::clone(&old), Arc::clone(&new));
    world.take(Event::Reversioned { old: from, new: to }, &mut outbox);
    world.take(Event::Listing(Arc::clone(&new)), &mut outbox);
    world.take(object(&new, "c", 1, false), &mut outbox);
    world.take(Event::Listed(Arc::clone(&new)), &mut outbox);
    let batch = all(&mut outbox);
    assert_eq!(
        healths(&batch),
        [
            ("a".to_owned(), Health::Missing),
            ("c".to_owned(), Health::Current),
            ("b".to_owned(), Health::Missing)
        ]
    );
    assert_eq!(batch.to_request(1, 1).closed, [WatchedKind::clone(&new)]);
}

#[test]
fn pods_speak_for_a_workload_whose_kind_is_watched_in_another_version() {
    let old = kind("batch", "Job");
    let new = Arc::new(WatchedKind {
        version: "v2".to_owned(),
        ..WatchedKind::clone(&old)
    });
    let (mut world, mut outbox) = (World::default(), Outbox::default());
    world.take(object(&old, "migrate", 1, false), &mut outbox);
    all(&mut outbox);
    world.take(Event::Reversioned { old, new }, &mut outbox);
    world.take(Event::Pod(failing_pod(UID)), &mut outbox);
    assert_eq!(
        healths(&all(&mut outbox)),
        [("migrate".to_owned(), Health::Failed)]
    );
}

#[test]
fn a_list_that_breaks_off_makes_nothing_missing() {
    let maps = kind("", "ConfigMap");
    let (mut world, mut outbox) = (World::default(), Outbox::default());
    world.take(object(&maps, "a", 1, false), &mut outbox);
    world.take(Event::Listing(Arc::clone(&maps)), &mut outbox);
    all(&mut outbox);
    world.take(
        Event::Unlistable(Arc::clone(&maps), "forbidden".to_owned()),
        &mut outbox,
    );
    let batch = all(&mut outbox);
    assert!(healths(&batch).is_empty());
    assert_eq!(batch.to_request(1, 1).unlistable[0].message, "forbidden");
}

#[test]
fn a_pod_s_trouble_is_said_once() {
    let deployments = kind("apps", "Deployment");
    let set = ReplicaSetFacts {
        uid: Uuid::from_u128(2),
        owner: Some(UID),
        revision: 1,
    };
    let (mut world, mut outbox) = (World::default(), Outbox::default());
    world.take(object(&deployments, "web", 1, false), &mut outbox);
    world.take(Event::ReplicaSet(set.clone()), &mut outbox);
    assert_eq!(
        healths(&all(&mut outbox)),
        [("web".to_owned(), Health::InProgress)]
    );
    world.take(Event::Pod(failing_pod(set.uid)), &mut outbox);
    assert_eq!(healths(&all(&mut outbox)), [("web".to_owned(), Health::Failed)]);
    world.take(Event::Pod(failing_pod(set.uid)), &mut outbox);
    assert!(outbox.is_empty());
    world.take(Event::PodGone(Uuid::from_u128(1)), &mut outbox);
    assert_eq!(
        healths(&all(&mut outbox)),
        [("web".to_owned(), Health::InProgress)]
    );
}

#[test]
fn pods_that_a_second_list_lacks_no_longer_speak() {
    let jobs = kind("batch", "Job");
    let (mut world, mut outbox) = (World::default(), Outbox::default());
    world.take(object(&jobs, "migrate", 1, false), &mut outbox);
    world.take(Event::Pod(failing_pod(UID)), &mut outbox);
    assert_eq!(
        healths(&all(&mut outbox)),
        [("migrate".to_owned(), Health::Failed)]
    );
    world.take(Event::ListingPods, &mut outbox);
    world.take(Event::ListedPods, &mut outbox);
    assert_eq!(
        healths(&all(&mut outbox)),
        [("migrate".to_owned(), Health::InProgress)]
    );
}

#[test]
fn a_deleted_object_is_missing_and_its_pods_change_nothing_more() {
    let jobs = kind("batch", "Job");
    let (mut world, mut outbox) = (World::default(), Outbox::default());
    world.take(object(&jobs, "migrate", 1, false), &mut outbox);
    world.take(object(&jobs, "migrate", 2, true), &mut outbox);
    world.take(Event::Pod(failing_pod(UID)), &mut outbox);
    assert_eq!(
        healths(&all(&mut outbox)),
        [("migrate".to_owned(), Health::Missing)]
    );
    assert!(world.objects.is_empty() && world.workloads.is_empty());
}

#[test]
fn what_no_longer_reads_as_ours_is_missing_each_time_that_it_is_lost() {
    let jobs = kind("batch", "Job");
    let key = Key {
        kind: Arc::clone(&jobs),
        namespace: "shop".to_owned(),
        name: "migrate".to_owned(),
    };
    let (mut world, mut outbox) = (World::default(), Outbox::default());
    world.take(Event::NotOurs(key.clone()), &mut outbox);
    assert!(outbox.is_empty(), "it never was ours");
    world.take(object(&jobs, "migrate", 1, false), &mut outbox);
    all(&mut outbox);
    world.take(Event::NotOurs(key.clone()), &mut outbox);
    let lost = all(&mut outbox).to_request(1, 1).observations;
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].health, Health::Missing);
    assert_eq!(
        (lost[0].uid.clone(), lost[0].instance_id),
        (UID.to_string(), Uuid::nil())
    );
    assert!(
        lost[0].message.contains(identity::INSTANCE),
        "{}",
        lost[0].message
    );
    assert!(world.objects.is_empty() && world.workloads.is_empty());
    // What becomes of it is not ours to tell.
    world.take(Event::Pod(failing_pod(UID)), &mut outbox);
    world.take(Event::NotOurs(key.clone()), &mut outbox);
    assert!(outbox.is_empty());

    // It is healed and lost again before that is sent.
    world.take(object(&jobs, "migrate", 3, false), &mut outbox);
    world.take(Event::NotOurs(key), &mut outbox);
    let again = all(&mut outbox).to_request(1, 2).observations;
    assert_eq!((again.len(), again[0].health), (1, Health::Missing));
    assert_ne!(again[0].message, lost[0].message, "else it would be no news");
}

#[test]
fn whose_object_becomes_another_instance_s_is_told_too() {
    let maps = kind("", "ConfigMap");
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (mut world, mut outbox) = (World::default(), Outbox::default());
    let seen = |version, instance| of_instance(object(&maps, "a", version, false), instance);
    let said = |outbox: &mut Outbox| -> Vec<(Uuid, Health)> {
        let request = all(outbox).to_request(1, 1);
        let said = request.observations.into_iter();
        said.map(|it| (it.instance_id, it.health)).collect()
    };
    world.take(seen(1, first), &mut outbox);
    assert_eq!(said(&mut outbox), [(first, Health::Current)]);
    world.take(seen(2, second), &mut outbox);
    assert_eq!(
        said(&mut outbox),
        [(first, Health::Missing), (second, Health::Current)]
    );
    // There and back before anything is sent.
    world.take(seen(3, first), &mut outbox);
    world.take(seen(4, second), &mut outbox);
    assert_eq!(
        said(&mut outbox),
        [(second, Health::Current), (first, Health::Missing)]
    );
    // A list shows it to be the first's.
    world.take(Event::Listing(Arc::clone(&maps)), &mut outbox);
    world.take(seen(5, first), &mut outbox);
    world.take(Event::Listed(Arc::clone(&maps)), &mut outbox);
    assert_eq!(
        said(&mut outbox),
        [(second, Health::Missing), (first, Health::Current)]
    );
    world.take(of_instance(object(&maps, "a", 6, true), first), &mut outbox);
    assert_eq!(said(&mut outbox), [(first, Health::Missing)]);
}

#[test]
fn that_a_job_completed_is_said_even_if_only_a_list_tells_that_it_is_gone() {
    let jobs = kind("batch", "Job");
    let (mut world, mut outbox) = (World::default(), Outbox::default());
    let job = |status: &str| {
        let metadata = serde_json::from_value(json!({
            "name": "seed", "namespace": "shop", "uid": UID.to_string(), "resourceVersion": "1",
            "labels": {identity::INSTANCE: Uuid::nil().to_string()}, "annotations": {identity::PLAN_HASH: "h"},
        }))
        .unwrap();
        let data = json!({"status": {"conditions": [{"type": status, "status": "True"}]}});
        Event::Object(Box::new(project::existing(&jobs, &metadata, data, "m").unwrap()))
    };
    let mut said = |event| {
        world.take(event, &mut outbox);
        let request = all(&mut outbox).to_request(1, 1);
        request.observations.into_iter().map(|it| it.completed).next()
    };
    assert_eq!(said(Event::Listing(Arc::clone(&jobs))), None);
    assert_eq!(said(job("Suspended")), Some(None));
    assert_eq!(said(job("Complete")), Some(Some("h".to_owned())));
    assert_eq!(
        said(job("Suspended")),
        Some(Some("h".to_owned())),
        "what is done is done"
    );
    assert_eq!(said(Event::Listing(Arc::clone(&jobs))), None);
    assert_eq!(
        said(Event::Listed(Arc::clone(&jobs))),
        Some(Some("h".to_owned())),
        "it is gone"
    );
}
