//! The programs of the source tree, built by cargo.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Deserialize;
use threeport_testbed::paths::{cache, create_folder, project};
use threeport_testbed::process::log_tail;
use threeport_testbed::progress;

/// How they are built.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// As it is released: for measurements.
    Release,
    /// Quick enough to run.
    Image,
    /// Quick to build.
    Dev,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Image => "image",
            Self::Dev => "dev",
        }
    }

    /// Its folder in cargo's target folder.
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Image => "image",
            Self::Dev => "debug",
        }
    }

    /// What cargo is told to build. With the testbed's crate dependencies have the features that they have in `make test`,
    /// which builds them anew otherwise.
    fn crates(self) -> impl Iterator<Item = &'static str> {
        let with_tests = (self == Self::Dev).then_some("threeport-testbed");
        CRATES.into_iter().chain(with_tests)
    }

    /// How long building everything takes.
    fn cold(self) -> Duration {
        match self {
            Self::Release => Duration::from_mins(15),
            Self::Image => Duration::from_mins(9),
            Self::Dev => Duration::from_mins(4),
        }
    }

    /// How long building takes after a change that much depends on.
    fn changed(self) -> Duration {
        match self {
            Self::Release => Duration::from_mins(6),
            Self::Image => Duration::from_mins(3),
            Self::Dev => Duration::from_mins(1),
        }
    }
}

/// The crates whose programs a control plane is made of.
const CRATES: [&str; 5] = [
    "threeport-server",
    "threeport-operator",
    "threeport-agent",
    "tptctl",
    "threeport-sample",
];

/// Paths by the program's name.
pub(crate) struct Programs(BTreeMap<String, PathBuf>);

const CARGO_PROGRAMS: [&str; 5] = [
    "threeport-api",
    "threeport-operator",
    "threeport-agent",
    "tptctl",
    "threeport-sample",
];

impl Programs {
    /// The path of a program.
    pub(crate) fn path(&self, name: &str) -> Result<&Path> {
        let path = self
            .0
            .get(name)
            .with_context(|| format!("cargo built no program called {name}"))?;
        Ok(path)
    }
}

/// What cargo says about one artifact, of the messages that it documents under "external tools".
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
}

/// The programs of a folder, or those of the source tree, built where they are not up to date.
pub(crate) fn provide(profile: Profile, folder: Option<&Path>) -> Result<Programs> {
    let Some(folder) = folder else {
        return build(profile);
    };
    let folder = folder
        .canonicalize()
        .with_context(|| format!("failed to find {}", folder.display()))?;
    let found = CARGO_PROGRAMS.map(|name| (name.to_owned(), folder.join(name)));
    for (_, path) in &found {
        ensure!(path.is_file(), "there is no {}", path.display());
    }
    Ok(Programs(BTreeMap::from(found)))
}

fn build(profile: Profile) -> Result<Programs> {
    let name = profile.name();
    let logs = cache()?.join("logs");
    create_folder(&logs)?;
    let what = format!("Build the programs (profile {name})");
    progress::step(&what, build_time(profile, None)?, || {
        run(profile, &logs.join(format!("cargo-{name}.log")))
    })
}

/// How long cargo takes to see that there is nothing to build.
pub(crate) const FRESH: Duration = Duration::from_secs(2);

/// How long building takes, by what is there of earlier builds.
pub(crate) fn build_time(profile: Profile, folder: Option<&Path>) -> Result<Duration> {
    if folder.is_some() {
        return Ok(Duration::ZERO);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project().join("target"), PathBuf::from);
    let built = target.join(profile.folder());
    let sources = [
        "Cargo.lock",
        "Cargo.toml",
        "api",
        "crds",
        "operator",
        "e2e/sample",
    ];
    let sources = sources.map(|name| project().join(name));
    Ok(match freshness(&sources, &built)? {
        Freshness::Fresh => FRESH,
        Freshness::Changed => profile.changed(),
        Freshness::Cold => profile.cold(),
    })
}

/// What there is to build.
#[derive(Debug, PartialEq, Eq)]
enum Freshness {
    /// Nothing: every program is newer than all sources.
    Fresh,
    /// What depends on changed sources.
    Changed,
    /// Everything, dependencies included.
    Cold,
}

