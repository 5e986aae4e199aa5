//! How the loop takes claims, keeps them and gives them back.

use std::{sync::Arc, time::Duration};

use threeport_failpoint::around;
use threeport_model::{
    explain,
    protocol::claim::{
        Claim, ClaimRequest, ClaimResponse, DEFAULT_TTL_SECONDS, MAX_CLAIMS, RenewRequest, Trigger,
    },
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Event, Loop, OVER_BUDGET_WAIT, TTL};
use crate::{
    backoff,
    controller::Run,
    held::Parked,
    lease::Lease,
    metrics::Stage,
    queue::{Class, Found},
    run,
    source::SourceError,
    weight, writes,
};

/// How soon a key is tried again that somebody else holds.
const BUSY_WAIT: Duration = Duration::from_millis(400);
const CLAIM_RETRY_CAP: Duration = Duration::from_secs(10);
/// How long no claims are asked for once one was too large to be held beside the others: the next may be as large.
const FULL_WAIT: Duration = Duration::from_millis(250);

impl Loop {
    pub(super) fn claim(&mut self, now: Instant) {
        let room = self.held.room(now).min(MAX_CLAIMS);
        if self.claiming || room == 0 || now < self.claim_not_before {
            return;
        }
        let at = self.intake.milliseconds(now);
        let ready = self.intake.queue().has_ready(at);
        let sweep = self.sweep_wanted && (!ready || !self.swept_last);
        let held = &self.held;
        let wanted = if sweep {
            Vec::new()
        } else {
            self.intake.queue().take(room, at, |key| held.eligible(key, now))
        };
        if wanted.is_empty() && !sweep {
            return;
        }
        self.swept_last = sweep;
        self.claiming = true;
        let request = ClaimRequest {
            holder: self.options.holder.clone(),
            kinds: self.kinds.clone(),
            ids: wanted.iter().map(|(id, _)| *id).collect(),
            limit: u32::try_from(if sweep { room } else { wanted.len() }).unwrap_or(1),
            ttl_seconds: DEFAULT_TTL_SECONDS,
        };
        let source = Arc::clone(&self.source);
        self.tasks.spawn(async move {
            let asked = Instant::now();
            let result = around(writes::CLAIM, source.claim(&request)).await;
            Event::Claimed {
                wanted,
                limit: room,
                asked,
                result,
            }
        });
    }

    pub(super) fn renew(&mut self, now: Instant) {
        for keys in self.held.keys().chunks(MAX_CLAIMS) {
            let keys = keys.to_vec();
            let request = RenewRequest {
                holder: self.options.holder.clone(),
                claims: keys.clone(),
                ttl_seconds: DEFAULT_TTL_SECONDS,
            };
            let source = Arc::clone(&self.source);
            self.tasks.spawn(async move {
                let result = around(writes::RENEW, source.renew(&request)).await;
                Event::Renewed {
                    keys,
                    asked: now,
                    result,
                }
            });
        }
    }

    pub(super) fn claimed(
        &mut self,
        wanted: &[(Uuid, Found)],
        limit: usize,
        asked: Instant,
        result: Result<ClaimResponse, SourceError>,
    ) {
        self.claiming = false;
        let now = Instant::now();
        let domain = self.options.domain;
        self.metrics.stage(domain, Stage::Claim, now - asked);
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                let wait = backoff::after(self.claim_failures, CLAIM_RETRY_CAP, rand::random());
                tracing::warn!(domain, error = %explain(&error), wait = ?wait, "failed to take claims, trying again");
                self.claim_failures += 1;
                self.claim_not_before = now + wait;
                let at = self.intake.milliseconds(now + wait);
                let mut queue = self.intake.queue();
                wanted.iter().for_each(|(id, _)| queue.busy(*id, at));
                return;
            }
        };
        self.claim_failures = 0;
        if wanted.is_empty() && response.claims.len() < limit && response.busy.is_empty() {
            self.sweep_wanted = false;
        }
        let given: Vec<Uuid> = response.claims.iter().map(|claim| claim.object.id()).collect();
        for claim in response.claims {
            let found = match wanted.iter().find(|(id, _)| *id == claim.object.id()) {
                Some((_, found)) => Some(*found),
                None => self
                    .intake
                    .queue()
                    .adopt(claim.object.id(), class_of(claim.trigger)),
            };
            match found {
                Some(found) => self.hold(claim, found, asked),
                None => self.give_back(claim, asked),
            }
        }
        let at = self.intake.milliseconds(now + BUSY_WAIT);
        let mut queue = self.intake.queue();
        for (id, _) in wanted.iter().filter(|(id, _)| !given.contains(id)) {
            if response.busy.contains(id) {
                queue.busy(*id, at);
            } else {
                queue.finish(*id, None);
            }
        }
        drop(queue);
        self.intake.made_room();
    }

    fn hold(&mut self, claim: Claim, found: Found, asked: Instant) {
        let id = claim.object.id();
        let Some(reconciler) = self.reconcilers.get(claim.object.kind.as_str()).map(Arc::clone) else {
            tracing::error!(kind = claim.object.kind, %id, "was given a claim of a kind that was not asked for");
            self.intake.queue().finish(id, None);
            return;
        };
        let waited = Duration::from_millis(u64::try_from(claim.pending_milliseconds).unwrap_or(0));
        self.metrics.stage(reconciler.kind(), Stage::Notify, waited);
        let budget = reconciler.budget(&claim);
        let lease = Arc::new(Lease::until(asked + TTL));
        let weight = weight::of(&claim);
        let run = Run { claim, found, lease };
        let parked = Parked {
            reconciler,
            run,
            weight,
        };
        if !self.held.has_room_for(weight) {
            self.claim_not_before = Instant::now() + FULL_WAIT;
            self.release(parked, OVER_BUDGET_WAIT);
            return;
        }
        if let Err(parked) = self.held.park(budget, parked, Instant::now()) {
            self.release(*parked, OVER_BUDGET_WAIT);
        }
    }

    /// The key is taken already: its run lost its claim and is about to end. It is claimed again then.
    fn give_back(&mut self, claim: Claim, asked: Instant) {
        let (id, class) = (claim.object.id(), class_of(claim.trigger));
        self.intake.queue().offer(id, class, Found::Sweep);
        let lease = Arc::new(Lease::until(asked + TTL));
        let run = Run {
            claim,
            found: Found::Sweep,
            lease,
        };
        let source = Arc::clone(&self.source);
        self.tasks.spawn(async move {
            run::release(source, run, Duration::ZERO).await;
            Event::GivenBack
        });
    }

    pub(super) fn release(&mut self, parked: Parked, after: Duration) {
        let Parked { run, .. } = parked;
        let (id, source) = (run.claim.object.id(), Arc::clone(&self.source));
        self.tasks.spawn(async move {
            run::release(source, run, after).await;
            Event::Released(id)
        });
    }
}

fn class_of(trigger: Trigger) -> Class {
    match trigger {
        Trigger::Change | Trigger::Observation => Class::Fresh,
        Trigger::Retry => Class::Retry,
        Trigger::Verification => Class::Verification,
    }
}
