//! What `-f` names: files, folders, standard input, kustomizations.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use threeport_model::{Code, FieldError, GROUP, yaml};

/// The most that is read, in bytes: what the API takes, and some.
const MOST: usize = 32 << 20;
/// How files are called that a folder is searched for.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// What makes a folder a kustomization.
const KUSTOMIZATION: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A text and where it is from.
#[derive(Clone, Debug)]
pub struct Source {
    /// For messages.
    pub name: String,
    /// As it was written.
    pub text: String,
}

/// Reads what `names` name: a file, a folder (its files, sorted; with `recursive` also its folders'), `-` for
/// standard input. A kustomization is built by `kubectl kustomize` where `kustomize`.
pub fn read(names: &[PathBuf], recursive: bool, kustomize: bool) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for name in names {
        if name.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let limit = MOST as u64 + 1;
            std::io::stdin()
                .take(limit)
                .read_to_end(&mut bytes)
                .context("failed to read standard input")?;
            sources.push(source("standard input".to_owned(), bytes)?);
        } else if kustomize && let Some(folder) = kustomization(name) {
            sources.push(built(&folder)?);
        } else if name.is_dir() {
            let before = sources.len();
            folder(name, recursive, &mut sources)?;
            ensure!(
                sources.len() > before,
                "{} holds no .yaml, .yml or .json file",
                name.display()
            );
        } else {
            sources.push(file(name)?);
        }
    }
    let total: usize = sources.iter().map(|source| source.text.len()).sum();
    ensure!(
        total <= MOST,
        "the files hold {total} bytes together; {MOST} are the most"
    );
    ensure!(!sources.is_empty(), "name a file, a folder or - with -f");
    Ok(sources)
}

/// All sources as one multi-document YAML text, which is also how JSON goes (it is YAML), and where each is in it.
#[derive(Clone, Debug)]
pub struct Joined {
    /// What is sent.
    pub text: String,
    places: Vec<Place>,
    /// Whether something in it is of another API: Kubernetes' own, most likely.
    foreign: bool,
}

/// Where a source is in a joined text.
#[derive(Clone, Debug)]
struct Place {
    name: String,
    /// How many lines stand before it.
    lines_before: u64,
    /// How many objects it holds.
    objects: usize,
}

