//! How many transactions write at once: as many as do not collide.
//!
//! Two SERIALIZABLE transactions of PostgreSQL collide where each read a page of an index into which the other inserts,
//! whatever the rows. While tables are small, and the work list always is, that is most pairs: sixteen at once then take
//! longer than one after the other, and some never get through. Once there are thousands of objects it is next to none,
//! and a CockroachDB, which knows no pages and answers slower, wants many. So the number is found as TCP finds a rate: a
//! collision halves it, a while without one adds one ([AIMD](https://www.rfc-editor.org/rfc/rfc5681#section-3.1)).
//!
//! What a person waits for does not stand behind what controllers do: these ask for a turn only while nobody else does,
//! or once they have waited for [`PATIENCE`], so that they go on under any load. In a [`CROWD`] they also wait for the gaps
//! between two requests to end: what they do in them takes the processor from the next, and is as well done after it.
//!
//! What not to do: don't hold a turn over a pause between two tries.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout_at},
};

/// Where it begins.
const FIRST: usize = 4;
/// After so many commits per turn there is one more turn.
const CALM: usize = 16;
/// How many transactions of controllers ask or run at once.
const BEHIND: usize = 6;
/// How long one of controllers stands back at most.
const PATIENCE: Duration = Duration::from_millis(250);
/// So many that asked [within](CROWDED) a while are a crowd. A create that is done alone asks twice: when it comes and for
/// its turn.
const CROWD: usize = 16;
/// For so long a crowd is one.
const CROWDED: Duration = Duration::from_millis(50);

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    turns: Semaphore,
    behind: Arc<Semaphore>,
    /// Nobody asks any more but controllers.
    quiet: Notify,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many turns there are.
    limit: usize,
    /// How many turns that are taken are not to be given again.
    owed: usize,
    /// Commits since the last collision, or since there was one more turn.
    calm: usize,
    /// How many ask that are no controllers.
    asking: usize,
    /// When the last of them began to, [`CROWD`] at most.
    asked: VecDeque<Instant>,
}

impl State {
    /// Until when there is a crowd if nobody else comes.
    fn crowded_until(&self) -> Option<Instant> {
        let first = self.asked.front().filter(|_| self.asked.len() == CROWD)?;
        Some(*first + CROWDED)
    }
}

/// Who waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Somebody waits for it.
    First,
    /// Nobody waits for it but a controller.
    Behind,
}

/// The right to run one try of a transaction.
#[derive(Debug)]
pub(crate) struct Turn {
    pace: Pace,
    _behind: Option<OwnedSemaphorePermit>,
}

impl Pace {
    /// At most so many at once.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        let limit = FIRST.min(most);
        Self(Arc::new(Inner {
            turns: Semaphore::new(limit),
            behind: Arc::new(Semaphore::new(BEHIND)),
            quiet: Notify::new(),
            most,
            state: Mutex::new(State {
                limit,
                owed: 0,
                calm: 0,
                asking: 0,
                asked: VecDeque::with_capacity(CROWD),
            }),
        }))
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self, rank: Rank) -> Turn {
        // Neither semaphore is ever closed, which is what the only error of both says.
        let (asking, permit) = if rank == Rank::Behind {
            let permit = Arc::clone(&self.0.behind).acquire_owned().await.ok();
            self.stand_back().await;
            (None, permit)
        } else {
            (Some(self.asking()), None)
        };
        if let Ok(turn) = self.0.turns.acquire().await {
            turn.forget();
        }
        drop(asking);
        Turn {
            pace: self.clone(),
            _behind: permit,
        }
    }

    /// Says for as long as it is kept that somebody who is no controller wants to write.
    pub(crate) fn asking(&self) -> Asking {
        let mut state = self.state();
        state.asking += 1;
        if state.asked.len() == CROWD {
            state.asked.pop_front();
        }
        state.asked.push_back(Instant::now());
        drop(state);
        Asking(self.clone())
    }

    /// How many want to.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> usize {
        self.state().asking
    }

    async fn stand_back(&self) {
        let mut now = Instant::now();
        let until = now + PATIENCE;
        while now < until {
            let quiet = self.0.quiet.notified();
            let (asking, crowded) = {
                let state = self.state();
                (state.asking, state.crowded_until())
            };
            let crowded = crowded.filter(|end| *end > now);
            match (asking, crowded) {
                (0, None) => return,
                (0, Some(end)) => sleep_until(end.min(until)).await,
                // Either way the loop says what it means.
                _ => drop(timeout_at(until, quiet).await),
            }
            now = Instant::now();
        }
    }

    /// There is one turn more, unless it is owed.
    fn give(&self, state: &mut State) {
        match state.owed {
            0 => self.0.turns.add_permits(1),
            _ => state.owed -= 1,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody asks for a turn, and is not a controller.
pub(crate) struct Asking(Pace);

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.asking -= 1;
        if state.asking == 0 {
            self.0.0.quiet.notify_waiters();
        }
    }
}

