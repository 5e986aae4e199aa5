//! The part of the Dockerfile language that needs no container: ARG, FROM, COPY and the configuration.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::archive::{Config, Image};
use super::base;
use super::layer::Layer;

pub(super) fn build(text: &str, context: &Path, arguments: &[(String, String)]) -> Result<Image> {
    let given = arguments.iter().cloned().collect::<BTreeMap<_, _>>();
    let mut known = BTreeMap::new();
    let mut image = None;
    let mut layer = Layer::default();
    for (number, line) in instructions(text) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        let rest = if word == "ARG" {
            rest.trim().to_owned()
        } else {
            substitute(rest.trim(), &known)
        };
        let step = || -> Result<()> {
            if word == "ARG" {
                let (name, default) = rest.split_once('=').unwrap_or((&rest, ""));
                known.insert(
                    name.to_owned(),
                    given.get(name).map_or(default, String::as_str).to_owned(),
                );
                return Ok(());
            }
            if word == "FROM" {
                ensure!(image.is_none(), "only one stage is supported");
                image = Some(Image {
                    layers: base::layers(&rest)?,
                    config: Config::default(),
                });
                return Ok(());
            }
            let image = image.as_mut().context("FROM must come first")?;
            configure(word, &rest, &mut image.config, &mut layer, context)
        };
        let mut step = step;
        step().with_context(|| format!("line {number}: {line}"))?;
    }
    let mut image = image.context("no FROM")?;
    image.layers.push(layer.finish()?);
    Ok(image)
}

fn configure(word: &str, rest: &str, config: &mut Config, layer: &mut Layer, context: &Path) -> Result<()> {
    match word {
        "COPY" => {
            let mut paths = rest
                .split_whitespace()
                .filter(|word| !word.starts_with("--"))
                .collect::<Vec<_>>();
            let target = paths.pop().context("COPY needs a source and a target")?;
            ensure!(!paths.is_empty(), "COPY needs a source and a target");
            for source in paths {
                let from = context.join(source);
                let into_folder = target.ends_with('/') && !from.is_dir();
                let name = from.file_name().filter(|_| into_folder).unwrap_or_default();
                layer.copy(&from, &Path::new(target).join(name))?;
            }
        }
        "ENTRYPOINT" => config.entrypoint = exec_form(rest)?,
        "CMD" => config.command = exec_form(rest)?,
        "USER" => rest.clone_into(&mut config.user),
        "WORKDIR" => rest.clone_into(&mut config.working_folder),
        "ENV" | "LABEL" => {
            let values = if word == "ENV" {
                &mut config.environment
            } else {
                &mut config.labels
            };
            for pair in rest.split_whitespace() {
                let (name, value) = pair.split_once('=').context("write NAME=value without spaces")?;
                values.insert(name.to_owned(), value.trim_matches('"').to_owned());
            }
        }
        "EXPOSE" => {}
        other => bail!("{other} is not supported: the testbed builds images without running anything"),
    }
    Ok(())
}

/// The instructions with the number of the line that they begin on; comments are gone, continued lines are joined.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let content = line.strip_suffix('\\').unwrap_or(line).trim_end();
        match found.last_mut().filter(|_| open) {
            Some((_, last)) => {
                last.push(' ');
                last.push_str(content);
            }
            None => found.push((index + 1, content.to_owned())),
        }
        open = line.ends_with('\\');
    }
    found
}

fn substitute(text: &str, arguments: &BTreeMap<String, String>) -> String {
    arguments.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value)
            .replace(&format!("${name}"), value)
    })
}

fn exec_form(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text).context("write the exec form: [\"program\", \"argument\"]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build_text(text: &str) -> Result<Image> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("program"), "x").unwrap();
        build(text, folder.path(), &[("BASE".into(), "scratch".into())])
    }

    #[test]
    fn arguments_override_defaults() {
        let image = build_text(
            "# comment\nARG BASE=gcr.io/x\nFROM ${BASE}\nCOPY --chmod=0755 program /usr/bin/\n\
             ENV A=1 \\\n    B=\"2\"\nUSER 65532:65532\nENTRYPOINT [\"/usr/bin/program\"]\n",
        )
        .unwrap();
        assert_eq!(image.layers.len(), 1);
        assert_eq!(image.config.entrypoint, ["/usr/bin/program"]);
        assert_eq!(image.config.user, "65532:65532");
        assert_eq!(image.config.environment.get("B").map(String::as_str), Some("2"));
        let mut archive = tar::Archive::new(image.layers[0].as_slice());
        let last = archive.entries().unwrap().last().unwrap().unwrap();
        assert_eq!(last.path().unwrap(), Path::new("usr/bin/program"));
    }

    #[test]
    fn what_needs_a_container_is_refused_with_its_line() {
        let error = format!("{:#}", build_text("FROM scratch\nRUN true\n").unwrap_err());
        assert!(error.contains("line 2") && error.contains("RUN"), "{error}");
    }

    #[test]
    fn an_unknown_base_is_named() {
        let error = format!("{:#}", build_text("FROM debian:12\n").unwrap_err());
        assert!(error.contains("debian:12"), "{error}");
    }
}
