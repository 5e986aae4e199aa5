//! How the process is, as its background tasks saw it last.
//!
//! A short interruption is no news: what does not work is part of the probes' text at once, but of the control plane's own
//! record only once it has lasted for [`LAPSE`]. A restart of NATS writes nothing.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

/// How long something may not work before the control plane's own record tells.
pub const LAPSE: Duration = Duration::from_secs(15);
/// How a degradation begins that is the serving certificate's.
pub const CERTIFICATE_ENDS: &str = "the serving certificate ends on";

/// Shared by whoever looks and whoever tells.
#[derive(Clone)]
pub struct Health(Arc<RwLock<State>>);

struct State {
    unready: Option<String>,
    /// Nothing, before anybody looked.
    degraded: Option<Vec<Degradation>>,
    /// When the serving certificate ends, where that is soon.
    certificate_ends: Option<jiff::Timestamp>,
}

/// Something that does not work, though the API serves.
struct Degradation {
    reason: String,
    since: Instant,
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(State {
            unready: Some("the database was not asked yet".to_owned()),
            degraded: None,
            certificate_ends: None,
        })))
    }
}

impl Health {
    /// Ready means database and schema.
    pub fn set_ready(&self, ready: Result<(), String>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).unready = ready.err();
    }

    /// Why not, where it is not ready.
    pub fn ready(&self) -> Result<(), String> {
        self.state().unready.clone().map_or(Ok(()), Err)
    }

    /// What is seen not to work at `now`, though the API serves.
    pub fn set_degraded(&self, reasons: Vec<String>, now: Instant) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = state.degraded.take().unwrap_or_default();
        let since = |reason: &String| {
            let known = before.iter().find(|degradation| degradation.reason == *reason);
            known.map_or(now, |degradation| degradation.since)
        };
        let degraded = reasons.into_iter().map(|reason| Degradation {
            since: since(&reason),
            reason,
        });
        state.degraded = Some(degraded.collect());
    }

    /// When the serving certificate ends, where that is soon. It is news at once: no interruption brings it about.
    pub fn set_certificate_ends(&self, ends: Option<jiff::Timestamp>) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        state.certificate_ends = ends;
    }

    /// What does not work, though the API serves.
    pub fn degraded(&self) -> Vec<String> {
        let state = self.state();
        reasons(&state, state.degraded.as_deref().unwrap_or_default())
    }

    /// The same, where it is news: nothing while that is not known yet, or changed less than [`LAPSE`] ago to the worse.
    pub fn lasting_degraded(&self, now: Instant) -> Option<Vec<String>> {
        let state = self.state();
        let degradations = state.degraded.as_deref()?;
        let lasts = |degradation: &Degradation| now.saturating_duration_since(degradation.since) >= LAPSE;
        let all_last = degradations.iter().all(lasts);
        all_last.then(|| reasons(&state, degradations))
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reasons(state: &State, degradations: &[Degradation]) -> Vec<String> {
    let renewal = "nobody can connect after that, and its renewal (the chart's CronJob) does not work";
    let certificate = state
        .certificate_ends
        .map(|ends| format!("{CERTIFICATE_ENDS} {ends}: {renewal}"));
    let seen = degradations.iter().map(|degradation| degradation.reason.clone());
    seen.chain(certificate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_interruption_is_no_news() {
        let (health, start) = (Health::default(), Instant::now());
        assert_eq!(health.lasting_degraded(start), None, "nobody looked yet");
        health.set_degraded(Vec::new(), start);
        assert_eq!(health.lasting_degraded(start), Some(Vec::new()));

        let away = vec!["NATS is away".to_owned()];
        for second in [1, 8, 15] {
            let now = start + Duration::from_secs(second);
            health.set_degraded(away.clone(), now);
            assert_eq!(health.degraded(), away);
            assert_eq!(health.lasting_degraded(now), None, "{second}");
        }
        assert_eq!(
            health.lasting_degraded(start + Duration::from_secs(16)),
            Some(away)
        );

        // What works again is told at once, and what fails once more begins anew.
        let later = start + Duration::from_secs(20);
        health.set_degraded(Vec::new(), later);
        assert_eq!(health.lasting_degraded(later), Some(Vec::new()));
        health.set_degraded(vec!["NATS is away".to_owned()], later);
        assert_eq!(health.lasting_degraded(later), None);
    }
}
