//! What is hit when nobody dies: it tells in which act a failpoint can be hit at all, and how often.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;
use rand::{Rng, rngs::StdRng};
use threeport_e2e::{
    leftovers,
    plane::{Part, Plane},
};

use crate::{
    cast::{Act, Cast},
    check, controls,
    hits::{self, Hits},
    round::{self, Kill},
};

/// How often an act of 30 instances comes by whatever is hit for each of one way, however seldom something is tried again.
const CERTAIN: u64 = 12;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Baseline {
    /// Until a part is ready.
    start: Hits,
    /// Until the first act.
    idle: Hits,
    /// While an act is played.
    acts: BTreeMap<Act, Hits>,
}

impl Baseline {
    /// Plays every act and lets everybody live.
    pub(crate) async fn observe(plane: &mut Plane, instances: usize) -> Result<Self> {
        let mut baseline = Self::default();
        for part in Part::ALL {
            plane.stop_part(part)?;
            let log = log(plane, part);
            plane.start_part(part, &[("THREEPORT_FAILPOINT_LOG", log.display().to_string())])?;
            plane.wait_part(part)?;
            baseline.start.extend(hits::read(&log)?);
        }
        let cast = Cast {
            prefix: "calm".to_owned(),
            instances,
        };
        check::all_is_mirrored(plane).await?;
        let before = leftovers::everything(&plane.cluster).await?;
        baseline.idle = all(plane)?;
        for act in Act::ALL {
            let known = all(plane)?;
            let took = round::play(plane, &cast, act, &[]).await?;
            println!("{act:?}, and nobody dies: {} ms", took.as_millis());
            baseline.acts.insert(act, hits::since(&known, &all(plane)?));
            if act == Act::Create {
                controls::what_is_planted_is_found(plane).await?;
            }
        }
        check::nothing_is_left(plane, &before).await?;
        Ok(baseline)
    }

    /// The act in which a failpoint is hit, if it is in any: the creates, or else the deletes, or else the edits. What is
    /// hit soon after its part has started is hit in each.
    pub(crate) fn act(&self, failpoint: &str) -> Option<Act> {
        let acts = [Act::Create, Act::Delete, Act::Edit];
        let within = acts.into_iter().find(|act| self.within(*act, failpoint) > 0);
        within.or_else(|| self.idle.contains_key(failpoint).then_some(Act::Create))
    }

    /// A kill somewhere in the first half of the hits that the act usually has, and not so late that they may be fewer.
    pub(crate) fn kill(&self, failpoint: &str, act: Act, random: &mut StdRng) -> Kill {
        let start = self.start.get(failpoint).copied().unwrap_or_default();
        let within = self.within(act, failpoint);
        let nth = if within > 0 {
            start + random.random_range(1..=within.div_ceil(2).min(CERTAIN))
        } else {
            random.random_range(1..=start.max(1))
        };
        Kill {
            failpoint: failpoint.to_owned(),
            nth,
        }
    }

    fn within(&self, act: Act, failpoint: &str) -> u64 {
        self.acts
            .get(&act)
            .and_then(|hits| hits.get(failpoint))
            .copied()
            .unwrap_or_default()
    }
}

fn log(plane: &Plane, part: Part) -> PathBuf {
    plane.path(&format!("{part}.hits"))
}

fn all(plane: &Plane) -> Result<Hits> {
    let mut all = Hits::new();
    for part in Part::ALL {
        all.extend(hits::read(&log(plane, part))?);
    }
    Ok(all)
}
