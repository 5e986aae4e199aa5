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
    kinds::{ControlPlaneInstance, control_plane_instance::Status},
    protocol::claim::StatusUpdate,
};
use threeport_store::{Error, StatusFence};
use uuid::Uuid;

use crate::{app::App, health::CERTIFICATE_ENDS};

/// How often it looks.
pub const EVERY: Duration = Duration::from_secs(15);
const DEGRADED: &str = "Degraded";

/// Writes the condition where it differs.
pub async fn report(app: &App, authentication_disabled: bool, now: Instant) -> Result<(), Error> {
    let Some(reasons) = app.health.lasting_degraded(now) else {
        return Ok(());
    };
    let (record, version) = app
        .store
        .status_get(ControlPlaneInstance::KIND, &app.control_plane)
        .await?;
    let Ok(mut status) = record.typed_status::<Status>() else {
        return Ok(());
    };
    // Until its controller has said something, there is nothing to add to.
    if status.observed_generation != record.generation() {
        return Ok(());
    }
    let wanted = degraded(reasons, authentication_disabled, record.generation());
    let same = |found: &Condition| {
        let Condition {
            status,
            reason,
            message,
            ..
        } = &wanted;
        (&found.status, &found.reason, &found.message) == (status, reason, message)
    };
    if condition::find(&status.conditions, DEGRADED).is_some_and(same) {
        return Ok(());
    }
    status.conditions = condition::replace(
        &status.conditions,
        &[DEGRADED],
        vec![wanted],
        jiff::Timestamp::now(),
    );
    let update = StatusUpdate {
        observed_generation: status.observed_generation,
        status: serde_json::to_value(&status).unwrap_or(Value::Null),
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

fn degraded(mut reasons: Vec<String>, authentication_disabled: bool, generation: i64) -> Condition {
    if authentication_disabled {
        reasons.push("AUTHENTICATION IS DISABLED: everybody who reaches the API is admin".to_owned());
    }
    let of_certificate = |reason: &String| reason.starts_with(CERTIFICATE_ENDS);
    let (status, reason) = match (reasons.is_empty(), authentication_disabled) {
        (true, _) => (ConditionStatus::False, "AllPartsWork"),
        (false, true) => (ConditionStatus::True, "AuthenticationDisabled"),
        (false, false) if reasons.iter().all(of_certificate) => (ConditionStatus::True, "CertificateEnds"),
        (false, false) => (ConditionStatus::True, "NatsUnavailable"),
    };
    Condition::new(DEGRADED, status, reason, reasons.join("; "), generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_degraded_has_its_reason() {
        let certificate = format!("{CERTIFICATE_ENDS} 2027-01-01T00:00:00Z");
        let nats = "NATS is away".to_owned();
        for (reasons, disabled, expected) in [
            (vec![], false, "AllPartsWork"),
            (vec![certificate.clone()], false, "CertificateEnds"),
            (vec![nats, certificate.clone()], false, "NatsUnavailable"),
            (vec![certificate], true, "AuthenticationDisabled"),
        ] {
            assert_eq!(degraded(reasons, disabled, 1).reason, expected);
        }
    }
}
