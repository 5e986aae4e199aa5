//! The apiserver's audit log: who changed what. The one witness that no part of ours can influence.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// One answered request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// As in `create`, `patch`, `delete`.
    pub verb: String,
    /// Who authenticated.
    pub user: User,
    /// As whom, where the request impersonated somebody.
    pub impersonated_user: Option<User>,
    /// What it was about.
    #[serde(default)]
    pub object_ref: Option<ObjectReference>,
    /// How it was answered.
    #[serde(default)]
    pub response_status: Option<ResponseStatus>,
    /// `ResponseComplete` for one that was answered.
    pub stage: String,
    /// When it was answered, by this machine's clock.
    pub stage_timestamp: Timestamp,
    /// What it carried, where the log has that.
    #[serde(default)]
    pub request_object: Option<serde_json::Value>,
}

/// A user.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// As in `system:serviceaccount:threeport-system:threeport-controllers`.
    #[serde(default)]
    pub username: String,
}

/// What a request was about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Plural.
    pub resource: String,
    /// As in `status`.
    pub subresource: String,
    /// Empty for cluster-scoped ones.
    pub namespace: String,
    /// Empty for a create.
    pub name: String,
    /// Empty for the core group.
    pub api_group: String,
}

/// How a request was answered.
#[derive(Clone, Debug, Deserialize)]
pub struct ResponseStatus {
    /// HTTP status.
    #[serde(default)]
    pub code: u16,
}

impl Entry {
    /// Whether the request asked for a change. Leases, token and access reviews change nothing that counts.
    pub fn is_write(&self) -> bool {
        let resource = self
            .object_ref
            .as_ref()
            .map_or("", |object| object.resource.as_str());
        let review = resource.ends_with("reviews") || resource == "leases";
        let token = self
            .object_ref
            .as_ref()
            .is_some_and(|object| object.subresource == "token");
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        ) && !review
            && !token
    }

    /// Whether it was one of ours, impersonated ones included: a ServiceAccount of `namespace`.
    pub fn is_by(&self, namespace: &str) -> bool {
        let prefix = format!("system:serviceaccount:{namespace}:");
        let users = [Some(&self.user), self.impersonated_user.as_ref()];
        users
            .into_iter()
            .flatten()
            .any(|user| user.username.starts_with(&prefix))
    }

    /// Whether it was executed.
    pub fn succeeded(&self) -> bool {
        self.code() / 100 == 2
    }

    /// Whether it made an object that was not there: an apply that creates, or a POST.
    pub fn is_create(&self) -> bool {
        self.code() == 201 && matches!(self.verb.as_str(), "create" | "patch")
    }

    fn code(&self) -> u16 {
        self.response_status.as_ref().map_or(0, |status| status.code)
    }

    /// For counting and for messages: `patch 201 deployments.apps default/web`.
    pub fn summary(&self) -> String {
        let object = self.object_ref.clone().unwrap_or_default();
        let code = self.code();
        format!(
            "{} {code} {}.{} {}/{}",
            self.verb, object.resource, object.api_group, object.namespace, object.name
        )
    }
}

/// Where the log ends now: what [`since`] takes.
pub fn end(log: &Path) -> Result<u64> {
    Ok(std::fs::metadata(log)
        .with_context(|| format!("failed to read {}", log.display()))?
        .len())
}

/// The answered requests that were logged after `offset`.
pub fn since(log: &Path, offset: u64) -> Result<Vec<Entry>> {
    let mut file = File::open(log).with_context(|| format!("failed to read {}", log.display()))?;
    file.seek(SeekFrom::Start(offset))?;
    let mut entries = Vec::new();
    for line in BufReader::new(file).lines() {
        // The last line may be half written.
        if let Ok(entry) = serde_json::from_str::<Entry>(&line?)
            && entry.stage == "ResponseComplete"
        {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// How often each summary occurs.
pub fn count<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.summary()).or_default() += 1;
    }
    counts
}
