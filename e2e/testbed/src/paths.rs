//! Where things are: the cache that all testbeds share, and the folders of one testbed.
//!
//! A testbed's data lives under its state folder, which the caller chooses. What the kernel or a path length limit
//! ties to the machine (containerd's state and socket, locks) lives under `/run/threeport-testbed/<name>`, so that
//! leftovers are found by name even when the state folder is gone.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;

/// The folder of the components' Go modules.
#[must_use]
pub fn components() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("components")
}

/// The root of the project's source tree.
#[must_use]
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .components()
        .rev()
        .skip(2)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect()
}

/// What is kept between runs: `${XDG_CACHE_HOME:-$HOME/.cache}/threeport`.
pub fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: set one, the testbed caches its binaries there")?;
    Ok(base.join("threeport"))
}

/// The name and the folders of one testbed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Unique on the machine; part of names of network namespaces, cgroups and sockets.
    pub name: String,
    /// Everything that belongs to this testbed and may be large or last.
    pub state: PathBuf,
}

impl Site {
    /// The longest name: interface names end at 15 bytes.
    const NAME_LIMIT: usize = 12;

    /// A testbed called `name` with its data under `state`, which is made absolute.
    pub fn new(name: &str, state: &Path) -> Result<Self> {
        ensure!(
            !name.is_empty()
                && name.len() <= Self::NAME_LIMIT
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
            "invalid testbed name {name:?}: use 1 to {} characters of a-z, 0-9 and -",
            Self::NAME_LIMIT
        );
        let state = std::path::absolute(state)
            .with_context(|| format!("failed to resolve the state folder {}", state.display()))?;
        Ok(Self {
            name: name.to_owned(),
            state,
        })
    }

    /// The machine-wide folder of this name.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        Path::new("/run/threeport-testbed").join(&self.name)
    }

    /// The log folder.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state.join("log")
    }

    /// A path below the state folder.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.state.join(relative)
    }

    /// The name of the kernel's things that belong to this testbed: network namespace, cgroup, nftables table.
    #[must_use]
    pub fn kernel_name(&self) -> String {
        format!("threeport-{}", self.name)
    }
}

/// Creates a folder and its parents, naming it in the error.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("failed to create the folder {}", path.display()))
}

/// The same where every user may create one, in `/tmp`. In another user's folder a file could be a link to anything, which
/// root would then write to: it is refused.
pub fn create_own_folder(path: &Path) -> Result<()> {
    create_folder(path)?;
    for folder in path.ancestors().take_while(|folder| *folder != Path::new("/tmp")) {
        let found = fs::symlink_metadata(folder)
            .with_context(|| format!("failed to look at the folder {}", folder.display()))?;
        let is_ours = [0, geteuid().as_raw()].contains(&found.uid());
        ensure!(
            found.is_dir() && is_ours,
            "{} is another user's, or a link: remove it",
            folder.display()
        );
    }
    Ok(())
}

/// Writes a file by rename, so that a reader or an interruption never meets half of it.
pub fn write_file(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let parent = path
        .parent()
        .with_context(|| format!("{} has no parent folder", path.display()))?;
    create_folder(parent)?;
    let file = tempfile::NamedTempFile::new_in(parent)
        .with_context(|| format!("failed to write in {}", parent.display()))?;
    fs::write(file.path(), content).with_context(|| format!("failed to write {}", path.display()))?;
    file.persist(path)
        .with_context(|| format!("failed to write {}", path.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_could_not_hold_are_refused() {
        for name in ["", "a-name-too-long", "Upper", "under_score", "../x"] {
            assert!(Site::new(name, Path::new("/tmp")).is_err(), "{name:?}");
        }
        assert!(Site::new("main", Path::new("/tmp")).is_ok());
    }

    #[test]
    fn a_folder_that_is_a_link_is_not_taken_for_ours() {
        let folder = tempfile::tempdir().unwrap();
        let [own, link] = ["own", "link"].map(|name| folder.path().join(name));
        create_own_folder(&own.join("locks")).unwrap();
        std::os::unix::fs::symlink(&own, &link).unwrap();
        for within in [link.clone(), link.join("locks")] {
            let refused = create_own_folder(&within).unwrap_err().to_string();
            assert!(refused.starts_with(&link.display().to_string()), "{refused}");
        }
    }

    #[test]
    fn the_project_is_two_folders_up() {
        assert!(project().join("e2e/testbed/versions.toml").exists());
    }
}