/// Joins sources. A text that can't be read is refused here, with its own name and line.
pub fn joined(sources: &[Source]) -> anyhow::Result<Joined> {
    let mut text = String::new();
    let mut places = Vec::new();
    let mut foreign = false;
    for source in sources {
        let documents = documents(source)?;
        let mut all = documents.iter().flat_map(|document| objects(&document.value));
        foreign |= all.any(is_foreign);
        if !text.is_empty() {
            text.push_str(separator(&source.text));
        }
        places.push(Place {
            name: source.name.clone(),
            lines_before: text.lines().count() as u64,
            objects: documents
                .iter()
                .map(|document| objects(&document.value).len())
                .sum(),
        });
        match source.text.strip_prefix("---\n") {
            // A line for a line, so that numbers stay what they are in the file.
            Some(rest) if text.is_empty() => text = format!("\n{rest}"),
            Some(rest) => text.extend(["\n", rest]),
            None => text.push_str(&source.text),
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(Joined {
        text,
        places,
        foreign,
    })
}

fn is_foreign(object: &Value) -> bool {
    let version = object.get("apiVersion").and_then(Value::as_str);
    version.is_some_and(|version| version.split('/').next() != Some(GROUP))
}

/// What ends the texts before this one: directives (`%YAML 1.2`) may stand only after the end of a document, never after
/// its start.
fn separator(text: &str) -> &'static str {
    let first = text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    if first.is_some_and(|line| line.starts_with('%')) {
        "...\n"
    } else {
        "---\n"
    }
}

/// The objects that the API sees in a document: those of a list, or itself.
pub fn objects(value: &Value) -> &[Value] {
    let items = match value {
        Value::Array(items) => Some(items),
        Value::Object(map) if map.get("kind").and_then(Value::as_str) == Some("List") => {
            map.get("items").and_then(Value::as_array)
        }
        _ => None,
    };
    items.map_or_else(|| std::slice::from_ref(value), Vec::as_slice)
}

impl Joined {
    /// The API's refusal in words of the files: `web.yaml:12: spec.runtyme` for `objects[3].spec.runtyme` in line 40.
    pub fn explain(&self, error: threeport_client::Error) -> threeport_client::Error {
        match error {
            threeport_client::Error::Refused(mut problem) => {
                problem.errors.iter_mut().for_each(|error| self.place(error));
                if self.foreign && problem.code == Code::Invalid {
                    problem.next = format!(
                        "apply takes objects of Threeport; `{} run NAME -f FILE` makes a workload of Kubernetes \
                         manifests, as they are",
                        crate::name()
                    );
                }
                threeport_client::Error::Refused(problem)
            }
            other => other,
        }
    }

    fn place(&self, error: &mut FieldError) {
        let parsed = error.field.strip_prefix("objects[").and_then(|rest| {
            let (index, field) = rest.split_once(']')?;
            Some((
                index.parse::<usize>().ok()?,
                field.trim_start_matches('.').to_owned(),
            ))
        });
        let Some((mut index, field)) = parsed else { return };
        for place in &self.places {
            if index >= place.objects {
                index -= place.objects;
                continue;
            }
            // A line of an embedded document is one within that, not of the file.
            let embedded = field.contains("yamlDocument");
            let line = error.line.filter(|_| !embedded);
            let line = line.map(|line| format!(":{}", line.saturating_sub(place.lines_before)));
            error.field = format!("{}{}: {field}", place.name, line.unwrap_or_default());
            if !embedded {
                (error.line, error.document) = (None, None);
            }
            return;
        }
    }
}

/// The documents of one source.
pub fn documents(source: &Source) -> anyhow::Result<Vec<yaml::Document>> {
    yaml::documents(&source.text).map_err(|error| {
        let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
        anyhow::anyhow!("{}{line}: {}", source.name, error.message)
    })
}

fn file(path: &Path) -> anyhow::Result<Source> {
    let size = std::fs::metadata(path)
        .with_context(|| format!("failed to read {}", path.display()))?
        .len();
    ensure!(
        size <= MOST as u64,
        "{} has {size} bytes; {MOST} are the most",
        path.display()
    );
    let bytes = std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    source(path.display().to_string(), bytes)
}

fn source(name: String, bytes: Vec<u8>) -> anyhow::Result<Source> {
    let mut text = String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))?;
    // A byte order mark, which may only stand before everything else.
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(Source { name, text })
}

fn folder(path: &Path, recursive: bool, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(path).with_context(|| format!("failed to read {}", path.display()))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("failed to read {}", path.display()))?;
    paths.sort();
    for path in paths {
        // A link is followed as a file, never as a folder: it could lead back.
        let is_folder = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if is_folder {
            if recursive {
                folder(&path, recursive, sources)?;
            }
        } else if path
            .extension()
            .and_then(|it| it.to_str())
            .is_some_and(|it| EXTENSIONS.contains(&it))
        {
            sources.push(file(&path)?);
        }
    }
    Ok(())
}

fn kustomization(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        let found = KUSTOMIZATION.iter().any(|name| path.join(name).is_file());
        return found.then(|| path.to_owned());
    }
    let name = path.file_name()?.to_str()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    KUSTOMIZATION
        .contains(&name)
        .then(|| parent.unwrap_or_else(|| Path::new(".")).to_owned())
}

