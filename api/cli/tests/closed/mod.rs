//! Whoever reads standard output or standard error has closed it.

use std::process::{Command, Stdio};

use threeport_model::find_kind;

use crate::{MANIFESTS, pair, world::World};

/// The exit code of the program whose standard output nobody reads.
async fn unread(world: &World, arguments: &[&str]) -> Option<i32> {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tptctl"));
    command.args(arguments).env_clear().envs(world.environment());
    command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.status().unwrap());
    ended.await.unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_output_that_is_closed_ends_no_change_and_no_wait() {
    let world = World::new().await;
    let names = ["a", "b", "c"];
    let files = names.map(|name| world.write(&format!("{name}.yaml"), &pair(name, "hello")));
    let wait = ["--wait", "--timeout", "0s"];
    // Nobody makes it Ready.
    for file in &files {
        let apply = [&["apply", "-f", file][..], &wait].concat();
        assert_eq!(unread(&world, &apply).await, Some(3), "{apply:?}");
    }

    // It comes to the second one, which is not there.
    let take_over = ["take-over", "tpwi/a", "tpwi/none"];
    assert_eq!(unread(&world, &take_over).await, Some(1));

    let delete = ["delete", "workloadinstance", "a", "b", "c"];
    assert_eq!(unread(&world, &delete).await, Some(0));
    let kind = find_kind("tpwi").unwrap();
    for name in names {
        let object = world.client.object_get(kind, name).await.unwrap();
        assert!(object.is_deleting(), "{name} stays: {object:?}");
    }

    let manifest = world.write("manifest.yaml", MANIFESTS);
    let run = [&["run", "web", "-f", &manifest, "--remove"][..], &wait].concat();
    assert_eq!(unread(&world, &run).await, Some(3));
    let web = world.client.object_get(kind, "web").await.unwrap();
    assert!(web.is_deleting(), "{web:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_error_that_is_closed_changes_no_exit_code() {
    let world = World::new().await;
    for (arguments, code) in [
        (&["get", "tpwd", "-l", "app=none"][..], 0),
        (&["get", "tpwd", "none"][..], 1),
        (&["wait", "tpwd/none", "--for", "delete"][..], 0),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tptctl"))
            .args(arguments)
            .env_clear()
            .envs(world.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It asks the API first.
        drop(program.stderr.take());
        let ended = tokio::task::spawn_blocking(move || program.wait().unwrap());
        assert_eq!(ended.await.unwrap().code(), Some(code), "{arguments:?}");
    }
}
