//! What this control plane says of itself: the degradations that its API sees, as a condition of its own record.
//!
//! Everything else in that status is its controller's, and this condition is none of the controller's; so this reads it,
//! changes the one condition, and writes it only where that differs and nobody wrote meanwhile. What is news is
//! [`crate::health`]'s.

use std::time::{Duration, Instant};

use serde_json::Value;
use threeport_model::{
    Condition, ConditionStatus, condition,
    kind::Kind,
    kinds::ControlPlaneInstance,
    protocol::{claim::StatusUpdate, readiness::Degradation},
};
use threeport_store::{Error, StatusFence};
use uuid::Uuid;

use crate::app::App;

/// How often it looks.
pub const EVERY: Duration = Duration::from_secs(15);
const DEGRADED: &str = "Degraded";
const NO_AUTHENTICATION: &str = "AUTHENTICATION IS DISABLED: everybody who reaches the API is admin";

/// Writes the condition where it differs.
pub async fn report(app: &App, authentication_disabled: bool, now: Instant) -> Result<(), Error> {
    let Some(degradations) = app.health.lasting_degraded(now) else {
        return Ok(());
    };
    let (record, version) = app
        .store
        .status_get(ControlPlaneInstance::KIND, &app.control_plane)
        .await?;
    let generation = record.generation();
    // Until its controller has said something, there is nothing to add to.
    if record.status.get("observedGeneration").and_then(Value::as_i64) != Some(generation) {
        return Ok(());
    }
    let wanted = degraded(&degradations, authentication_disabled, generation);
    let same = |found: &Condition| {
        let Condition {
            status,
            reason,
            message,
            ..
        } = &wanted;
        (&found.status, &found.reason, &found.message) == (status, reason, message)
    };
    if condition::find(&condition::of_status(&record.status), DEGRADED).is_some_and(same) {
        return Ok(());
    }
    // As JSON, so that what the controller of a later version says beside stays.
    let mut status = record.status;
    condition::say(&mut status, &[DEGRADED], vec![wanted], jiff::Timestamp::now());
    let update = StatusUpdate {
        observed_generation: generation,
        status,
    };
    let fence = StatusFence {
        version: Some(version),
        ..StatusFence::default()
    };
    let notices = app
        .store
        .status_put(ControlPlaneInstance::KIND, &app.control_plane, &update, fence)
        .await?;
    app.notifier.committed(Uuid::new_v4(), notices);
    Ok(())
}

fn degraded(degradations: &[Degradation], authentication_disabled: bool, generation: i64) -> Condition {
    let (status, reason) = match (degradations.first(), authentication_disabled) {
        (_, true) => (ConditionStatus::True, "AuthenticationDisabled"),
        (Some(most_urgent), false) => (ConditionStatus::True, most_urgent.reason.as_str()),
        (None, false) => (ConditionStatus::False, "AllPartsWork"),
    };
    let messages = degradations.iter().map(|one| one.message.as_str());
    let messages: Vec<_> = messages
        .chain(authentication_disabled.then_some(NO_AUTHENTICATION))
        .collect();
    Condition::new(DEGRADED, status, reason, messages.join("; "), generation)
}

#[cfg(test)]
mod tests {
    use threeport_model::protocol::readiness::{CERTIFICATE_ENDS, NATS_UNAVAILABLE};

    use super::*;

    #[test]
    fn what_is_degraded_has_its_reason() {
        let certificate = Degradation::new(CERTIFICATE_ENDS, "it ends");
        let nats = Degradation::new(NATS_UNAVAILABLE, "NATS is away");
        for (degradations, disabled, reason, message) in [
            (vec![], false, "AllPartsWork", ""),
            (vec![certificate.clone()], false, "CertificateEnds", "it ends"),
            (
                vec![nats, certificate.clone()],
                false,
                "NatsUnavailable",
                "NATS is away; it ends",
            ),
            (
                vec![certificate],
                true,
                "AuthenticationDisabled",
                "it ends; AUTHENTICATION IS DISABLED: everybody who reaches the API is admin",
            ),
        ] {
            let condition = degraded(&degradations, disabled, 1);
            assert_eq!(
                (condition.reason.as_str(), condition.message.as_str()),
                (reason, message)
            );
        }
    }
}
