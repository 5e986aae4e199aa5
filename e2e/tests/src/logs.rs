//! What the pods of a control plane log.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::kubectl;

/// What is in each line of an error (`threeport-telemetry` writes JSON where no terminal reads).
pub const ERROR: &str = r#""level":"ERROR""#;
/// The same of what is only told.
pub const INFO: &str = r#""level":"INFO""#;
/// What is in each line of a run of a controller, where its log tells of all of them.
pub const RUN_ENDED: &str = r#""message":"run ended""#;

/// The lines that hold `text` of all containers of a control plane's pods since then, each with its pod in front.
pub async fn lines_with(namespace: &str, since: Timestamp, text: &str) -> Result<Vec<String>> {
    let printed = kubectl(
        &format!(
            "-n {namespace} logs --selector=app.kubernetes.io/name=threeport --all-containers --prefix --tail=-1 \
             --max-log-requests=50 --since-time={since}"
        ),
        None,
    )
    .await?
    .success()?
    .stdout;
    Ok(printed
        .lines()
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect())
}

/// What a line says, by its fields.
pub fn fields(line: &str) -> Result<Value> {
    let start = line.find('{').unwrap_or_default();
    serde_json::from_str(&line[start..]).with_context(|| format!("{line:?} is no line of ours"))
}
