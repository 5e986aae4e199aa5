//! The objects of a scene.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use threeport_e2e::plane::{DATABASE, Plane};
use threeport_model::{KindDescriptor, Object, find_kind};

use super::Scene;

impl Scene {
    pub(super) fn definition(&self, value: &str) -> Object {
        let manifests = json!({"manifests": [config_map("web", value, "")]});
        Object::new("WorkloadDefinition", &self.name, manifests)
    }

    pub(super) fn other_definition(&self) -> Object {
        let manifests = json!({"manifests": [config_map("lodger", "one", "")]});
        Object::new("WorkloadDefinition", &format!("{}-lodger", self.name), manifests)
    }

    pub(super) fn job(&self, value: &str) -> Object {
        let container =
            json!({"name": "job", "image": "localhost/job:1", "env": [{"name": "VALUE", "value": value}]});
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
        });
        Object::new("WorkloadDefinition", &self.name, json!({"manifests": [job]}))
    }

    pub(super) fn instance(&self, mut spec: Value) -> Object {
        spec["definition"] = json!(self.name);
        Object::new("WorkloadInstance", &self.name, spec)
    }

    /// An instance in the namespace of the other.
    pub(super) fn lodger(&self) -> Object {
        let name = format!("{}-lodger", self.name);
        let spec = json!({"definition": name, "namespace": self.name});
        Object::new("WorkloadInstance", &name, spec)
    }

    pub(super) fn namespace(&self) -> Result<()> {
        self.kubectl.run(&["create", "namespace", &self.name]).map(drop)
    }

    pub(super) fn namespace_object(&self) -> Result<Value> {
        self.get("namespace", &self.name, "default")
    }

    /// An object of the cluster; null where there is none.
    pub(super) fn get(&self, kind: &str, name: &str, namespace: &str) -> Result<Value> {
        let arguments = [
            "get",
            kind,
            name,
            "--namespace",
            namespace,
            "--ignore-not-found",
            "--output=json",
        ];
        let text = self.kubectl.run(&arguments)?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// Makes the instance's specification no JSON, and looks at it again soon.
    pub(super) fn break_row(&self, plane: &Plane) -> Result<()> {
        self.change_row(plane, "'x' || spec", "object_status SET verify_at = 0")
    }

    /// Undoes it.
    pub(super) fn mend_row(&self, plane: &Plane) -> Result<()> {
        self.change_row(plane, "substr(spec, 2)", "pending SET not_before = 0, since = 0")
    }

    fn change_row(&self, plane: &Plane, spec: &str, due: &str) -> Result<()> {
        let which = self.instance_in_row();
        let statements = format!(
            "UPDATE object SET spec = {spec} WHERE {which}; \
             UPDATE {due} WHERE object_id = (SELECT id FROM object WHERE {which} AND deleted_at IS NULL)"
        );
        plane.postgres.execute(DATABASE, &statements).map(drop)
    }

    /// The reason of the instance's Ready, as the database has it.
    pub(super) fn reason_in_row(&self, plane: &Plane) -> Result<String> {
        let which = self.instance_in_row();
        let reason = format!(
            "SELECT reason FROM object_status \
             WHERE object_id = (SELECT id FROM object WHERE {which} AND deleted_at IS NULL)"
        );
        Ok(plane.postgres.execute(DATABASE, &reason)?.trim().to_owned())
    }

    fn instance_in_row(&self) -> String {
        format!("kind = 'WorkloadInstance' AND name = '{}'", self.name)
    }

    pub(super) fn patch_job(&self, patch: &str) -> Result<()> {
        let arguments = [
            "patch",
            "job",
            "job",
            "--namespace",
            &self.name,
            "--type=merge",
            "--patch",
            patch,
        ];
        self.kubectl.run(&arguments).map(drop)
    }

    pub(super) fn let_job_go(&self) -> Result<()> {
        self.patch_job(r#"{"metadata":{"finalizers":null}}"#)
    }
}

/// A ConfigMap; in no namespace unless one is given.
pub(super) fn config_map(name: &str, value: &str, namespace: &str) -> Value {
    let mut map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value},
    });
    if !namespace.is_empty() {
        map["metadata"]["namespace"] = json!(namespace);
    }
    map
}

pub(super) fn definitions() -> Result<&'static KindDescriptor> {
    find_kind("WorkloadDefinition").context("no such kind")
}

pub(super) fn instances() -> Result<&'static KindDescriptor> {
    find_kind("WorkloadInstance").context("no such kind")
}
