//! Which request fails how: decided by the seed, the request and how often that very request was made before. So what
//! happens to one request does not hang on how those of several clients interleave, and a seed replays it.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

use super::{Fault, request::Kind};

/// A plan.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    share: f64,
    faults: Vec<Fault>,
    kinds: Vec<Kind>,
    /// The longest that a request is held.
    pub hold: Duration,
    /// The longest that a watch lives that is cut between two events.
    pub watch: Duration,
}

impl Plan {
    /// `share` (0 to 1) of all requests fail, each in any way that it can.
    #[must_use]
    pub fn new(seed: u64, share: f64) -> Self {
        Self {
            seed,
            share: share.clamp(0.0, 1.0),
            faults: Fault::ALL.to_vec(),
            kinds: Kind::ALL.to_vec(),
            hold: Duration::from_secs(10),
            watch: Duration::from_secs(5),
        }
    }

    /// Every request that can fail so does.
    #[must_use]
    pub fn only(seed: u64, fault: Fault) -> Self {
        Self {
            faults: vec![fault],
            ..Self::new(seed, 1.0)
        }
    }

    /// Only requests of these kinds fail. Where writes go through and reads don't, whoever takes what he can't read for
    /// absent destroys it.
    #[must_use]
    pub fn on(self, kinds: &[Kind]) -> Self {
        Self {
            kinds: kinds.to_vec(),
            ..self
        }
    }

    /// What happens to a request that is made for the `occurrence`th time, and the randomness that the details of it are
    /// drawn from.
    pub(super) fn decide(&self, kind: Kind, request: &str, occurrence: u64) -> Option<(Fault, StdRng)> {
        let digest = Sha256::digest(format!("{} {occurrence} {request}", self.seed));
        let mut random = StdRng::from_seed(digest.into());
        if !self.kinds.contains(&kind) || !random.random_bool(self.share) {
            return None;
        }
        let mut possible: Vec<_> = self.faults.clone();
        possible.retain(|fault| fault.applies_to(kind));
        if possible.is_empty() {
            return None;
        }
        let fault = possible[random.random_range(0..possible.len())];
        Some((fault, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions(seed: u64) -> Vec<Option<Fault>> {
        let plan = Plan::new(seed, 0.5);
        (0..200)
            .map(|occurrence| {
                plan.decide(Kind::Write, "PATCH /x", occurrence)
                    .map(|(fault, _)| fault)
            })
            .collect()
    }

    #[test]
    fn a_seed_replays_its_decisions_and_another_makes_others() {
        assert_eq!(decisions(1), decisions(1));
        assert_ne!(decisions(1), decisions(2));
    }

    #[test]
    fn the_share_is_kept_and_every_fault_comes() {
        let all = decisions(7);
        let failed = all.iter().flatten().count();
        assert!((70..130).contains(&failed), "{failed} of 200");
        for fault in Fault::ALL {
            let expected = fault.applies_to(Kind::Write);
            assert_eq!(all.contains(&Some(fault)), expected, "{fault:?}");
        }
    }

    #[test]
    fn what_can_t_fail_so_does_not() {
        let plan = Plan::only(1, Fault::PartialList);
        assert!(plan.decide(Kind::Write, "PATCH /x", 0).is_none());
        assert!(plan.decide(Kind::List, "GET /x", 0).is_some());
        let lists = Plan::new(1, 1.0).on(&[Kind::List]);
        assert!(lists.decide(Kind::Write, "PATCH /x", 0).is_none());
        assert!(lists.decide(Kind::List, "GET /x", 0).is_some());
        assert!(Plan::new(1, 0.0).decide(Kind::Get, "GET /x", 0).is_none());
    }
}
