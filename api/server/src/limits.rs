//! What keeps one caller, or all together, from taking everything: a token bucket per actor, a bound on requests and
//! on watches that are served at once. Memory is bounded, too: what is made of a large object while it is read, checked and
//! written takes some times its size, so such objects wait for each other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use threeport_model::problem::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::ApiError;

/// The most actors that are counted one by one; beyond, full buckets are forgotten.
const MAX_ACTORS: usize = 4096;
/// A body of objects that has no more bytes needs no room.
const SMALL: u64 = 1 << 20;
/// How many MiB of larger ones are worked on at once: as many as the largest has.
const ROOM: u32 = 16;

/// All limits of one process.
pub struct Admission {
    rate: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
    requests: Arc<Semaphore>,
    watches: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

struct Bucket {
    left: f64,
    at: Instant,
}

impl Admission {
    /// `rate` requests per second and actor, and so many requests and watches at once.
    pub fn new(rate: u32, requests: usize, watches: usize) -> Self {
        Self {
            rate: f64::from(rate.max(1)),
            buckets: Mutex::default(),
            requests: Arc::new(Semaphore::new(requests)),
            watches: Arc::new(Semaphore::new(watches)),
            bodies: Arc::new(Semaphore::new(ROOM as usize)),
        }
    }

    /// Counts a request of `actor`; 429 where it has had its share.
    pub fn count(&self, actor: &str, now: Instant) -> Result<(), ApiError> {
        let full = self.rate * 2.0;
        let refilled = |bucket: &Bucket| {
            let since = now.saturating_duration_since(bucket.at).as_secs_f64();
            (since.mul_add(self.rate, bucket.left)).min(full)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_ACTORS && !buckets.contains_key(actor) {
            buckets.retain(|_, bucket| refilled(bucket) < full);
            if buckets.len() >= MAX_ACTORS {
                return Err(too_many("too many callers at once"));
            }
        }
        let left = buckets.get(actor).map_or(full, refilled);
        let allowed = left >= 1.0;
        let left = if allowed { left - 1.0 } else { left };
        match buckets.get_mut(actor) {
            Some(bucket) => *bucket = Bucket { left, at: now },
            None => drop(buckets.insert(actor.to_owned(), Bucket { left, at: now })),
        }
        if allowed {
            Ok(())
        } else {
            Err(too_many(&format!(
                "more than {} requests per second of {actor}",
                self.rate
            )))
        }
    }

    /// A place among the requests that are served at once.
    pub fn request(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        place(&self.requests, "requests")
    }

    /// Room for objects in a body of so many bytes, once there is; nothing where they need none.
    pub async fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        if bytes <= SMALL {
            return None;
        }
        let mebibytes = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(ROOM);
        let room = Arc::clone(&self.bodies).acquire_many_owned(mebibytes.min(ROOM));
        // It is never closed, which is what its only error says.
        room.await.ok()
    }

    /// A place among the watches.
    pub fn watch(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        place(&self.watches, "watches")
    }
}

fn place(places: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit, ApiError> {
    let full = |_| {
        ApiError::new(
            Code::Unavailable,
            format!("as many {what} as this server takes are being served"),
        )
    };
    Arc::clone(places).try_acquire_owned().map_err(full)
}

fn too_many(detail: &str) -> ApiError {
    ApiError::new(Code::TooManyRequests, detail)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;
    use crate::body::MAX_APPLY;

    #[test]
    fn one_actor_gets_its_share_and_no_more() {
        let admission = Admission::new(10, 1, 1);
        let start = Instant::now();
        for _ in 0..20 {
            admission.count("a", start).unwrap();
        }
        assert_eq!(
            admission.count("a", start).unwrap_err().code,
            Code::TooManyRequests
        );
        admission.count("b", start).unwrap();
        admission.count("a", start + Duration::from_millis(100)).unwrap();
        assert!(admission.count("a", start + Duration::from_millis(100)).is_err());
    }

    #[test]
    fn actors_that_are_not_heard_of_are_forgotten() {
        let admission = Admission::new(10, 1, 1);
        let start = Instant::now();
        for actor in 0..MAX_ACTORS * 2 {
            admission
                .count(&actor.to_string(), start + Duration::from_secs(actor as u64))
                .unwrap();
        }
        assert!(admission.buckets.lock().unwrap().len() <= MAX_ACTORS);
    }

    #[tokio::test]
    async fn large_bodies_wait_for_each_other_and_small_ones_for_nobody() {
        assert_eq!(ROOM as usize, MAX_APPLY >> 20, "one of the largest is taken");
        let admission = Admission::new(10, 1, 1);
        let room = |bytes: u64| Box::pin(admission.room(bytes));
        assert!(room(SMALL).await.is_none());
        let largest = room(MAX_APPLY as u64).await.unwrap();
        assert!(room(SMALL).now_or_never().unwrap().is_none());
        let mut waits = room(SMALL + 1);
        assert!(waits.as_mut().now_or_never().is_none());
        drop(largest);
        let held = waits.await.unwrap();
        assert_eq!(held.num_permits(), 2);
        let mut whole = room(u64::MAX);
        assert!(
            whole.as_mut().now_or_never().is_none(),
            "it is refused later, by its size"
        );
        drop(held);
        assert_eq!(whole.await.unwrap().num_permits(), ROOM as usize);
    }

    #[test]
    fn a_place_is_given_back() {
        let admission = Admission::new(10, 1, 1);
        let place = admission.request().unwrap();
        assert_eq!(admission.request().unwrap_err().code, Code::Unavailable);
        drop(place);
        assert!(admission.request().is_ok());
    }
}
