//! Temporary folders that later runs remove when the one that made them was killed.
//!
//! Each holds a locked file: the kernel releases the lock with the process, however that ends. They lie in `/tmp`
//! rather than in TMPDIR since PostgreSQL's user must be able to enter.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::paths::{create_folder, create_own_folder};

const FOLDER: &str = "/tmp/threeport-testbed/scratch";
const LOCK: &str = ".lock";

/// A folder that is removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// A new, empty folder that every user may enter; removes what killed runs left.
    pub fn new(kind: &str) -> Result<Self> {
        create_own_folder(Path::new(FOLDER))?;
        Self::new_in(Path::new(FOLDER), kind)
    }

    fn new_in(parent: &Path, kind: &str) -> Result<Self> {
        create_folder(parent)?;
        // Held while folders are made and judged: one without a locked file is then a leftover.
        let guard = open(&parent.join(LOCK))?;
        guard
            .lock()
            .with_context(|| format!("failed to lock {}", parent.display()))?;
        for entry in fs::read_dir(parent)
            .with_context(|| format!("failed to list {}", parent.display()))?
            .flatten()
        {
            if entry.path().is_dir() && is_abandoned(&entry.path()) {
                // Another user's, perhaps: then it stays.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let folder = tempfile::Builder::new()
            .prefix(&format!("{kind}-"))
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in(parent)
            .with_context(|| format!("failed to create a folder in {}", parent.display()))?;
        let lock = open(&folder.path().join(LOCK))?;
        lock.lock()
            .with_context(|| format!("failed to lock {}", folder.path().display()))?;
        Ok(Self { folder, _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    #[must_use]
    pub fn join(&self, relative: &str) -> PathBuf {
        self.path().join(relative)
    }
}

fn open(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("failed to create {}", path.display()))
}

fn is_abandoned(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(file) => file.try_lock().is_ok(),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_abandoned_folders_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let living = Scratch::new_in(parent.path(), "a").unwrap();
        let abandoned = parent.path().join("a-abandoned");
        fs::create_dir(&abandoned).unwrap();
        File::create(abandoned.join(LOCK)).unwrap();
        let second = Scratch::new_in(parent.path(), "a").unwrap();
        assert!(living.path().exists() && second.path().exists());
        assert!(!abandoned.exists());
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
    }
}
