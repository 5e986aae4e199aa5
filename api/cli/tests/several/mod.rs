//! Several objects that are named at once.

use serde_json::Value;

use crate::{pair, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_there_hides_no_other() {
    let world = World::new().await;
    for name in ["web", "shop"] {
        world
            .run_with(&["apply", "-f", "-"], &pair(name, "hello"))
            .await
            .ok();
    }
    let names = world
        .run(&["get", "tpwi", "web", "none", "shop", "-o", "name"])
        .await;
    assert_eq!(names.code, 1, "{names:?}");
    assert_eq!(
        names.stdout,
        "workloadinstance.threeport.io/web\nworkloadinstance.threeport.io/shop\n"
    );
    assert!(
        names.stderr.contains("NotFound") && names.stderr.contains("none"),
        "{names:?}"
    );
    let json = world.run(&["get", "tpwi/none", "tpwd/web", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (json.code, &list["items"][0]["metadata"]["name"]),
        (1, &"web".into())
    );

    let described = world.run(&["describe", "tpwi", "none", "web"]).await;
    assert_eq!(described.code, 1, "{described:?}");
    assert!(described.stdout.contains("definition: web"), "{described:?}");
    let none = world.run(&["get", "tpwi", "none", "nothing"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (1, ""), "{none:?}");
    assert!(!none.stderr.contains("no objects found"), "{none:?}");
}
