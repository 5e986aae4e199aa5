//! Waits on conditions, never sleeps: a predicate that is asked again until it holds or the time is up.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks until the answer is `Ok(Ok(value))`. What was last in the way (`Ok(Err(text))`) is in the error. A failure
/// (`Err`) is one of asking, and counts as "not yet".
pub async fn wait_until<T, F>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<std::result::Result<T, String>>>,
{
    let begin = Instant::now();
    let mut last = "never asked".to_owned();
    while begin.elapsed() < limit {
        match ask().await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(text)) => last = text,
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("{what}: not within {} s; last: {last}", limit.as_secs_f32())
}
