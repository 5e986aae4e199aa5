//! Whoever reads standard error has closed it.

use std::process::{Command, Stdio};

use crate::world::World;

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
