//! The admin token: one secret in a file, made by bootstrap, for people who break the glass.

use std::{
    path::PathBuf,
    sync::{PoisonError, RwLock},
};

use anyhow::Context;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The fewest characters of a token; bootstrap makes 43.
const MIN_LENGTH: usize = 20;

/// The digest of the token; the token itself is not kept.
pub struct AdminToken {
    file: PathBuf,
    digest: RwLock<[u8; 32]>,
}

impl AdminToken {
    /// Reads `file`. Fails where it holds no token worth the name.
    pub fn from_file(file: PathBuf) -> anyhow::Result<Self> {
        let digest = RwLock::new(digest_of(&file)?);
        Ok(Self { file, digest })
    }

    /// Reads the file again; on a failure the old token stays valid.
    pub fn reload(&self) -> anyhow::Result<()> {
        let digest = digest_of(&self.file)?;
        *self.digest.write().unwrap_or_else(PoisonError::into_inner) = digest;
        Ok(())
    }

    /// The file.
    pub fn file(&self) -> &std::path::Path {
        &self.file
    }

    /// Whether `token` is it, in a time that does not depend on where they differ.
    pub fn matches(&self, token: &str) -> bool {
        let digest = self.digest.read().unwrap_or_else(PoisonError::into_inner);
        Sha256::digest(token.as_bytes()).ct_eq(digest.as_slice()).into()
    }
}

fn digest_of(file: &std::path::Path) -> anyhow::Result<[u8; 32]> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("failed to read the admin token {}", file.display()))?;
    let token = text.trim();
    if token.len() < MIN_LENGTH {
        anyhow::bail!(
            "the admin token in {} is shorter than {MIN_LENGTH} characters",
            file.display()
        );
    }
    Ok(Sha256::digest(token.as_bytes()).into())
}
