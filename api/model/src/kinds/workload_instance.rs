//! WorkloadInstance: places a definition into a runtime.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    condition::Condition,
    kind::{Column, Kind, MESSAGE, READY, REASON, Reference, find_kind},
    kinds::{
        KubernetesRuntimeInstance,
        workload_definition::{ResourceIdentity, WorkloadDefinition},
    },
    name,
    problem::FieldError,
};

/// See the module.
pub struct WorkloadInstance;

/// The field with what it waits for: each is referred to from that and its place, as in `spec.dependsOn[0]`.
pub const DEPENDS_ON: &str = "spec.dependsOn";

/// The most objects that one instance waits for.
pub const MAX_DEPENDENCIES: usize = 100;

/// Where and how a definition runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Name of the WorkloadDefinition.
    pub definition: String,
    /// Name of the KubernetesRuntimeInstance; the default runtime where absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runtime: Option<String>,
    /// Namespace for documents that name none. Default: the instance's name. An existing namespace without our
    /// identity is used only if it is named here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<String>,
    /// Objects that must have a condition before this one is applied.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub depends_on: Vec<Dependency>,
    /// Stop writing to the cluster. Scales nothing.
    #[serde(default)]
    pub suspend: bool,
    /// Take over existing objects that nobody else's identity is on.
    #[serde(default)]
    pub adopt: bool,
    /// What becomes of the objects when the instance is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// What becomes of the objects when the instance is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They are deleted.
    #[default]
    Delete,
    /// They stay, without our identity.
    Orphan,
}

/// A condition that must hold elsewhere first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dependency {
    /// A Threeport kind.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// The condition that must be True.
    #[serde(default = "ready")]
    pub condition: String,
}

fn ready() -> String {
    crate::condition::READY.to_owned()
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation of the instance that the status speaks about.
    pub observed_generation: i64,
    /// `Ready`, and `Reconciling`, `Stalled`, `Fighting`, `Unrecorded` or `DeletionBlocked` where they apply.
    pub conditions: Vec<Condition>,
    /// The generations that are applied; absent before the first complete apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The runtime's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Fixed at the first reconcile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// How many objects there are, and how they are.
    pub resources: ResourceCounts,
    /// At most 10 objects, the worst first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub worst: Vec<ResourceHealth>,
    /// The images that run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<RunningImage>,
    /// What it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_on: Vec<Blocker>,
}

/// A pair of generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Of the definition, pins included.
    pub definition: i64,
    /// Of the instance.
    pub instance: i64,
}

/// How many objects an instance has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceCounts {
    /// All of them.
    pub total: i64,
    /// Seen healthy.
    pub ready: i64,
    /// Seen failed.
    pub failed: i64,
    /// `ready/total`, for tables.
    pub summary: String,
}

/// How a live object is: kstatus' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub enum Health {
    /// It failed, and does not mend itself (as far as can be seen).
    Failed,
    /// It is not there, though it should be.
    Missing,
    /// Nobody knows right now.
    #[default]
    Unknown,
    /// It is on its way.
    InProgress,
    /// It is being deleted.
    Terminating,
    /// It is as it should be.
    Current,
}

impl Health {
    /// The word that JSON and the database use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Missing => "Missing",
            Self::Unknown => "Unknown",
            Self::InProgress => "InProgress",
            Self::Terminating => "Terminating",
            Self::Current => "Current",
        }
    }

    /// The health named by `word`; Unknown for a word of a later version.
    pub fn from_word(word: &str) -> Self {
        match word {
            "Failed" => Self::Failed,
            "Missing" => Self::Missing,
            "InProgress" => Self::InProgress,
            "Terminating" => Self::Terminating,
            "Current" => Self::Current,
            _ => Self::Unknown,
        }
    }
}

impl<'de> Deserialize<'de> for Health {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<str>::deserialize(deserializer)?;
        Ok(Self::from_word(&word))
    }
}