impl Turn {
    /// The try met another transaction.
    pub(crate) fn collided(&self) {
        let mut state = self.pace.state();
        let limit = (state.limit / 2).max(1);
        state.owed += state.limit - limit;
        state.limit = limit;
        state.calm = 0;
    }

    /// The try committed.
    pub(crate) fn committed(&self) {
        let mut state = self.pace.state();
        state.calm += 1;
        if state.calm < CALM * state.limit || state.limit == self.pace.0.most {
            return;
        }
        state.calm = 0;
        state.limit += 1;
        self.pace.give(&mut state);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pace.give(&mut self.pace.state());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// As many turns as are given at once.
    fn all(pace: &Pace) -> Vec<Turn> {
        std::iter::from_fn(|| pace.turn(Rank::First).now_or_never()).collect()
    }

    #[test]
    fn a_collision_halves_and_calm_adds() {
        let pace = Pace::new(6);
        let turns = all(&pace);
        assert_eq!(turns.len(), FIRST);
        turns[0].collided();
        drop(turns);
        assert_eq!(all(&pace).len(), 2);
        let turns = all(&pace);
        turns[0].collided();
        turns[1].collided();
        drop(turns);
        assert_eq!(all(&pace).len(), 1, "and one is always left");
        for round in 1..20 {
            let turns = all(&pace);
            for _ in 0..CALM * turns.len() {
                turns[0].committed();
            }
            drop(turns);
            assert_eq!(all(&pace).len(), (round + 1).min(6));
        }
    }

    #[test]
    fn what_is_owed_is_paid_by_calm_too() {
        let pace = Pace::new(4);
        let turns = all(&pace);
        turns[0].collided();
        for _ in 0..CALM * 2 {
            turns[0].committed();
        }
        drop(turns);
        assert_eq!(all(&pace).len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn controllers_stand_back_but_not_for_ever() {
        let pace = Pace::new(4);
        let turns = all(&pace);
        let mut person = Box::pin(pace.turn(Rank::First));
        assert!(person.as_mut().now_or_never().is_none(), "all turns are taken");
        let asked = Instant::now();
        let mut controller = Box::pin(pace.turn(Rank::Behind));
        assert!(controller.as_mut().now_or_never().is_none());
        drop(turns);
        let person = person.await;
        let one = controller.await;
        assert_eq!(asked.elapsed(), Duration::ZERO, "nobody asks any more");
        drop((person, one));

        let turns = all(&pace);
        let mut people: Vec<_> = (0..2).map(|_| Box::pin(pace.turn(Rank::First))).collect();
        for person in &mut people {
            assert!(person.as_mut().now_or_never().is_none());
        }
        let controller = tokio::spawn({
            let pace = pace.clone();
            async move { pace.turn(Rank::Behind).await }
        });
        tokio::time::sleep(PATIENCE).await;
        drop(turns);
        people.pop();
        controller.await.unwrap();
        assert_eq!(asked.elapsed(), PATIENCE, "though somebody still asks");
        drop(people);

        let (asking, begun) = (pace.asking(), Instant::now());
        drop(pace.turn(Rank::Behind).await);
        assert_eq!(begun.elapsed(), PATIENCE, "a turn is free, but somebody asks");
        drop(asking);
        assert_eq!(all(&pace).len(), FIRST, "who gave up asking is not waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn controllers_wait_for_the_end_of_a_crowd() {
        let ask = |pace: &Pace, count: usize| (0..count).for_each(|_| drop(pace.asking()));
        let pace = Pace::new(4);
        let stands_back = async |pace: &Pace| {
            let begun = Instant::now();
            drop(pace.turn(Rank::Behind).await);
            begun.elapsed()
        };
        ask(&pace, CROWD - 1);
        assert_eq!(stands_back(&pace).await, Duration::ZERO, "they are few");
        ask(&pace, 1);
        assert_eq!(stands_back(&pace).await, CROWDED, "nobody else came");

        // A stream of requests with gaps between them.
        let stream = tokio::spawn({
            let pace = pace.clone();
            async move {
                loop {
                    drop(pace.asking());
                    tokio::time::sleep(CROWDED / 20).await;
                }
            }
        });
        tokio::time::sleep(CROWDED).await;
        assert_eq!(stands_back(&pace).await, PATIENCE, "but not for ever");
        stream.abort();
    }
}
