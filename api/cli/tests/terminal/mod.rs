//! What reaches a terminal of what others wrote.

use serde_json::Value;

use crate::{pair, world::World};

/// A title, a bell, an empty screen, the line's begin, and an empty screen again by a command of one character.
const MESSAGE: &str = "\u{1b}]0;title\u{7}\u{1b}[2J\r\u{9b}2Jfine";
const SHOWN: &str = "\\u{1b}]0;title\\u{7}\\u{1b}[2J\\r\\u{9b}2Jfine";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workload_says_is_shown_and_not_obeyed() {
    let world = World::new().await;
    world
        .run_with(&["apply", "-f", "-"], &pair("web", "hello"))
        .await
        .ok();
    world
        .reconcile_saying("WorkloadInstance", "web", false, MESSAGE)
        .await;
    for (command, times) in [
        (&["get", "tpwi", "-o", "wide"][..], 1),
        (&["describe", "tpwi", "web"][..], 1),
        // While it waits, and when it has waited in vain.
        (&["wait", "tpwi/web", "--timeout", "3s"][..], 2),
        (&["doctor"][..], 1),
    ] {
        let ran = world.run(command).await;
        let said = ran.stdout + &ran.stderr;
        assert!(said.matches(SHOWN).count() >= times, "{command:?}: {said:?}");
        let obeyed = said
            .chars()
            .find(|character| character.is_control() && *character != '\n');
        assert_eq!(obeyed, None, "{command:?}: {said:?}");
    }
    let missing = world.run(&["apply", "-f", "\u{1b}[2J.yaml"]).await;
    assert!(missing.stderr.contains("\\u{1b}[2J.yaml"), "{missing:?}");
    assert!(!missing.stderr.contains('\u{1b}'), "{missing:?}");

    // What is for programs is as it was said.
    let json = world.run(&["get", "tpwi/web", "-o", "json"]).await.ok();
    let object: Value = serde_json::from_str(&json).unwrap();
    let conditions = object["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions.iter().any(|condition| condition["message"] == MESSAGE),
        "{json}"
    );
}
