//! Which failpoints a process has come by, as it noted itself in the file that its environment named.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};

/// How often each failpoint was hit.
pub(crate) type Hits = BTreeMap<String, u64>;

/// What a file of hits says. One that is not there yet says nothing.
pub(crate) fn read(log: &Path) -> Result<Hits> {
    let mut hits = Hits::new();
    if log.exists() {
        let text = fs::read_to_string(log).with_context(|| format!("failed to read {}", log.display()))?;
        for line in text.lines() {
            *hits.entry(line.to_owned()).or_default() += 1;
        }
    }
    Ok(hits)
}

/// What was hit since `before`.
pub(crate) fn since(before: &Hits, now: &Hits) -> Hits {
    now.iter()
        .map(|(name, count)| (name.clone(), count - before.get(name).unwrap_or(&0)))
        .filter(|(_, count)| *count > 0)
        .collect()
}
