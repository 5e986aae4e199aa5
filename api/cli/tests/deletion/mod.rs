//! `tptctl delete` of what files name.

use crate::{pair, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_what_was_refused_for_good_is_told_at_once() {
    let world = World::new().await;
    let file = world.write("web.yaml", &pair("web", "hello"));
    world.run(&["apply", "-f", &file]).await.ok();
    let depends = "{definition: other, dependsOn: [{kind: WorkloadInstance, name: web}]}";
    let other = pair("other", "hello").replace("{definition: other}", depends);
    world.run_with(&["apply", "-f", "-"], &other).await.ok();

    let refused = world.run(&["delete", "-f", &file, "--timeout", "2s"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
    for part in [
        "WorkloadInstance/web is referred to by WorkloadInstance/other",
        "WorkloadDefinition/web is referred to by WorkloadInstance/web",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    for part in ["waits for", "timed out"] {
        assert!(!refused.stderr.contains(part), "{part}: {refused:?}");
    }
}
