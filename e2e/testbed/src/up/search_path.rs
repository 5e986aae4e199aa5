//! Where this machine's programs are.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The folders in which programs are looked for.
pub(crate) struct SearchPath(OsString);

impl SearchPath {
    /// These folders, written as in PATH.
    pub(crate) fn new(folders: impl Into<OsString>) -> Self {
        Self(folders.into())
    }

    /// Those that this process was given.
    pub(crate) fn of_environment() -> Self {
        Self::new(env::var_os("PATH").unwrap_or_default())
    }

    /// The program of that name, if the machine has it.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        env::split_paths(&self.0)
            .map(|folder| folder.join(name))
            .find(|program| program.is_file())
    }
}
