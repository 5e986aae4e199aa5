//! `tptctl delete` of what files name.

use threeport_model::find_kind;

use crate::{pair, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_namespace_or_group_means_nothing_here() {
    let world = World::new().await;
    let web = pair("web", "hello");
    world.run_with(&["apply", "-f", "-"], &web).await.ok();
    let placed = |namespace: &str| web.replace("name: web,", &format!("name: web, namespace: {namespace},"));
    let other = world.write("other.yaml", &placed("staging"));
    let foreign = world.write("foreign.yaml", &web.replace("threeport.io/", "example.com/"));
    for (file, part) in [
        (&other, "1: metadata.namespace is \"staging\""),
        (&foreign, "1: apiVersion must be \"threeport.io/v1alpha1\""),
    ] {
        for command in ["delete", "wait"] {
            let refused = world.run(&[command, "-f", file, "--timeout", "1s"]).await;
            assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
            let part = format!("{file}:{part}");
            assert!(refused.stderr.contains(&part), "{part}: {refused:?}");
        }
    }
    let instance = find_kind("tpwi").unwrap();
    let stored = world.client.object_get(instance, "web").await.unwrap();
    assert!(!stored.is_deleting(), "{stored:?}");

    let own = placed(&world.client.whoami().await.unwrap().namespace);
    let own = own.split("---").next().unwrap();
    let gone = world.run_with(&["delete", "-f", "-"], own).await.ok();
    assert_eq!(gone, "workloadinstance/web deletion requested\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_what_was_refused_for_good_is_told_at_once() {
    let world = World::new().await;
    let file = world.write("web.yaml", &pair("web", "hello"));
    world.run(&["apply", "-f", &file]).await.ok();
    let depends = "{definition: other, dependsOn: [{kind: WorkloadInstance, name: web}]}";
    let other = pair("other", "hello").replace("{definition: other}", depends);
    world.run_with(&["apply", "-f", "-"], &other).await.ok();

    let refused = world.run(&["delete", "-f", &file, "--timeout", "20s"]).await;
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
