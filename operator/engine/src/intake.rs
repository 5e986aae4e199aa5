//! Where keys go in, from any task: the queue behind a lock, and who is woken when it changes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use crate::queue::{Class, Found, Offered, Queue};

/// Where signals go in. Clones are the same queue.
#[derive(Clone, Debug)]
pub struct Intake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue<Uuid>>,
    started: Instant,
    wake: Notify,
    room: Notify,
}

impl Intake {
    pub(crate) fn new(capacity: usize) -> Self {
        let shared = Shared {
            queue: Mutex::new(Queue::new(capacity)),
            started: Instant::now(),
            wake: Notify::new(),
            room: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Queues a key; waits while the queue is full, which slows the puller and so the stream.
    pub async fn offer(&self, id: Uuid, class: Class, found: Found) {
        loop {
            let room = self.shared.room.notified();
            if self.queue().offer(id, class, found) != Offered::Full {
                self.shared.wake.notify_one();
                return;
            }
            room.await;
        }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue<Uuid>> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.shared.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// The instant that [`Self::milliseconds`] says.
    pub(crate) fn instant(&self, milliseconds: u64) -> Instant {
        self.shared.started + Duration::from_millis(milliseconds)
    }

    /// Ends once a key was offered.
    pub(crate) async fn offered(&self) {
        self.shared.wake.notified().await;
    }

    /// Those who wait for room look again.
    pub(crate) fn made_room(&self) {
        self.shared.room.notify_waiters();
    }
}
