//! The bearer token: a value, or a file that is read again when it changes.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use crate::Error;

/// Why what a file holds is no token. What it holds is not told.
const NO_TOKEN: &str = "it should hold a token and nothing else: one word of visible ASCII characters";

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
        let text = std::fs::read_to_string(&self.path).map_err(failed)?;
        let token = text.trim();
        // No header holds anything else: each request would fail as if the API could not be reached.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, NO_TOKEN)));
        }
        let token: Arc<str> = token.into();
        *cached = Some((changed, token.clone()));
        Ok(token)
    }
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    std::fs::metadata(path)?.modified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_header_holds_is_no_token_and_is_not_told() {
        let path = std::env::temp_dir().join(format!("threeport-client-{}.token", std::process::id()));
        for (text, token) in [
            ("secret\n", Some("secret")),
            ("  sec-ret.1=\r\n", Some("sec-ret.1=")),
            ("", None),
            ("\n", None),
            ("secret\nsecret\n", None),
            ("\u{feff}secret", None),
            ("s\u{e9}cret", None),
        ] {
            std::fs::write(&path, text).unwrap();
            match Token::file(&path).read() {
                Ok(read) => assert_eq!(Some(&*read), token, "{text:?}"),
                Err(error) => {
                    let told = threeport_model::explain(&error);
                    assert_eq!(token, None, "{text:?}: {told}");
                    assert!(told.contains(NO_TOKEN) && !told.contains("cret"), "{told}");
                }
            }
        }
        std::fs::remove_file(&path).unwrap();
    }
}
