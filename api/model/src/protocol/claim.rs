//! `POST /v1alpha1/claims`, `/claims/renew`, `/claims/complete`: how a controller takes work, with everything that
//! it needs to know in the same answer, and how it gives the work back.
//!
//! A claim has an epoch, monotone per object. Everything that the holder writes names it, and the store refuses an
//! older one: a replica that was paused past its claim can't overwrite what its successor did.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    kinds::{event::NewEvent, workload_definition::InstanceCounts},
    object::Object,
    protocol::{agent::AgentState, inventory::InventoryRow},
};

/// How long a claim lasts unless it is renewed, in seconds.
pub const DEFAULT_TTL_SECONDS: u32 = 10;
/// The most claims in one request.
pub const MAX_CLAIMS: usize = 64;

/// Asks for work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRequest {
    /// Who asks: one process, unique per start.
    pub holder: String,
    /// The kinds that it works on.
    pub kinds: Vec<String>,
    /// The objects it wants. Empty: whatever is due and unclaimed (the sweep), the oldest of the freshest class
    /// first. What it wants by id and holds already is given again, at a new epoch: its answer was lost. So it must
    /// not ask by id for what it works on.
    #[serde(default)]
    pub ids: Vec<Uuid>,
    /// The most objects it wants, at most [`MAX_CLAIMS`].
    pub limit: u32,
    /// How long the claims last, in seconds.
    pub ttl_seconds: u32,
}

/// The claims that were given. What was asked for and is not here has no work due, or somebody else has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimResponse {
    /// One per object that was given.
    pub claims: Vec<Claim>,
    /// Of the wanted ids: those that have work due later or that somebody else holds now. And, wanted or found by a
    /// sweep, those that were due and for which there was no room here (then there is more to sweep) or that can't be read.
    #[serde(default)]
    pub busy: Vec<Uuid>,
}

/// One object to work on, and all that it refers to, as of one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The object. Secret values are placeholders; see `secrets`. A tombstone has `deleted` set.
    pub object: Object,
    /// True where the object is a tombstone whose leftovers must go.
    #[serde(default)]
    pub deleted: bool,
    /// Of the pending row, as it was when the world was read.
    pub token: String,
    /// The fence.
    pub epoch: i64,
    /// What made the row: what `trigger` counts where a sweep found it.
    pub trigger: Trigger,
    /// Runs that failed or waited since the last that was done.
    pub attempts: i64,
    /// How long ago the work became due, in milliseconds by the database's clock.
    #[serde(default)]
    pub pending_milliseconds: i64,
    /// What the object refers to, with the status that is served: Ready of an older generation is not True. For an
    /// instance: definition, runtime (the default one where none is named), dependencies.
    #[serde(default)]
    pub references: Vec<Object>,
    /// The values behind the placeholders in the object and its references, base64 as in a Secret's `data`.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// For a WorkloadInstance: its rows, in every runtime.
    #[serde(default)]
    pub inventory: Vec<InventoryRow>,
    /// For a WorkloadInstance and a KubernetesRuntimeInstance: the agent of its runtime.
    #[serde(default)]
    pub agent: Option<AgentState>,
    /// For a WorkloadDefinition: how its instances are, by one query.
    #[serde(default)]
    pub instances: Option<InstanceCounts>,
    /// For a WorkloadDefinition: the one of its instances that is worst off, as `Kind/name: message`.
    #[serde(default)]
    pub worst_instance: Option<String>,
}

impl Claim {
    /// The first claim on an object that refers to nothing, after a change, and that no run has ended of: what
    /// tests begin with.
    pub fn of(object: Object) -> Self {
        Self {
            object,
            deleted: false,
            token: String::new(),
            epoch: 1,
            trigger: Trigger::Change,
            attempts: 0,
            pending_milliseconds: 0,
            references: Vec::new(),
            secrets: BTreeMap::new(),
            inventory: Vec::new(),
            agent: None,
            instances: None,
            worst_instance: None,
        }
    }
}

/// What made an object pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Trigger {
    /// A change of desired state, by a person or through a reference.
    #[default]
    Change,
    /// Something was observed that differs.
    Observation,
    /// A run that failed or waits.
    Retry,
    /// Nothing: it is looked at again from time to time.
    Verification,
}

impl Trigger {
    /// The word that JSON and the database use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Observation => "observation",
            Self::Retry => "retry",
            Self::Verification => "verification",
        }
    }

    /// The trigger named by `word`; a change for a word of a later version.
    pub fn from_word(word: &str) -> Self {
        match word {
            "observation" => Self::Observation,
            "retry" => Self::Retry,
            "verification" => Self::Verification,
            _ => Self::Change,
        }
    }
}

impl<'de> Deserialize<'de> for Trigger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<str>::deserialize(deserializer)?;
        Ok(Self::from_word(&word))
    }
}

/// Keeps claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenewRequest {
    /// As in the claim.
    pub holder: String,
    /// Which, at which epoch.
    pub claims: Vec<ClaimKey>,
    /// How long from now, in seconds.
    pub ttl_seconds: u32,
}

/// One claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimKey {
    /// The object.
    pub id: Uuid,
    /// The fence.
    pub epoch: i64,
}

/// Those that are kept; what is missing is lost and its run must stop before its next write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenewResponse {
    /// Ids that are kept.
    pub renewed: Vec<Uuid>,
}

/// Ends a run: status, events, and what becomes of the pending row, in one transaction that is refused as a whole
/// (412 PreconditionFailed) where the epoch is not the newest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompleteRequest {
    /// The object.
    pub id: Uuid,
    /// As in the claim.
    pub epoch: i64,
    /// As in the claim.
    pub token: String,
    /// The new status, or nothing where it stays as it is. An equal one is not written.
    #[serde(default)]
    pub status: Option<StatusUpdate>,
    /// What to do with the pending row.
    pub next: Next,
    /// Inventory rows to write: what was applied, with uid and digests.
    #[serde(default)]
    pub inventory: Vec<InventoryRow>,
    /// Inventory rows to remove, since the objects are gone (seen to be, not assumed).
    #[serde(default)]
    pub inventory_removed: Vec<Uuid>,
    /// What happened.
    #[serde(default)]
    pub events: Vec<NewEvent>,
    /// Everything that the object made is gone (or was let go): turn it into a tombstone. Refused where inventory
    /// rows are left or deletion was not asked for.
    #[serde(default)]
    pub finalize: bool,
}

/// A status as its controller writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusUpdate {
    /// The generation that it speaks about; refused where it is in the future.
    pub observed_generation: i64,
    /// The status of the kind, `observedGeneration` and `conditions` included.
    pub status: Value,
}

/// What becomes of the pending row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Next {
    /// Reconciled: the row goes, unless its token was refreshed meanwhile.
    Done,
    /// Again after so many milliseconds, as a retry: `attempts` grows.
    After {
        /// From now, by the database's clock.
        milliseconds: i64,
    },
    /// Nothing failed, but look again after so many milliseconds: `attempts` is reset.
    Recheck {
        /// From now, by the database's clock.
        milliseconds: i64,
    },
    /// Nothing was done: the row is as it was before the claim, but due after so many milliseconds at the earliest.
    Release {
        /// From now, by the database's clock.
        milliseconds: i64,
    },
}

/// What became of a completed run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompleteResponse {
    /// Whether the object has work again already (its token was refreshed meanwhile).
    pub pending: bool,
    /// Whether the status differed and was written.
    pub status_written: bool,
}
