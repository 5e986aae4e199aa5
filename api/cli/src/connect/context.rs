//! The configuration file: named control planes. No credential is in it, only names of files, from its own folder on.
//!
//! ```yaml
//! current: production
//! contexts:
//! - name: production
//!   server: https://threeport.example.org
//!   caFile: /home/me/threeport/ca.crt
//!   tokenFile: /home/me/threeport/token
//! - name: trial
//!   kubeContext: kind-trial     # without a server: by port-forward
//!   namespace: threeport-system
//! ```

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use threeport_model::yaml;

use crate::arguments::Connection;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(default)]
    current: Option<String>,
    #[serde(default)]
    contexts: Vec<Context>,
}

/// A control plane and how to reach it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Context {
    name: String,
    pub(super) server: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) namespace: Option<String>,
    pub(super) kube_context: Option<String>,
}

/// The context that is named, or else the current one. A file that nobody named need not be there.
pub(super) fn selected(connection: &Connection) -> anyhow::Result<Option<Context>> {
    let path = match (&connection.config, default_path()) {
        (Some(path), _) => path.clone(),
        (None, Some(path)) if path.is_file() => path,
        (None, _) if connection.context.is_none() => return Ok(None),
        (None, _) => {
            bail!("--context needs a configuration file: ~/.config/threeport/config.yaml or --config FILE")
        }
    };
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let mut context = choose(&text, connection.context.as_deref())
        .with_context(|| format!("failed to use {}", path.display()))?;
    // As in a kubeconfig: from where the file is that names them, wherever the command is typed.
    if let (Some(context), Some(folder)) = (&mut context, path.parent()) {
        let files = [&mut context.ca_file, &mut context.token_file];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }
    Ok(context)
}

fn choose(text: &str, wanted: Option<&str>) -> anyhow::Result<Option<Context>> {
    let document = yaml::documents(text)
        .map_err(|error| anyhow::anyhow!(error.message))?
        .into_iter()
        .next();
    let file = match document {
        Some(document) => File::deserialize(document.value)?,
        None => File::default(),
    };
    let Some(name) = wanted.or(file.current.as_deref()) else {
        return Ok(None);
    };
    match file.contexts.iter().find(|context| context.name == name) {
        Some(context) => Ok(Some(context.clone())),
        None => {
            let names: Vec<_> = file
                .contexts
                .iter()
                .map(|context| context.name.as_str())
                .collect();
            bail!("there is no context {name:?}; there are: {}", names.join(", "))
        }
    }
}

fn default_path() -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let folder = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(folder.join("threeport/config.yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "current: a\ncontexts:\n- {name: a, server: 'https://a'}\n- {name: b, kubeContext: kind-b}\n";

    #[test]
    fn the_named_context_goes_before_the_current_one() {
        assert_eq!(
            choose(FILE, None).unwrap().unwrap().server.as_deref(),
            Some("https://a")
        );
        assert_eq!(
            choose(FILE, Some("b")).unwrap().unwrap().kube_context.as_deref(),
            Some("kind-b")
        );
        assert!(choose("", None).unwrap().is_none());
    }

    #[test]
    fn files_are_named_from_the_folder_of_the_file_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        let text = "current: a\ncontexts:\n- {name: a, caFile: keys/ca.crt, tokenFile: /run/token}\n";
        std::fs::write(&path, text).unwrap();
        let connection = Connection {
            config: Some(path),
            ..Connection::default()
        };
        let context = selected(&connection).unwrap().unwrap();
        assert_eq!(context.ca_file, Some(folder.path().join("keys/ca.crt")));
        assert_eq!(context.token_file, Some(PathBuf::from("/run/token")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let missing = choose(FILE, Some("c")).unwrap_err().to_string();
        assert!(missing.contains("\"c\"") && missing.contains("a, b"), "{missing}");
        let unknown = choose("contexts:\n- {name: a, token: secret}\n", None)
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("token"), "{unknown}");
    }
}
