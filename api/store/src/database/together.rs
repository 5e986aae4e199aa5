//! Requests that come at the same time, done in one transaction ("group commit"): its round trips and its sync are most
//! of what a small write costs.
//!
//! Who comes while fewer than [`LEADERS`] transactions are under way leads one at once, so that alone nobody waits for
//! company. All others wait; the next leader takes those who came first with it. A leader whose caller went away takes
//! its transaction along: those who waited for it then hear nothing, and do their request alone. So each request needs an
//! operation's id of its own, which says whether it was done already.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;
use tokio::{
    select,
    sync::{Semaphore, oneshot},
};

/// How many transactions are under way at once.
const LEADERS: usize = 2;
/// The most requests of one.
const MOST: usize = 32;
/// The most bytes of one that has more than one request.
const BYTES: usize = 256 << 10;

/// See the module. `J` is a request, `A` its answer.
pub(crate) struct Together<J, A> {
    waiting: Mutex<VecDeque<Waiting<J, A>>>,
    leaders: Semaphore,
}

struct Waiting<J, A> {
    request: Arc<J>,
    bytes: usize,
    answer: oneshot::Sender<Option<A>>,
}

impl<J, A> Default for Together<J, A> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            leaders: Semaphore::new(LEADERS),
        }
    }
}

impl<J, A> Together<J, A> {
    /// The answer to `request`, which `lead` gives to several at once, in their order. Nothing: do it alone.
    pub(crate) async fn join<'a, L>(&self, request: Arc<J>, bytes: usize, lead: L) -> Option<A>
    where
        L: Fn(Vec<Arc<J>>) -> BoxFuture<'a, Vec<Option<A>>>,
    {
        let (answer, mut answered) = oneshot::channel();
        self.waiting().push_back(Waiting {
            request,
            bytes,
            answer,
        });
        loop {
            let leads = select! {
                biased;
                answer = &mut answered => return answer.ok().flatten(),
                leads = self.leaders.acquire() => leads,
            };
            let (requests, answers): (Vec<_>, Vec<_>) = self
                .take()
                .into_iter()
                .map(|waiting| (waiting.request, waiting.answer))
                .unzip();
            if requests.is_empty() {
                drop(leads);
                return answered.await.ok().flatten();
            }
            for (answer, told) in answers.into_iter().zip(lead(requests).await) {
                // Nobody waits for it any more where the caller went away.
                let _ = answer.send(told);
            }
        }
    }

    /// Those who came first, as many as go together. Not those who went away.
    fn take(&self) -> Vec<Waiting<J, A>> {
        let mut waiting = self.waiting();
        waiting.retain(|one| !one.answer.is_closed());
        let (mut count, mut bytes) = (0, 0);
        for one in waiting.iter().take(MOST) {
            bytes += one.bytes;
            if count > 0 && bytes > BYTES {
                break;
            }
            count += 1;
        }
        waiting.drain(..count).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting<J, A>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    type Numbers = Together<usize, usize>;

    /// What was led, in its order, and what lets each transaction end.
    struct Led {
        requests: Mutex<Vec<Vec<usize>>>,
        end: Semaphore,
    }

    impl Led {
        fn new() -> Self {
            Self {
                requests: Mutex::default(),
                end: Semaphore::new(0),
            }
        }

        fn lead(&self, requests: Vec<Arc<usize>>) -> BoxFuture<'_, Vec<Option<usize>>> {
            async move {
                let numbers: Vec<usize> = requests.iter().map(|number| **number).collect();
                self.requests.lock().unwrap().push(numbers.clone());
                self.end.acquire().await.unwrap().forget();
                numbers.into_iter().map(|number| Some(number * 10)).collect()
            }
            .boxed()
        }

        fn sizes(&self) -> Vec<usize> {
            self.requests.lock().unwrap().iter().map(Vec::len).collect()
        }
    }

    #[tokio::test]
    async fn nobody_waits_alone_and_those_who_wait_go_together() {
        let (together, led) = (Numbers::default(), Led::new());
        let join = |number, bytes| {
            together
                .join(Arc::new(number), bytes, |requests| led.lead(requests))
                .boxed()
        };
        let mut joined: Vec<_> = (0..LEADERS).map(|number| join(number, 1)).collect();
        for one in &mut joined {
            assert!(one.now_or_never().is_none());
        }
        assert_eq!(led.sizes(), [1; LEADERS], "who comes first goes at once");
        let bytes = |number| if number == 7 { BYTES } else { 1 };
        joined.extend((LEADERS..10).map(|number| join(number, bytes(number))));
        for one in &mut joined {
            assert!(one.now_or_never().is_none());
        }
        led.end.add_permits(5);
        let answers = futures::future::join_all(joined).await;
        assert_eq!(
            answers,
            (0..10).map(|number| Some(number * 10)).collect::<Vec<_>>()
        );
        let sizes = led.sizes();
        assert_eq!(sizes[LEADERS..], [7 - LEADERS, 1, 2], "what is large goes alone");
    }

    #[tokio::test]
    async fn who_waited_for_one_that_went_away_goes_alone_and_who_went_away_is_left_out() {
        let (together, led) = (Numbers::default(), Led::new());
        let join = |number| {
            together
                .join(Arc::new(number), 1, |requests| led.lead(requests))
                .boxed()
        };
        let mut first: Vec<_> = (0..LEADERS).map(join).collect();
        let mut others: Vec<_> = (LEADERS..LEADERS + 3).map(join).collect();
        for one in first.iter_mut().chain(&mut others) {
            assert!(one.now_or_never().is_none());
        }
        drop(others.pop());
        first.truncate(LEADERS - 1);
        assert!(others[0].as_mut().now_or_never().is_none(), "it leads now");
        assert_eq!(led.requests.lock().unwrap()[LEADERS], [LEADERS, LEADERS + 1]);
        drop(others.remove(0));
        assert_eq!(others.remove(0).await, None, "its leader went away");
        assert_eq!(together.leaders.available_permits(), 1);
    }
}
