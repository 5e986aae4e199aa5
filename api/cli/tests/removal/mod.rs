//! `tptctl run --remove`: what is tried out and goes again.

use crate::{MANIFESTS, pair, until_deleting, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_run_to_be_removed_goes_also_where_it_ends_badly() {
    let world = World::new().await;
    let file = world.write("web.yaml", MANIFESTS);
    let run = [
        "run",
        "web",
        "-f",
        &file,
        "--wait",
        "--remove",
        "--timeout",
        "20s",
    ];
    let running = world.start(&run).await;
    let suspended = pair("web", "hello").replace("{definition: web}", "{definition: web, suspend: true}");
    let instance = suspended.split("---").next().unwrap();
    world.run_with(&["apply", "-f", "-"], instance).await.ok();
    until_deleting(&world, "web").await;
    world.finalize("WorkloadInstance", "web").await;
    let overtaken = running.end().await;
    assert_eq!(overtaken.code, 4, "{overtaken:?}");
    assert_eq!(
        overtaken.stdout,
        "workloaddefinition/web created\nworkloadinstance/web created\n\
         workloadinstance/web deletion requested\nworkloaddefinition/web deletion requested\n"
    );
    let left = world.run(&["get", "workloads", "-o", "name"]).await.ok();
    assert_eq!(left, "");

    // What somebody else made stays.
    world
        .run_with(&["apply", "-f", "-"], &pair("web", "hello"))
        .await
        .ok();
    let refused = world.run(&run).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("workloadinstance/web is there already, and --remove would delete it"),
        "{refused:?}"
    );
    let stays = world.run(&["get", "workloads", "-o", "name"]).await.ok();
    assert_eq!(
        stays,
        "workloaddefinition.threeport.io/web\nworkloadinstance.threeport.io/web\n"
    );
}
