//! Kubernetes manifests where objects of Threeport are meant.

use crate::{MANIFESTS, pair, world::World};

const TOLD: &str = "next: apply takes objects of Threeport; `tptctl run NAME -f FILE`";

#[tokio::test(flavor = "multi_thread")]
async fn who_applies_kubernetes_manifests_is_told_of_run() {
    let world = World::new().await;
    let file = world.write("web.yaml", MANIFESTS);
    for command in ["apply", "diff"] {
        let refused = world.run(&[command, "-f", &file]).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
        let place = format!("{file}:2: kind");
        assert!(
            refused.stderr.contains(&place) && refused.stderr.contains(TOLD),
            "{refused:?}"
        );
    }
    // The control: what is of ours and wrong has other advice.
    let wrong = pair("web", "x").replace("{definition: web}", "{definition: web, runtyme: x}");
    let refused = world.run_with(&["apply", "-f", "-"], &wrong).await;
    assert!(
        refused.stderr.contains("runtyme") && !refused.stderr.contains("tptctl run"),
        "{refused:?}"
    );
}
