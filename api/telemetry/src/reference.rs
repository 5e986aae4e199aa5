//! The list of metrics in `docs/reference/metrics.md`, and how a test of each binary holds it to what that serves. Names are
//! a contract: dashboards and alerts use them.

use std::path::Path;

use anyhow::{Context, bail};
use prometheus_client::registry::Registry;

/// What a registry serves, as a table: name, type, meaning.
pub fn table(registry: &Registry) -> anyhow::Result<String> {
    let text = crate::render(registry).context("failed to render the metrics")?;
    let mut rows = Vec::new();
    for line in text.lines() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let types = format!("# TYPE {name} ");
        let kind = text.lines().find_map(|line| line.strip_prefix(&types));
        let kind = kind.with_context(|| format!("{name} has no type"))?;
        // A counter's samples are named so.
        let suffix = if kind == "counter" { "_total" } else { "" };
        rows.push(format!(
            "| `{name}{suffix}` | {kind} | {} |",
            help.trim_end_matches('.')
        ));
    }
    rows.sort();
    Ok(format!(
        "| metric | type | meaning |\n| --- | --- | --- |\n{}\n",
        rows.join("\n")
    ))
}

/// Fails where the section `heading` of the page at `path` has another table than `registry` makes; with `UPDATE_REFERENCE`
/// set it is written instead.
pub fn check(path: &Path, heading: &str, registry: &Registry) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let title = format!("## {heading}\n");
    let (before, rest) = page
        .split_once(&title)
        .with_context(|| format!("{} has no section {heading:?}", path.display()))?;
    let (section, after) = match rest.find("\n## ") {
        Some(end) => rest.split_at(end + 1),
        None => (rest, ""),
    };
    // What a person wrote stands between the heading and the table.
    let text = section.split("| metric |").next().unwrap_or_default();
    let mut wanted = format!("{before}{title}{text}{}", table(registry)?);
    if !after.is_empty() {
        wanted.push('\n');
    }
    wanted.push_str(after);
    if wanted == page {
        return Ok(());
    }
    if std::env::var_os("UPDATE_REFERENCE").is_none() {
        bail!(
            "{} differs from what {heading} serves; set UPDATE_REFERENCE=1 to write it",
            path.display()
        );
    }
    std::fs::write(path, wanted).with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};

    use super::*;

    fn docs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
    }

    /// The words of a text that name metrics, as far as they are in code: `threeport_x_seconds{kind}` is one.
    fn named(text: &str) -> BTreeSet<String> {
        let code = text.split('`').skip(1).step_by(2);
        let words = code.filter(|code| code.starts_with("threeport_"));
        words
            .map(|word| {
                let end = word.find(|letter: char| !(letter.is_ascii_lowercase() || letter == '_'));
                word[..end.unwrap_or(word.len())].to_owned()
            })
            .collect()
    }

    fn pages(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(pages(&path));
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
        found
    }

    #[test]
    fn dashboards_find_what_was_promised() {
        let page = named(&fs::read_to_string(docs().join("reference/metrics.md")).unwrap());
        for promised in [
            "threeport_mirror_lag_seconds",
            "threeport_oldest_pending_seconds",
            "threeport_reconcile_total",
            "threeport_relay_lag_seconds",
            "threeport_stage_seconds",
            "threeport_target_unreachable",
            "threeport_transaction_retries_total",
        ] {
            assert!(page.contains(promised), "{promised}: {page:?}");
        }
    }

    #[test]
    fn no_page_names_a_metric_that_nobody_serves() {
        let reference = fs::read_to_string(docs().join("reference/metrics.md")).unwrap();
        let rows = reference.lines().filter(|line| line.starts_with("| `"));
        let served: BTreeSet<String> = rows.flat_map(named).collect();
        assert!(served.len() > 10, "{served:?}");
        for page in pages(&docs()) {
            let unknown: Vec<String> = named(&fs::read_to_string(&page).unwrap())
                .difference(&served)
                .cloned()
                .collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", page.display());
        }
    }

    #[test]
    fn a_page_that_differs_is_found_and_only_its_own_section_is_looked_at() {
        let mut registry = Registry::default();
        registry.register("a", "Some", Gauge::<i64>::default());
        registry.register("b", "Others", Counter::<u64>::default());
        registry.register("c_seconds", "Time", Histogram::new([1.0]));
        let table = table(&registry).unwrap();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `a` | gauge | Some |",
                "| `b_total` | counter | Others |",
                "| `c_seconds` | histogram | Time |"
            ]
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        let page = format!("# x\n\n## one\n\nWords.\n\n{table}\n## two\n\n| metric | of another |\n");
        fs::write(&path, &page).unwrap();
        check(&path, "one", &registry).unwrap();
        fs::write(&path, page.replace("| `a` | gauge", "| `a` | counter")).unwrap();
        assert!(check(&path, "one", &registry).is_err());
        fs::write(&path, page.replace("## one", "## none")).unwrap();
        assert!(check(&path, "one", &registry).is_err());
    }
}
