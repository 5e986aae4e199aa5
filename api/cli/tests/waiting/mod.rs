//! `tptctl wait` where there is nothing to wait for, or something in the way for a moment.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::{pair, watch::until, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_no_time_at_all_is_told_how_it_is() {
    let world = World::new().await;
    world
        .run_with(&["apply", "-f", "-"], &pair("web", "hello"))
        .await
        .ok();
    let wait = ["wait", "tpwi/web", "--timeout", "0s"];
    world.reconcile("WorkloadInstance", "web", false).await;
    let not_yet = world.run(&wait).await;
    assert_eq!(not_yet.code, 3, "{not_yet:?}");
    let said = "workloadinstance/web: Ready=False Test: as the test says\n";
    assert_eq!(
        not_yet.stderr,
        format!("{said}timed out after 0 s; still waiting for:\n  {said}")
    );

    let suspended = pair("web", "hello").replace("{definition: web}", "{definition: web, suspend: true}");
    world.run_with(&["apply", "-f", "-"], &suspended).await.ok();
    world.reconcile("WorkloadInstance", "web", true).await;
    let ready = world.run(&wait).await;
    assert_eq!(ready.code, 0, "{ready:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_time_mends_is_not_waited_for() {
    let world = World::new().await;
    for (flag, value, part) in [
        ("--token-file", "/nowhere", "failed to read /nowhere"),
        ("--server", "localhost:8443", "should be like https://"),
        ("--server", "http://localhost:1", "should be like https://"),
        ("--server", " http://localhost:1", "should be like https://"),
    ] {
        let wrong = world
            .run(&["wait", "tpwi/web", flag, value, "--timeout", "5s"])
            .await;
        assert_eq!(wrong.code, 1, "{wrong:?}");
        assert!(
            wrong.stderr.contains(part) && !wrong.stderr.contains("timed out"),
            "{wrong:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_being_written_anew_ends_no_wait() {
    let world = World::new().await;
    world
        .run_with(&["apply", "-f", "-"], &pair("web", "hello"))
        .await
        .ok();
    let token = std::fs::read_to_string(world.key("admin-token")).unwrap();
    let file = world.write("token", &token);
    let mut program = Command::new(env!("CARGO_BIN_EXE_tptctl"))
        .args(["wait", "tpwi/web", "--timeout", "60s", "--token-file", &file])
        .env_clear()
        .envs(world.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(program.stderr.take().unwrap()).lines();
    until(&mut said, "workloadinstance/web: ").await;
    world.write("token", "");
    until(&mut said, "workloadinstance/web: failed to read").await;
    world.write("token", &token);
    world.reconcile("WorkloadInstance", "web", true).await;
    until(&mut said, "workloadinstance/web: done").await;
    assert_eq!(program.wait().await.unwrap().code(), Some(0));
}