fn built(folder: &Path) -> anyhow::Result<Source> {
    let name = folder.display().to_string();
    let output = match Command::new("kubectl").arg("kustomize").arg(folder).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "{name} is a kustomization, and `kubectl` is not there to build it; install kubectl, or build it elsewhere \
             and pass the result: kustomize build {name} | tptctl run NAME -f -"
        ),
        Err(error) => return Err(error).context("failed to run kubectl kustomize"),
    };
    let reason = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "kubectl kustomize {name} failed: {}",
        reason.trim()
    );
    source(format!("kubectl kustomize {name}"), output.stdout)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_is_read_in_order_and_its_folders_only_when_asked() {
        let folder = folder_with(&[
            ("b.yaml", "b: 1"),
            ("a.json", "{\"a\": 1}"),
            ("c.txt", "x"),
            ("d/e.yml", "e: 1"),
        ]);
        let names = [folder.path().to_owned()];
        let texts = |recursive| joined(&read(&names, recursive, false).unwrap()).unwrap().text;
        assert_eq!(texts(false), "{\"a\": 1}\n---\nb: 1\n");
        assert_eq!(texts(true), "{\"a\": 1}\n---\nb: 1\n---\ne: 1\n");
    }

    #[test]
    fn errors_of_the_api_are_placed_in_their_files() {
        let source = |name: &str, text: &str| Source {
            name: name.to_owned(),
            text: text.to_owned(),
        };
        let whole = joined(&[
            source("a.yaml", "---\nkind: A\n---\nkind: List\nitems: [{}, {}]"),
            source("b.yaml", "---\n# first\nkind: B\nspec: {}\n---\nkind: C\n"),
        ])
        .unwrap();
        assert_eq!(whole.text.lines().count(), 12, "{}", whole.text);
        for (index, line, expected) in [
            (0, 2, "a.yaml:2: spec.x"),
            (2, 4, "a.yaml:4: spec.x"),
            (3, 9, "b.yaml:3: spec.x"),
            (4, 12, "b.yaml:6: spec.x"),
        ] {
            let documents = yaml::documents(&whole.text).unwrap();
            assert!(
                documents.iter().any(|document| document.line == line),
                "the test is wrong: no document begins in line {line}"
            );
            let mut error = FieldError::new(format!("objects[{index}].spec.x"), "unknown");
            (error.line, error.document) = (Some(line), Some(7));
            whole.place(&mut error);
            assert_eq!((error.field.as_str(), error.line), (expected, None));
        }
        let mut embedded = FieldError::new("objects[3].spec.yamlDocument", "duplicate key");
        embedded.line = Some(5);
        whole.place(&mut embedded);
        assert_eq!(
            (embedded.field.as_str(), embedded.line),
            ("b.yaml: spec.yamlDocument", Some(5))
        );
    }

    #[test]
    fn a_file_may_begin_with_a_byte_order_mark_or_directives_wherever_it_stands() {
        let folder = folder_with(&[
            ("a.yaml", "%YAML 1.2\n---\na: 1\n"),
            ("b.yaml", "\u{feff}b: 1\n"),
            (
                "c.yaml",
                "\u{feff}# a comment\n\n%YAML 1.2\n---\nc: 1\n---\nd: 1\n",
            ),
            ("e.yaml", "e: 100%\n"),
        ]);
        let whole = joined(&read(&[folder.path().to_owned()], false, false).unwrap()).unwrap();
        let documents = yaml::documents(&whole.text).unwrap();
        let read: Vec<_> = documents.iter().map(|document| &document.value).collect();
        let written = [
            json!({"a": 1}),
            json!({"b": 1}),
            json!({"c": 1}),
            json!({"d": 1}),
            json!({"e": "100%"}),
        ];
        assert_eq!(read, written.iter().collect::<Vec<_>>(), "{}", whole.text);
        let places = ["a.yaml:3", "b.yaml:1", "c.yaml:5", "c.yaml:7", "e.yaml:1"];
        for (index, (document, place)) in documents.iter().zip(places).enumerate() {
            let mut error = FieldError::new(format!("objects[{index}].spec.x"), "unknown");
            error.line = Some(document.line);
            whole.place(&mut error);
            let place = format!("{place}: spec.x");
            assert!(error.field.ends_with(&place), "{place}: {}", error.field);
        }
    }

    #[test]
    fn what_can_t_be_read_is_named() {
        let folder = folder_with(&[("bad.yaml", "a: 1\na: 2\n"), ("empty/x.txt", "")]);
        let error = joined(&read(&[folder.path().join("bad.yaml")], false, false).unwrap()).unwrap_err();
        assert!(error.to_string().contains("bad.yaml:2"), "{error}");
        assert!(read(&[folder.path().join("missing.yaml")], false, false).is_err());
        assert!(read(&[folder.path().join("empty")], false, false).is_err());
        assert!(read(&[], false, false).is_err());
    }

    #[test]
    fn a_kustomization_is_known_by_its_file() {
        let folder = folder_with(&[("kustomization.yaml", "resources: []")]);
        assert_eq!(kustomization(folder.path()).as_deref(), Some(folder.path()));
        assert_eq!(
            kustomization(&folder.path().join("kustomization.yaml")).as_deref(),
            Some(folder.path())
        );
        assert_eq!(kustomization(&folder.path().join("other.yaml")), None);
    }
}
