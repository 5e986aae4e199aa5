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
        let object = self.object_ref.as_ref();
        let is_aside = object.is_some_and(|object| {
            matches!(
                (object.api_group.as_str(), object.resource.as_str()),
                ("coordination.k8s.io", "leases")
                    | ("authentication.k8s.io", "tokenreviews" | "selfsubjectreviews")
                    | (
                        "authorization.k8s.io",
                        "subjectaccessreviews"
                            | "localsubjectaccessreviews"
                            | "selfsubjectaccessreviews"
                            | "selfsubjectrulesreviews"
                    )
            )
        });
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        ) && !is_aside
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
    file.seek(SeekFrom::Start(offset.saturating_sub(1)))?;
    let mut lines = BufReader::new(file);
    if offset > 0 {
        // The rest of what was half written then; mostly only the end of its line.
        lines.skip_until(b'\n')?;
    }
    answered(lines).with_context(|| format!("failed to read {}", log.display()))
}

fn answered(mut log: impl BufRead) -> Result<Vec<Entry>> {
    let (mut entries, mut line) = (Vec::new(), String::new());
    // The last line may be half written.
    while log.read_line(&mut line)? > 0 && line.ends_with('\n') {
        let entry: Entry = serde_json::from_str(&line).with_context(|| line.trim().to_owned())?;
        if entry.stage == "ResponseComplete" {
            entries.push(entry);
        }
        line.clear();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stage: &str, resource: &str, verb: &str) -> String {
        let object = serde_json::json!({"apiGroup": resource.split_once('.').map_or("", |(_, group)| group),
            "resource": resource.split('.').next()});
        let entry = serde_json::json!({"verb": verb, "stage": stage, "user": {"username": "somebody"},
            "objectRef": object, "stageTimestamp": "2026-01-01T00:00:00.000000Z"});
        format!("{entry}\n")
    }

    #[test]
    fn only_the_last_line_may_be_half_written_and_none_that_cannot_be_read() {
        let whole = line("ResponseComplete", "configmaps", "create");
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        write(&format!(
            "{whole}{}{whole}{}",
            line("ResponseStarted", "pods", "watch"),
            &whole[..20]
        ));
        assert_eq!(since(file.path(), 0).unwrap().len(), 2);
        assert_eq!(since(file.path(), whole.len() as u64).unwrap().len(), 1);
        assert_eq!(
            since(file.path(), 10).unwrap().len(),
            1,
            "it was being written then"
        );
        write(&format!("{whole}{}\n{whole}", &whole[..20]));
        assert!(since(file.path(), 0).is_err());
    }

    #[test]
    fn what_is_a_write_is_told_by_group_and_kind() {
        let is_write = |resource: &str, verb: &str| {
            let text = line("ResponseComplete", resource, verb);
            serde_json::from_str::<Entry>(&text).unwrap().is_write()
        };
        for aside in [
            "leases.coordination.k8s.io",
            "tokenreviews.authentication.k8s.io",
            "subjectaccessreviews.authorization.k8s.io",
        ] {
            assert!(!is_write(aside, "create"), "{aside}");
        }
        for counted in ["leases.example.org", "reviews.example.org", "configmaps"] {
            assert!(is_write(counted, "create"), "{counted}");
            assert!(!is_write(counted, "list"), "{counted}");
        }
    }
}
