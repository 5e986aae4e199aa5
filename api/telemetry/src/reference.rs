//! The list of metrics in `docs/reference/metrics.md`, and how a test of each binary holds it to what that serves. Names are
//! a contract: dashboards and alerts use them.

use std::path::Path;

use anyhow::{Context, bail};
use prometheus_client::registry::Registry;

/// What a registry serves, as a table: name, labels, type, meaning. What has labels is served only once there is a sample, so
/// there must be one of everything.
pub fn table(registry: &Registry) -> anyhow::Result<String> {
    let text = crate::render(registry).context("failed to render the metrics")?;
    let mut rows = Vec::new();
    let mut served = Vec::new();
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
            "| `{name}{suffix}` | {} | {kind} | {} |",
            labels(&text, name),
            help.trim_end_matches('.')
        ));
        served.push(name);
    }
    for name in registered(registry) {
        if !served.iter().any(|served| served.ends_with(&name)) {
            bail!("there is no sample of {name}, so that nobody sees that it is served");
        }
    }
    rows.sort();
    Ok(format!(
        "| metric | labels | type | meaning |\n| --- | --- | --- | --- |\n{}\n",
        rows.join("\n")
    ))
}

/// The names of the labels of the first sample of a metric.
fn labels(text: &str, name: &str) -> String {
    let sample = text.lines().find(|line| line.starts_with(name));
    let inner = sample.and_then(|line| Some(line.split_once('{')?.1.rsplit_once('}')?.0));
    let pairs = inner.unwrap_or_default().split(',');
    let names = pairs.filter_map(|pair| Some(pair.split_once("=\"")?.0));
    // Buckets are part of every histogram.
    let names: Vec<String> = names
        .filter(|name| *name != "le")
        .map(|name| format!("`{name}`"))
        .collect();
    names.join(", ")
}

/// The names of all metrics of a registry, without its prefix. It tells them to nobody but who debugs it.
fn registered(registry: &Registry) -> Vec<String> {
    let debugged = format!("{registry:?}");
    let descriptors = debugged.split("Descriptor { name: \"").skip(1);
    descriptors
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .collect()
}

/// The page with the table of `registry` in its section `heading`.
fn written(page: &str, heading: &str, registry: &Registry) -> anyhow::Result<String> {
    let title = format!("## {heading}\n");
    let (before, rest) = page
        .split_once(&title)
        .with_context(|| format!("there is no section {heading:?}"))?;
    let (section, after) = match rest.find("\n## ") {
        Some(end) => rest.split_at(end + 1),
        None => (rest, ""),
    };
    // What a person wrote stands between the heading and the table.
    let text = section.split("| metric |").next().unwrap_or_default();
    let mut written = format!("{before}{title}{text}{}", table(registry)?);
    if !after.is_empty() {
        written.push('\n');
    }
    written.push_str(after);
    Ok(written)
}

/// Fails where the section `heading` of the page at `path` has another table than `registry` makes; with `UPDATE_REFERENCE`
/// set it is written instead.
pub fn check(path: &Path, heading: &str, registry: &Registry) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let wanted = written(&page, heading, registry).with_context(|| format!("in {}", path.display()))?;
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

    use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};

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
        let labelled = Family::<[(&str, &str); 2], Gauge>::default();
        registry.register("d", "Labelled", labelled.clone());
        assert!(table(&registry).is_err(), "there is no sample of one");
        labelled.get_or_create(&[("kind", "{a}"), ("way", "b")]).set(1);
        let table = table(&registry).unwrap();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `a` |  | gauge | Some |",
                "| `b_total` |  | counter | Others |",
                "| `c_seconds` |  | histogram | Time |",
                "| `d` | `kind`, `way` | gauge | Labelled |",
            ]
        );
        let page = format!("# x\n\n## one\n\nWords.\n\n{table}\n## two\n\n| metric | of another |\n");
        assert_eq!(written(&page, "one", &registry).unwrap(), page);
        let drifted = page.replace("| `a` |  | gauge", "| `a` |  | counter");
        assert_ne!(drifted, page);
        assert_eq!(written(&drifted, "one", &registry).unwrap(), page);
        assert!(written(&page, "three", &registry).is_err());
    }
}
