//! A control plane's own records.

use serde_json::json;
use threeport_model::{ManagedBy, protocol::claim::CompleteRequest};

use super::harness::{Bed, database_test, done};
use crate::{Ensured, SelfRecord};

database_test!(replicas_that_start_at_once_make_one_record_each, bed, {
    let record = SelfRecord {
        name: "mine".to_owned(),
        namespace: "somewhere".to_owned(),
        service_account: None,
    };
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let (store, record) = (bed.store.clone(), record.clone());
        tasks.push(tokio::spawn(async move {
            store.system_ensure(&record).await.unwrap().created.len()
        }));
    }
    let mut created = 0;
    for task in tasks {
        created += task.await.unwrap();
    }
    assert_eq!(created, 4);
    assert!(bed.store.system_ensure(&record).await.unwrap().created.is_empty());
    let own = bed.get("ControlPlaneInstance", "mine").await;
    assert_eq!(own.metadata.managed_by, Some(ManagedBy::System));
    assert_eq!(own.spec["namespace"], "somewhere");
    let runtime = bed.get("KubernetesRuntimeInstance", "local").await;
    assert_eq!(runtime.spec["defaultRuntime"], true);
});

async fn ensure(bed: &Bed, name: &str) -> Ensured {
    let record = SelfRecord {
        name: name.to_owned(),
        namespace: "somewhere".to_owned(),
        service_account: None,
    };
    bed.store.system_ensure(&record).await.unwrap()
}

fn runtime(is_default: bool) -> serde_json::Value {
    json!({"definition": "elsewhere", "defaultRuntime": is_default, "connection": {"inCluster": {}}})
}

async fn another_runtime(bed: &Bed, is_default: bool) {
    bed.create("KubernetesRuntimeDefinition", "elsewhere", json!({}))
        .await;
    bed.create("KubernetesRuntimeInstance", "elsewhere", runtime(is_default))
        .await;
}

database_test!(another_default_runtime_stays_the_default, bed, {
    another_runtime(bed, true).await;
    assert_eq!(ensure(bed, "mine").await.created.len(), 4);
    let local = bed.get("KubernetesRuntimeInstance", "local").await;
    assert_ne!(local.spec["defaultRuntime"], true);
    let other = bed.get("KubernetesRuntimeInstance", "elsewhere").await;
    assert_eq!(
        (&other.spec["defaultRuntime"], other.generation()),
        (&json!(true), 1)
    );
    let own = bed.get("ControlPlaneInstance", "mine").await;
    assert_eq!(own.spec["runtime"], "local", "it runs where it runs");
});

database_test!(a_renamed_control_plane_keeps_its_record, bed, {
    assert_eq!(ensure(bed, "mine").await.name, "mine");
    let renamed = ensure(bed, "other").await;
    assert_eq!((renamed.name.as_str(), renamed.created.len()), ("mine", 0));
    let error = bed.store.object_get("ControlPlaneInstance", "other").await;
    assert!(error.unwrap_err().is_not_found());
});

database_test!(what_people_deleted_stays_deleted, bed, {
    another_runtime(bed, false).await;
    ensure(bed, "mine").await;
    for (kind, name) in [
        ("ControlPlaneInstance", "mine"),
        ("KubernetesRuntimeInstance", "local"),
    ] {
        bed.store
            .object_take_over(&bed.request(), kind, name)
            .await
            .unwrap();
    }
    let moved = json!({"definition": "default", "runtime": "elsewhere", "namespace": "somewhere"});
    bed.update("ControlPlaneInstance", "mine", moved).await.unwrap();
    bed.delete("KubernetesRuntimeInstance", "local").await.unwrap();
    bed.update("KubernetesRuntimeInstance", "elsewhere", runtime(true))
        .await
        .unwrap();
    assert_eq!(ensure(bed, "mine").await.created, Vec::<String>::new());
    let local = bed.store.object_get("KubernetesRuntimeInstance", "local").await;
    assert!(local.unwrap_err().is_not_found());
});

database_test!(what_is_being_deleted_is_waited_for, bed, {
    bed.create("KubernetesRuntimeDefinition", "local", json!({}))
        .await;
    let spec = json!({"definition": "local", "connection": {"inCluster": {}}});
    bed.create("KubernetesRuntimeInstance", "local", spec).await;
    bed.definition("web").await;
    let spec = json!({"definition": "web", "runtime": "local"});
    let instance = bed.create("WorkloadInstance", "web", spec).await;
    bed.store
        .object_delete(&bed.request(), "KubernetesRuntimeInstance", "local", None, true)
        .await
        .unwrap();
    assert_eq!(ensure(bed, "mine").await.created, Vec::<String>::new());
    let claim = bed.claim_one(instance.id()).await;
    let end = CompleteRequest {
        finalize: true,
        ..done(&claim)
    };
    bed.store.claim_complete(&end).await.unwrap();
    let created = ensure(bed, "mine").await.created;
    assert!(
        created.contains(&"KubernetesRuntimeInstance/local".to_owned()),
        "{created:?}"
    );
});
