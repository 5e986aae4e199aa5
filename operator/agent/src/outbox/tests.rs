use threeport_model::kinds::workload_instance::Health;
use uuid::Uuid;

use super::*;

fn kind(name: &str) -> Arc<WatchedKind> {
    Arc::new(WatchedKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: name.to_owned(),
    })
}

fn key(kind_name: &str, name: &str) -> Key {
    Key {
        kind: kind(kind_name),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

fn observation(name: &str, version: u32) -> Observation {
    Observation {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: String::new(),
        instance_id: Uuid::nil(),
        resource_version: version.to_string(),
        ownership_digest: None,
        other_managers: Vec::new(),
        health: Health::Current,
        message: String::new(),
        images: Vec::new(),
        completed: None,
    }
}

fn seen(outbox: &mut Outbox, name: &str, version: u32) {
    outbox.observe(key("ConfigMap", name), observation(name, version));
}

fn sent(batch: &Batch) -> Vec<String> {
    let request = batch.to_request(1, 1);
    request
        .observations
        .iter()
        .map(|it| format!("{}@{}", it.name, it.resource_version))
        .collect()
}

#[test]
fn what_was_seen_twice_is_sent_once_in_its_first_place() {
    let mut outbox = Outbox::default();
    seen(&mut outbox, "a", 1);
    seen(&mut outbox, "b", 2);
    seen(&mut outbox, "a", 3);
    assert_eq!(sent(&outbox.take(10)), ["a@3", "b@2"]);
    assert!(outbox.is_empty());
}

#[test]
fn a_list_is_closed_only_after_what_was_in_it() {
    let mut outbox = Outbox::default();
    for number in 0..5 {
        seen(&mut outbox, &format!("m{number}"), 1);
    }
    outbox.close(kind("ConfigMap"));
    seen(&mut outbox, "m0", 2);
    assert!(outbox.take(3).to_request(1, 1).closed.is_empty());
    let last = outbox.take(3);
    assert_eq!(
        last.to_request(1, 2).closed,
        [WatchedKind::clone(&kind("ConfigMap"))]
    );
    assert_eq!(sent(&last), ["m3@1", "m4@1"]);
}

#[test]
fn what_comes_back_goes_first_but_never_over_what_is_newer() {
    let mut outbox = Outbox::default();
    seen(&mut outbox, "a", 1);
    seen(&mut outbox, "b", 1);
    outbox.close(kind("ConfigMap"));
    let failed = outbox.take(10);
    seen(&mut outbox, "c", 2);
    seen(&mut outbox, "a", 2);
    outbox.unlistable(kind("ConfigMap"), "forbidden".to_owned());
    outbox.put_back(failed);
    let batch = outbox.take(10);
    assert_eq!(sent(&batch), ["b@1", "c@2", "a@2"]);
    let request = batch.to_request(1, 1);
    assert!(request.closed.is_empty());
    assert_eq!(request.unlistable.len(), 1);
}

#[test]
fn each_instance_that_has_or_had_an_object_is_told_its_own_last() {
    let mut outbox = Outbox::default();
    let mut other = observation("a", 2);
    other.instance_id = Uuid::from_u128(1);
    seen(&mut outbox, "a", 1);
    outbox.observe(key("ConfigMap", "a"), other.clone());
    seen(&mut outbox, "a", 3);
    let failed = outbox.take(10);
    assert_eq!(sent(&failed), ["a@3", "a@2"]);
    other.resource_version = "4".to_owned();
    outbox.observe(key("ConfigMap", "a"), other);
    outbox.put_back(failed);
    assert_eq!(sent(&outbox.take(10)), ["a@3", "a@4"]);
}

#[test]
fn of_a_kind_the_last_mark_counts() {
    let mut outbox = Outbox::default();
    outbox.unlistable(kind("A"), "no".to_owned());
    outbox.close(kind("A"));
    let request = outbox.take(10).to_request(1, 1);
    assert_eq!((request.closed.len(), request.unlistable.len()), (1, 0));
}

fn unlistable(batch: &Batch) -> Vec<String> {
    let request = batch.to_request(1, 1);
    request.unlistable.into_iter().map(|it| it.kind.kind).collect()
}

#[test]
fn what_is_seen_after_a_kind_could_not_be_listed_is_sent_after_that() {
    let mut outbox = Outbox::default();
    outbox.unlistable(kind("ConfigMap"), "broken".to_owned());
    outbox.unlistable(kind("Service"), "broken".to_owned());
    seen(&mut outbox, "a", 1);
    seen(&mut outbox, "b", 1);
    let first = outbox.take(10);
    assert_eq!(unlistable(&first), ["ConfigMap", "Service"]);
    assert!(first.is_empty());
    outbox.put_back(first);
    let first = outbox.take(10);
    assert_eq!(unlistable(&first), ["ConfigMap", "Service"]);
    assert!(first.is_empty(), "nor when it is sent again");
    let second = outbox.take(10);
    assert_eq!(sent(&second), ["a@1", "b@1"]);
    assert!(unlistable(&second).is_empty() && outbox.is_empty());
}

#[test]
fn what_is_seen_again_after_a_kind_could_not_be_listed_is_sent_after_that() {
    let mut outbox = Outbox::default();
    seen(&mut outbox, "a", 1);
    seen(&mut outbox, "b", 1);
    outbox.unlistable(kind("ConfigMap"), "broken".to_owned());
    seen(&mut outbox, "a", 2);
    assert_eq!(outbox.len(), 3);
    let first = outbox.take(10);
    assert_eq!(
        (sent(&first), unlistable(&first)),
        (vec!["b@1".to_owned()], vec!["ConfigMap".to_owned()])
    );
    let second = outbox.take(10);
    assert_eq!(sent(&second), ["a@2"]);
    assert!(unlistable(&second).is_empty() && outbox.is_empty());
}

#[test]
fn what_is_sent_holds_no_nul() {
    let mut outbox = Outbox::default();
    let mut said = observation("a", 1);
    "exited\0 with\0\0 1".clone_into(&mut said.message);
    said.other_managers = vec!["some\0body".to_owned()];
    outbox.observe(key("ConfigMap", "a"), said);
    outbox.unlistable(kind("A"), "no\0".to_owned());
    let request = outbox.take(10).to_request(1, 1);
    assert_eq!(request.observations[0].message, "exited with 1");
    assert_eq!(request.observations[0].other_managers, ["somebody"]);
    assert_eq!(request.unlistable[0].message, "no");
}

#[test]
fn a_message_is_said_to_the_length_that_somebody_reads() {
    let mut outbox = Outbox::default();
    for (name, said) in [
        ("long", "ä".repeat(1 << 19)),
        ("odd", format!("a{}", "ä".repeat(LONGEST))),
        ("short", "s".repeat(LONGEST)),
    ] {
        let mut seen = observation(name, 1);
        seen.message = said.clone();
        outbox.observe(key("ConfigMap", name), seen);
        outbox.unlistable(kind(name), said);
    }
    let request = outbox.take(10).to_request(1, 1);
    let long = format!("{}…", "ä".repeat(LONGEST / 2));
    let odd = format!("a{}…", "ä".repeat(LONGEST / 2 - 1));
    let expected = [long, odd, "s".repeat(LONGEST)];
    let observed = request.observations.iter().map(|seen| &seen.message);
    assert!(observed.eq(&expected), "of objects");
    let of_kinds = request.unlistable.iter().map(|said| &said.message);
    assert!(of_kinds.eq(&expected), "of kinds");
}

#[test]
fn nothing_is_said_of_a_kind_that_is_no_longer_watched() {
    let mut outbox = Outbox::default();
    seen(&mut outbox, "a", 1);
    outbox.close(kind("ConfigMap"));
    outbox.close(kind("Service"));
    outbox.forget(&kind("ConfigMap"));
    let request = outbox.take(10).to_request(1, 1);
    assert!(request.observations.is_empty());
    assert_eq!(request.closed, [WatchedKind::clone(&kind("Service"))]);
}
