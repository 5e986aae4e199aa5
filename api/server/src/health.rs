//! How the process is, as its background tasks saw it last.
//!
//! A short interruption is no news: what does not work is part of the probes' text at once, but of the control plane's own
//! record only once it has lasted for [`LAPSE`]. A restart of NATS writes nothing.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use threeport_model::protocol::readiness::{CERTIFICATE_ENDS, Degradation};

/// How long something may not work before the control plane's own record tells.
pub const LAPSE: Duration = Duration::from_secs(15);

/// Shared by whoever looks and whoever tells.
#[derive(Clone)]
pub struct Health(Arc<RwLock<State>>);

struct State {
    unready: Option<String>,
    /// Why this program can't serve the schema that there is.
    unfit: Option<String>,
    /// Nothing, before anybody looked.
    degraded: Option<Vec<Seen>>,
    /// When the serving certificate ends, where that is soon.
    certificate_ends: Option<jiff::Timestamp>,
}

/// What does not work, though the API serves.
struct Seen {
    degradation: Degradation,
    since: Instant,
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(State {
            unready: Some("the database was not asked yet".to_owned()),
            unfit: None,
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

    /// Whether this program can serve the schema that there is.
    pub fn set_fit(&self, fit: Result<(), String>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).unfit = fit.err();
    }

    /// Why not, where it can't: whoever is still connected to it must not go on reading and writing as if it could.
    pub fn fit(&self) -> Result<(), String> {
        self.state().unfit.clone().map_or(Ok(()), Err)
    }

    /// What is seen not to work at `now`, though the API serves.
    pub fn set_degraded(&self, degraded: Vec<Degradation>, now: Instant) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = state.degraded.take().unwrap_or_default();
        let since = |degradation: &Degradation| {
            let known = before.iter().find(|seen| seen.degradation == *degradation);
            known.map_or(now, |seen| seen.since)
        };
        let seen = degraded.into_iter().map(|degradation| Seen {
            since: since(&degradation),
            degradation,
        });
        state.degraded = Some(seen.collect());
    }

    /// When the serving certificate ends, where that is soon. It is news at once: no interruption brings it about.
    pub fn set_certificate_ends(&self, ends: Option<jiff::Timestamp>) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        state.certificate_ends = ends;
    }

    /// What does not work, though the API serves; the most urgent is first.
    pub fn degraded(&self) -> Vec<Degradation> {
        let state = self.state();
        all(&state, state.degraded.as_deref().unwrap_or_default())
    }

    /// The same, where it is news: nothing while that is not known yet, or changed less than [`LAPSE`] ago to the worse.
    pub fn lasting_degraded(&self, now: Instant) -> Option<Vec<Degradation>> {
        let state = self.state();
        let seen = state.degraded.as_deref()?;
        let lasts = |seen: &Seen| now.saturating_duration_since(seen.since) >= LAPSE;
        let all_last = seen.iter().all(lasts);
        all_last.then(|| all(&state, seen))
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn all(state: &State, seen: &[Seen]) -> Vec<Degradation> {
    let renewal = "nobody can connect after that, and its renewal (the chart's CronJob) does not work";
    let certificate = state.certificate_ends.map(|ends| {
        let message = format!("the serving certificate ends on {ends}: {renewal}");
        Degradation::new(CERTIFICATE_ENDS, message)
    });
    let seen = seen.iter().map(|seen| seen.degradation.clone());
    seen.chain(certificate).collect()
}

#[cfg(test)]
mod tests {
    use threeport_model::protocol::readiness::NATS_UNAVAILABLE;

    use super::*;

    #[test]
    fn a_short_interruption_is_no_news() {
        let (health, start) = (Health::default(), Instant::now());
        assert_eq!(health.lasting_degraded(start), None, "nobody looked yet");
        health.set_degraded(Vec::new(), start);
        assert_eq!(health.lasting_degraded(start), Some(Vec::new()));

        let away = vec![Degradation::new(NATS_UNAVAILABLE, "NATS is away")];
        for second in [1, 8, 15] {
            let now = start + Duration::from_secs(second);
            health.set_degraded(away.clone(), now);
            assert_eq!(health.degraded(), away);
            assert_eq!(health.lasting_degraded(now), None, "{second}");
        }
        assert_eq!(
            health.lasting_degraded(start + Duration::from_secs(16)),
            Some(away.clone())
        );

        // What works again is told at once, and what fails once more begins anew.
        let later = start + Duration::from_secs(20);
        health.set_degraded(Vec::new(), later);
        assert_eq!(health.lasting_degraded(later), Some(Vec::new()));
        health.set_degraded(away, later);
        assert_eq!(health.lasting_degraded(later), None);
    }
}
