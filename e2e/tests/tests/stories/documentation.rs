//! The shell blocks of README and docs work word for word: each file's `sh` blocks run in order, as one person would
//! type them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use threeport_e2e::{kubectl, kubectl::run, workload};

use crate::{scene::Scene, story_1_apply::sample};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What stands between fences: what the first one says of it, and the text.
pub(crate) fn blocks(markdown: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut current: Option<(&str, String)> = None;
    for line in markdown.lines() {
        match (&mut current, line.strip_prefix("```")) {
            (None, Some(info)) => current = Some((info, String::new())),
            (Some(_), Some(_)) => blocks.extend(current.take()),
            (Some((_, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Whether a block of a file is run. One of a shell's that is not says why (`sh not run: there is no load balancer here`);
/// so plain text, as which one could pass, is only where it is generated: the reference tells of the command line in it.
fn is_run(file: &Path, info: &str) -> Result<bool> {
    match info.strip_prefix("sh not run: ") {
        _ if info == "sh" => Ok(true),
        Some(reason) if !reason.is_empty() => Ok(false),
        _ => {
            let is_reference = file.starts_with(root().join("docs/reference"));
            let is_none =
                ["json", "mermaid", "sql", "yaml"].contains(&info) || (info == "text" && is_reference);
            ensure!(is_none, "a block says of itself {info:?}");
            Ok(false)
        }
    }
}

fn markdown_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(markdown_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What the blocks make, so that one that fails leaves nothing.
fn made() -> Vec<Value> {
    ["greeter", "hello", "shop"]
        .into_iter()
        .flat_map(|name| {
            [
                workload::definition(name, &[]),
                workload::instance(name, name, &json!({})),
            ]
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn documentation_works_word_for_word() -> Result<()> {
    let (sample, objects) = sample()?;
    let scene = Scene::of(&objects)
        .alone()
        .and(&made())
        .and_control_plane("team-b")
        .and_changes_of_the_installation();
    scene
        .play(async |world| {
            let namespace = &world.namespace;
            kubectl(&format!("-n {namespace} apply -f {sample}"), None)
                .await?
                .success()?;
            kubectl(
                &format!("-n {namespace} wait -f {sample} --for=condition=Ready --timeout=90s"),
                None,
            )
            .await?
            .success()?;
            let mut files = vec![root().join("README.md")];
            files.extend(markdown_files(&root().join("docs"))?);
            let mut ran = 0;
            for file in files {
                let text = std::fs::read_to_string(&file)
                    .with_context(|| format!("failed to read {}", file.display()))?;
                for (info, block) in blocks(&text) {
                    if !is_run(&file, info).with_context(|| file.display().to_string())? {
                        continue;
                    }
                    let script = format!("set -euo pipefail\ncd {}\n{block}", root().display());
                    let output = run("bash", &["-c", &script], None).await?;
                    ensure!(
                        output.code == 0,
                        "{}: this block failed:\n{block}\n{}{}",
                        file.display(),
                        output.stdout,
                        output.stderr
                    );
                    ran += 1;
                }
            }
            println!("{ran} blocks ran");
            ensure!(ran >= 30, "only {ran} blocks were found");
            Ok(())
        })
        .await
}