/// One object and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceHealth {
    /// Which.
    #[serde(flatten)]
    pub resource: ResourceIdentity,
    /// How it is.
    pub health: Health,
    /// Why, as far as can be seen: the pod's reason where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// An image that was seen to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunningImage {
    /// In full: `docker.io/library/nginx`.
    pub repository: String,
    /// Tag or digest, as the pod has it.
    pub reference: String,
    /// What the node resolved it to.
    #[serde(rename = "imageID", default)]
    pub image_id: String,
}

/// Something that an object waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// CamelCase.
    pub reason: String,
    /// `Kind/name` of a Threeport object, or `kind.group namespace/name` of a live one.
    pub on: String,
    /// Since when; kept while the blocker stays the same.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<jiff::Timestamp>,
    /// When it is tried again without being woken, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_try: Option<jiff::Timestamp>,
}

impl Kind for WorkloadInstance {
    const KIND: &'static str = "WorkloadInstance";
    const PLURAL: &'static str = "workloadinstances";
    const SINGULAR: &'static str = "workloadinstance";
    const SHORT_NAME: &'static str = "tpwi";
    const DESCRIPTION: &'static str = "Places a WorkloadDefinition into a Kubernetes runtime.";
    const FOOTPRINT: bool = true;
    const COLUMNS: &'static [Column] = &[
        READY,
        REASON,
        Column::text("RESOURCES", ".status.resources.summary"),
        Column::number("REVISION", ".status.revision.definition"),
        Column::text("RUNTIME", ".status.runtime"),
        MESSAGE,
    ];
    type Spec = Spec;
    type Status = Status;

    fn validate(spec: &Spec) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut check = |field: String, value: &str| {
            if let Some(problem) = name::problem(value) {
                errors.push(FieldError::new(field, problem));
            }
        };
        check(Reference::DEFINITION.to_owned(), &spec.definition);
        if let Some(runtime) = &spec.runtime {
            check(Reference::RUNTIME.to_owned(), runtime);
        }
        if let Some(namespace) = &spec.namespace {
            check("spec.namespace".to_owned(), namespace);
        }
        for (index, dependency) in spec.depends_on.iter().enumerate() {
            check(format!("{DEPENDS_ON}[{index}].name"), &dependency.name);
        }
        if spec.depends_on.len() > MAX_DEPENDENCIES {
            let message = format!("has {}; {MAX_DEPENDENCIES} are the most", spec.depends_on.len());
            errors.push(FieldError::new(DEPENDS_ON, message));
        }
        for (index, dependency) in spec.depends_on.iter().enumerate() {
            if find_kind(&dependency.kind).is_none_or(|kind| kind.kind != dependency.kind) {
                let field = format!("{DEPENDS_ON}[{index}].kind");
                errors.push(FieldError::new(
                    field,
                    format!("{:?} is not a kind of Threeport", dependency.kind),
                ));
            }
        }
        errors
    }

    fn validate_change(old: &Spec, new: &Spec) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if old.runtime != new.runtime {
            errors.push(FieldError::new(
                Reference::RUNTIME,
                "is immutable; delete the instance and create it anew",
            ));
        }
        if old.namespace != new.namespace {
            errors.push(FieldError::new(
                "spec.namespace",
                "is immutable; delete the instance and create it anew",
            ));
        }
        errors
    }

    fn references(spec: &Spec) -> Vec<Reference> {
        let mut references = vec![Reference::new(
            Reference::DEFINITION,
            WorkloadDefinition::KIND,
            &spec.definition,
        )];
        if let Some(runtime) = &spec.runtime {
            references.push(Reference::new(
                Reference::RUNTIME,
                KubernetesRuntimeInstance::KIND,
                runtime,
            ));
        }
        for (index, dependency) in spec.depends_on.iter().enumerate() {
            let field = format!("{DEPENDS_ON}[{index}]");
            references.push(Reference::new(&field, &dependency.kind, &dependency.name));
        }
        references
    }
}
