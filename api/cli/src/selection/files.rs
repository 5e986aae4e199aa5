//! Which objects files mean, and of which control plane.

use anyhow::{bail, ensure};
use serde_json::Value;
use threeport_client::Client;
use threeport_model::{API_VERSION, find_kind};

use super::{Named, objects};
use crate::{arguments::Files, input};

/// Objects that were named. Those of files may be of another control plane.
pub struct Meant {
    objects: Vec<Named>,
    /// Each namespace that a file says, after where it says so.
    namespaces: Vec<(String, String)>,
}

impl Meant {
    /// The objects; an error where a file says a namespace that is not `client`'s, as for what is applied. An object of the
    /// same name may be there, and is not the one that is meant.
    pub async fn objects_of(self, client: &Client) -> anyhow::Result<Vec<Named>> {
        if !self.namespaces.is_empty() {
            let own = client.whoami().await?.namespace;
            for (place, namespace) in &self.namespaces {
                ensure!(
                    *namespace == own,
                    "{place}: metadata.namespace is {namespace:?}; it must be absent or {own:?}, the control plane's \
                     namespace (name another control plane with --namespace)"
                );
            }
        }
        Ok(self.objects)
    }
}

/// The objects that `words` name or, without words, those in `files`, in their order.
pub fn objects_or_files(words: &[String], files: &Files) -> anyhow::Result<Meant> {
    let mut meant = Meant {
        objects: Vec::new(),
        namespaces: Vec::new(),
    };
    if !words.is_empty() {
        meant.objects = objects(words)?;
        return Ok(meant);
    }
    for source in input::read(&files.files, files.recursive, false)? {
        for document in input::documents(&source)? {
            let place = format!("{}:{}", source.name, document.line);
            for value in input::objects(&document.value) {
                meant.objects.push(named(value, &place)?);
                match value.pointer("/metadata/namespace") {
                    None | Some(Value::Null) => {}
                    Some(Value::String(namespace)) => {
                        meant.namespaces.push((place.clone(), namespace.clone()));
                    }
                    Some(_) => bail!("{place}: metadata.namespace must be a string"),
                }
            }
        }
    }
    ensure!(!meant.objects.is_empty(), "the files hold no object");
    Ok(meant)
}

fn named(value: &Value, place: &str) -> anyhow::Result<Named> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    // Other groups have kinds of the same names.
    ensure!(
        text("/apiVersion") == Some(API_VERSION),
        "{place}: apiVersion must be {API_VERSION:?}"
    );
    let (Some(word), Some(name)) = (text("/kind"), text("/metadata/name")) else {
        bail!("{place}: an object needs kind and metadata.name")
    };
    match find_kind(word).filter(|kind| kind.kind == word) {
        Some(kind) => Ok((kind, name.to_owned())),
        None => bail!("{place}: {word:?} is not a kind of {API_VERSION}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Kind/name` of each object in a file, and the namespaces that it says.
    fn read(text: &str) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("objects.yaml");
        std::fs::write(&file, text)?;
        let files = Files {
            files: vec![file],
            recursive: false,
        };
        let meant = objects_or_files(&[], &files)?;
        let names = meant
            .objects
            .iter()
            .map(|(kind, name)| format!("{}/{name}", kind.kind));
        let namespaces = meant.namespaces.iter().map(|(_, namespace)| namespace.clone());
        Ok((names.collect(), namespaces.collect()))
    }

    const WEB: &str = "{apiVersion: threeport.io/v1alpha1, kind: WorkloadInstance, metadata: {name: web}}";

    #[test]
    fn files_hold_objects_in_every_form_that_can_be_applied() {
        let one = vec!["WorkloadInstance/web".to_owned()];
        let two = [one.clone(), one.clone()].concat();
        for (text, names) in [
            (WEB.to_owned(), &one),
            (format!("[{WEB}, {WEB}]"), &two),
            (
                format!("{{apiVersion: v1, kind: List, items: [{WEB}, {WEB}]}}"),
                &two,
            ),
            (format!("{WEB}\n---\n{WEB}"), &two),
        ] {
            assert_eq!(read(&text).unwrap(), (names.clone(), Vec::new()), "{text}");
        }
        let placed = WEB.replace("name: web", "name: web, namespace: staging");
        assert_eq!(read(&placed).unwrap(), (one, vec!["staging".to_owned()]));
    }

    #[test]
    fn what_is_no_object_of_ours_is_refused_with_its_line() {
        for (from, to, part) in [
            ("threeport.io/v1alpha1", "example.com/v1", "apiVersion must be"),
            ("apiVersion: threeport.io/v1alpha1, ", "", "apiVersion must be"),
            ("kind: WorkloadInstance", "kind: tpwi", "\"tpwi\" is not a kind"),
            ("name: web", "labels: {}", "needs kind and metadata.name"),
            (
                "name: web",
                "name: web, namespace: 7",
                "namespace must be a string",
            ),
        ] {
            let text = format!("# a comment\n{}", WEB.replace(from, to));
            let error = read(&text).unwrap_err().to_string();
            assert!(
                error.contains("objects.yaml:2: ") && error.contains(part),
                "{error}"
            );
        }
        let nothing = read("# nothing\n").unwrap_err().to_string();
        assert_eq!(nothing, "the files hold no object");
    }
}
