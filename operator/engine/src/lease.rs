//! A lease: what a run must look at before each write. It ends when the claim is lost or its deadline is near.
//!
//! The deadline is counted from when the claim was *asked for*, on the monotonic clock, so it is never later than the
//! database's. A process that was paused past it finds it passed before its next write; what it wrote just before is
//! fenced by the epoch in the store and by uid and resourceVersion in the target. A call may take longer than the lease
//! lasts, so it is not waited for any longer than that: [`Lease::guard`].

use std::{
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long before the deadline a run stops: a write that has begun needs time to end.
pub const MARGIN: Duration = Duration::from_secs(2);

/// The claim is lost or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claim was lost or is about to end")]
pub struct LeaseLost;

/// See the module.
#[derive(Debug)]
pub struct Lease {
    deadline: Mutex<Instant>,
    lost: CancellationToken,
}

impl Lease {
    /// A lease that lasts until `deadline` unless it is extended.
    pub fn until(deadline: Instant) -> Self {
        Self {
            deadline: Mutex::new(deadline),
            lost: CancellationToken::new(),
        }
    }

    /// Must be asked before each write.
    pub fn check(&self) -> Result<(), LeaseLost> {
        if self.lost.is_cancelled() || Instant::now() + MARGIN >= self.deadline() {
            Err(LeaseLost)
        } else {
            Ok(())
        }
    }

    /// A call that writes: not begun once the claim is about to end, and given up when it ends. That it was given up says
    /// nothing about what it did.
    pub async fn guard<T>(&self, call: impl Future<Output = T>) -> Result<T, LeaseLost> {
        self.check()?;
        let mut call = pin!(call);
        loop {
            let deadline = self.deadline();
            if let Ok(answer) = timeout_at(deadline, &mut call).await {
                return Ok(answer);
            }
            // Unless it was renewed meanwhile.
            if self.deadline() <= deadline {
                return Err(LeaseLost);
            }
        }
    }

    /// When it ends.
    pub fn deadline(&self) -> Instant {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was renewed.
    pub fn extend(&self, deadline: Instant) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    /// Somebody else has the claim, or the process ends.
    pub fn lose(&self) {
        self.lost.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_before_its_deadline_and_when_it_is_lost() {
        let lease = Lease::until(Instant::now() + Duration::from_secs(10));
        assert_eq!(lease.check(), Ok(()));
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(lease.check(), Err(LeaseLost));
        lease.extend(Instant::now() + Duration::from_secs(10));
        assert_eq!(lease.check(), Ok(()));
        lease.lose();
        assert_eq!(lease.check(), Err(LeaseLost));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_given_up_when_the_lease_ends_and_not_before() {
        let seconds = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let lease = Lease::until(Instant::now() + Duration::from_secs(10));
        assert_eq!(lease.guard(seconds(9)).await, Ok(()));
        let late = Lease::until(Instant::now() + Duration::from_secs(1));
        assert_eq!(late.guard(async {}).await, Err(LeaseLost), "not begun");
        let started = Instant::now();
        let short = Lease::until(started + Duration::from_secs(3));
        assert_eq!(short.guard(seconds(60)).await, Err(LeaseLost));
        assert_eq!(started.elapsed(), Duration::from_secs(3));
        let renewed = Lease::until(Instant::now() + Duration::from_secs(3));
        let renewal = async {
            seconds(2).await;
            renewed.extend(Instant::now() + Duration::from_secs(10));
        };
        let (answer, ()) = tokio::join!(renewed.guard(seconds(6)), renewal);
        assert_eq!(answer, Ok(()));
    }
}
