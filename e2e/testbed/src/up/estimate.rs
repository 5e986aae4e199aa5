//! How long it will take, summed over what is missing and said before anything is begun. Figures are of two cores.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use threeport_testbed::progress::human;
use threeport_testbed::{binaries, preflight};

use crate::search_path::SearchPath;
use crate::{Selection, UpOptions, images, programs, release, sample};

/// Parts by name; what is there already takes no time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Estimate(Vec<(&'static str, Duration)>);

/// What is left of a control plane's parts where an earlier `up` went through: all are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// `up` on the testbed.
pub(crate) fn of_testbed(options: &UpOptions, is_running: bool) -> Result<Estimate> {
    let mut parts = testbed(is_running)?;
    // Written when everything before the sample was there.
    let was_up = is_running && options.selection.testbed.site()?.path("env").exists();
    parts.extend(control_plane(options, was_up)?);
    Ok(Estimate(parts))
}

/// `up` on the cluster of the current context.
pub(crate) fn of_current(options: &UpOptions, path: &SearchPath) -> Result<Estimate> {
    let tools = ["kubectl", "helm"]
        .into_iter()
        .filter(|name| path.find(name).is_none());
    let tools = binaries::build_time_of(tools.chain(["nats-server"]))?;
    let mut parts = vec![("tools", tools)];
    parts.extend(control_plane(options, false)?);
    Ok(Estimate(parts))
}

/// `dev`.
pub(crate) fn of_dev(selection: &Selection, is_running: bool) -> Result<Estimate> {
    let mut parts = testbed(is_running)?;
    let build = programs::build_time(programs::Profile::Dev, selection.programs.as_deref())?;
    parts.extend([("programs", build), ("processes", Duration::from_secs(15))]);
    Ok(Estimate(parts))
}

fn testbed(is_running: bool) -> Result<Vec<(&'static str, Duration)>> {
    if is_running {
        return Ok(Vec::new());
    }
    Ok(vec![
        ("Debian packages", preflight::installing()),
        ("tools", binaries::missing_build_time()?),
        ("Kubernetes", preflight::START),
    ])
}

fn control_plane(options: &UpOptions, was_up: bool) -> Result<Vec<(&'static str, Duration)>> {
    let folder: Option<&Path> = options.selection.programs.as_deref();
    let build = programs::build_time(options.profile, folder)?;
    let is_unchanged = was_up && build <= programs::FRESH;
    let unless_there = |time| if is_unchanged { LOOK } else { time };
    let mut parts = vec![
        ("programs", build),
        (
            "images",
            if is_unchanged {
                Duration::ZERO
            } else {
                images::LOADING
            },
        ),
        ("control plane", unless_there(release::INSTALL + release::RECORDS)),
    ];
    if !options.no_sample {
        parts.push(("sample", unless_there(sample::DELIVERY)));
    }
    Ok(parts)
}

impl Estimate {
    /// Says it.
    pub(crate) fn say(&self) {
        eprintln!("{}", self.text());
    }

    fn text(&self) -> String {
        let sum = self.0.iter().map(|(_, time)| *time).sum();
        let parts = self.0.iter().filter(|(_, time)| !time.is_zero());
        let parts = parts.map(|(name, time)| format!("{name} {}", human(*time)));
        format!(
            "All of it takes about {}: {}",
            human(sum),
            parts.collect::<Vec<_>>().join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_the_sum_of_what_is_missing() {
        let seconds = Duration::from_secs;
        let estimate = Estimate(vec![
            ("Debian packages", seconds(0)),
            ("tools", seconds(585)),
            ("programs", seconds(540)),
            ("sample", seconds(5)),
        ]);
        assert_eq!(
            estimate.text(),
            "All of it takes about 18 min 50 s: tools 9 min 45 s, programs 9 min, sample 5 s"
        );
    }
}
