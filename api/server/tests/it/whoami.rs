use crate::harness::{ADMIN, Api, FACADE, STRANGER};

#[tokio::test]
async fn callers_learn_who_they_are() {
    let api = Api::new().await;
    for (token, actor, role) in [
        (ADMIN, "admin", "admin"),
        (FACADE, "system:serviceaccount:threeport-system:facade", "facade"),
        (
            STRANGER,
            "system:serviceaccount:threeport-system:stranger",
            "none",
        ),
    ] {
        let answer = api
            .send("GET", "/whoami", token, &[], None)
            .await
            .expect(200)
            .json();
        assert_eq!(
            (answer["actor"].as_str(), answer["role"].as_str()),
            (Some(actor), Some(role))
        );
        assert_eq!(answer["controlPlane"], "threeport");
        assert_eq!(answer["controlPlaneId"], api.store.control_plane_id().to_string());
    }
}

#[tokio::test]
async fn the_version_names_program_schema_and_database() {
    let api = Api::new().await;
    let answer = api.admin("GET", "/version", None).await.expect(200).json();
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(answer["schemaVersion"], api.store.schema_version());
    assert_eq!(answer["database"], "sqlite");
}
