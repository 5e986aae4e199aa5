//! The bearer token: a value, or a file that is read again when it changes.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use crate::Error;

/// Who calls. Never printed.
#[derive(Clone)]
pub enum Token {
    /// Held in memory.
    Value(Arc<str>),
    /// In a file that somebody renews.
    File(Arc<File>),
}

/// A token in a file.
pub struct File {
    path: PathBuf,
    cached: Mutex<Option<(SystemTime, Arc<str>)>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => formatter.write_str("Token::Value(..)"),
            Self::File(file) => write!(formatter, "Token::File({})", file.path.display()),
        }
    }
}

impl Token {
    /// A token held in memory.
    pub fn value(token: &str) -> Self {
        Self::Value(token.trim().into())
    }

    /// A token in a file; read at the first request and whenever the file's time of change moves.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(Arc::new(File {
            path: path.into(),
            cached: Mutex::new(None),
        }))
    }

    pub(crate) fn read(&self) -> Result<Arc<str>, Error> {
        match self {
            Self::Value(token) => Ok(token.clone()),
            Self::File(file) => file.read(),
        }
    }
}

impl File {
    fn read(&self) -> Result<Arc<str>, Error> {
        let failed = |source| Error::ReadFile {
            path: self.path.clone(),
            source,
        };
        let changed = modified(&self.path).map_err(failed)?;
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, token)) = cached.as_ref()
            && *at == changed
        {
            return Ok(token.clone());
        }
        let token: Arc<str> = std::fs::read_to_string(&self.path).map_err(failed)?.trim().into();
        *cached = Some((changed, token.clone()));
        Ok(token)
    }
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    std::fs::metadata(path)?.modified()
}