fn freshness(sources: &[PathBuf], built: &Path) -> Result<Freshness> {
    if !built.join("deps").exists() {
        return Ok(Freshness::Cold);
    }
    let times = CARGO_PROGRAMS.map(|name| modified(&built.join(name)));
    let oldest = times.into_iter().min().flatten();
    let mut newest = None;
    for source in sources {
        newest = newest.max(newest_below(source)?);
    }
    let is_fresh = oldest.is_some_and(|oldest| newest.is_some_and(|newest| oldest > newest));
    Ok(if is_fresh {
        Freshness::Fresh
    } else {
        Freshness::Changed
    })
}

/// When a file was changed; nothing where there is none.
fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// The last change of a file, or of any file in a folder. Tests are no part of programs.
fn newest_below(path: &Path) -> Result<Option<SystemTime>> {
    if !path.is_dir() {
        return Ok(modified(path));
    }
    let mut newest = None;
    for entry in fs::read_dir(path).with_context(|| format!("failed to list {}", path.display()))? {
        let entry = entry.with_context(|| format!("failed to list {}", path.display()))?;
        if entry.file_name() != "tests" {
            newest = newest.max(newest_below(&entry.path())?);
        }
    }
    Ok(newest)
}

fn run(profile: Profile, log: &Path) -> Result<Programs> {
    let errors = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
    let mut command = Command::new("cargo");
    command
        .current_dir(project())
        .args([
            "build",
            "--locked",
            "--bins",
            "--message-format=json-render-diagnostics",
            "--profile",
            profile.name(),
        ])
        .args(profile.crates().flat_map(|name| ["--package", name]))
        .stdin(Stdio::null())
        .stderr(errors);
    let output = command
        .output()
        .context("failed to run cargo: install Rust, see rust-toolchain.toml")?;
    ensure!(
        output.status.success(),
        "failed to build the programs; the end of {}:\n{}",
        log.display(),
        log_tail(log)
    );
    Ok(Programs(executables(&String::from_utf8_lossy(&output.stdout))))
}

/// The programs that cargo's messages, one JSON object per line, tell of.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(|message| message.executable)
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_to_build_is_seen_by_the_age_of_programs() {
        let folder = tempfile::tempdir().unwrap();
        let (sources, built) = (folder.path().join("api"), folder.path().join("image"));
        let write = |path: &Path, minute: u64| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_mins(minute);
            File::create(path).unwrap().set_modified(time).unwrap();
        };
        let found = || freshness(std::slice::from_ref(&sources), &built).unwrap();
        write(&sources.join("src/lib.rs"), 10);
        assert_eq!(found(), Freshness::Cold);
        fs::create_dir_all(built.join("deps")).unwrap();
        assert_eq!(found(), Freshness::Changed);
        for name in CARGO_PROGRAMS {
            write(&built.join(name), 20);
        }
        assert_eq!(found(), Freshness::Fresh);
        write(&sources.join("tests/it.rs"), 30);
        assert_eq!(found(), Freshness::Fresh);
        write(&sources.join("src/kinds/new.rs"), 30);
        assert_eq!(found(), Freshness::Changed);
    }

    /// Who builds the images without this program builds as much.
    #[test]
    fn the_how_to_has_cargo_build_the_same_crates() {
        let how_to = fs::read_to_string(project().join("docs/how-to/install-with-helm.md")).unwrap();
        let command = format!("cargo build --locked --profile {} --bins", Profile::Image.name());
        let (_, rest) = how_to.split_once(&command).unwrap();
        let words = rest.lines().take(2).flat_map(str::split_whitespace);
        let packages: Vec<&str> = words.filter(|word| !["-p", "\\"].contains(word)).collect();
        assert_eq!(packages, CRATES);
    }

    #[test]
    fn programs_are_found_among_other_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\nnot json\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/x/image/threeport-api\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        let programs = Programs(executables(messages));
        assert_eq!(
            programs.path("threeport-api").unwrap(),
            Path::new("/x/image/threeport-api")
        );
        assert!(programs.path("tptctl").is_err());
    }
}
