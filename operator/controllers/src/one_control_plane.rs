//! Work of one control plane, and of no other.
//!
//! What controllers apply carries the control plane's id, and only the database says which that is. Behind the same address
//! there may be another one later: its volume was lost, or the API was given another database. What is applied under the
//! former id would be nobody's then, and its agent would see nothing of it. So the API is asked again whenever it failed, and
//! now and then; from another control plane no work is taken.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use threeport_engine::{Source, SourceError};
use threeport_model::protocol::claim::{
    ClaimRequest, ClaimResponse, CompleteRequest, CompleteResponse, RenewRequest, RenewResponse,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// For how long an answer is believed.
const FRESH: Duration = Duration::from_secs(10);

/// A source that says whose work it has.
#[async_trait]
pub trait Identified: Source {
    /// The control plane's id.
    async fn control_plane(&self) -> Result<Uuid, SourceError>;
}

/// See the module.
pub struct OneControlPlane {
    source: Arc<dyn Identified>,
    id: Uuid,
    /// When it was last the same; nothing where the source has failed since.
    known: Mutex<Option<Instant>>,
    changed: CancellationToken,
}

impl OneControlPlane {
    /// Of the control plane that the source just said it has.
    pub fn new(source: Arc<dyn Identified>, id: Uuid) -> Self {
        Self {
            source,
            id,
            known: Mutex::new(Some(Instant::now())),
            changed: CancellationToken::new(),
        }
    }

    /// Returns once it is another one.
    pub async fn changed(&self) {
        self.changed.cancelled().await;
    }

    fn known(&self) -> MutexGuard<'_, Option<Instant>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn check(&self) -> Result<(), SourceError> {
        let known = *self.known();
        if known.is_some_and(|known| known.elapsed() < FRESH) {
            return Ok(());
        }
        let found = self.source.control_plane().await?;
        if found != self.id {
            self.changed.cancel();
            let message = format!("it is of control plane {found} now, not of {}", self.id);
            return Err(SourceError::Permanent(message));
        }
        *self.known() = Some(Instant::now());
        Ok(())
    }

    fn noted<T>(&self, answer: Result<T, SourceError>) -> Result<T, SourceError> {
        if answer.is_err() {
            *self.known() = None;
        }
        answer
    }
}

#[async_trait]
impl Source for OneControlPlane {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimResponse, SourceError> {
        self.check().await?;
        self.noted(self.source.claim(request).await)
    }

    async fn renew(&self, request: &RenewRequest) -> Result<RenewResponse, SourceError> {
        self.noted(self.source.renew(request).await)
    }

    async fn complete(&self, request: &CompleteRequest) -> Result<CompleteResponse, SourceError> {
        self.noted(self.source.complete(request).await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use tokio::time::{sleep, timeout};

    use super::*;

    const OURS: Uuid = Uuid::from_u128(1);

    /// An API that can be away, and come back with another database.
    #[derive(Default)]
    struct Fake {
        away: AtomicBool,
        another: AtomicBool,
        claims: AtomicUsize,
    }

    impl Fake {
        fn answer<T>(&self, answer: T) -> Result<T, SourceError> {
            if self.away.load(Ordering::SeqCst) {
                Err(SourceError::Transient("away".to_owned()))
            } else {
                Ok(answer)
            }
        }
    }

    #[async_trait]
    impl Source for Fake {
        async fn claim(&self, _: &ClaimRequest) -> Result<ClaimResponse, SourceError> {
            self.claims.fetch_add(1, Ordering::SeqCst);
            self.answer(ClaimResponse::default())
        }

        async fn renew(&self, _: &RenewRequest) -> Result<RenewResponse, SourceError> {
            self.answer(RenewResponse::default())
        }

        async fn complete(&self, _: &CompleteRequest) -> Result<CompleteResponse, SourceError> {
            Err(SourceError::Fenced("not asked".to_owned()))
        }
    }

    #[async_trait]
    impl Identified for Fake {
        async fn control_plane(&self) -> Result<Uuid, SourceError> {
            let is_another = self.another.load(Ordering::SeqCst);
            self.answer(if is_another { Uuid::from_u128(2) } else { OURS })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_work_is_taken_from_another_control_plane() {
        let request = ClaimRequest {
            holder: "holder".to_owned(),
            kinds: Vec::new(),
            ids: Vec::new(),
            limit: 1,
            ttl_seconds: 10,
        };
        for (fails, becomes_another) in [(true, true), (false, true), (true, false), (false, false)] {
            let fake = Arc::new(Fake::default());
            let source = OneControlPlane::new(Arc::clone(&fake) as Arc<dyn Identified>, OURS);
            source.claim(&request).await.unwrap();
            if fails {
                fake.away.store(true, Ordering::SeqCst);
                for _ in 0..2 {
                    let answer = source.claim(&request).await;
                    assert!(matches!(answer, Err(SourceError::Transient(_))), "{answer:?}");
                }
                fake.away.store(false, Ordering::SeqCst);
            } else {
                sleep(FRESH).await;
            }
            fake.another.store(becomes_another, Ordering::SeqCst);
            let before = fake.claims.load(Ordering::SeqCst);
            let answer = source.claim(&request).await;
            let taken = fake.claims.load(Ordering::SeqCst) - before;
            let told = timeout(Duration::from_secs(1), source.changed()).await.is_ok();
            if becomes_another {
                assert!(matches!(answer, Err(SourceError::Permanent(_))), "{answer:?}");
            } else {
                assert!(answer.is_ok(), "{answer:?}");
            }
            assert_eq!((taken, told), (usize::from(!becomes_another), becomes_another));
        }
    }
}
