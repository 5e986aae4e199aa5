//! The password of the testbed's database, and what PostgreSQL keeps of it: made here, so that its iterations are ours to
//! choose. They slow down who guesses a weak password. This one is 24 random bytes, which nobody guesses, and with the
//! thousands that PostgreSQL chooses each new connection of a test, whose programs are not optimized, computed for a third
//! of the test's time.

use std::{fs::File, io::Read};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

const ITERATIONS: u32 = 1;

/// A new password, in hexadecimal.
pub(crate) fn generate() -> Result<String> {
    Ok(hex::encode(random::<24>()?))
}

/// The verifier of a password of letters and digits with a new salt (RFC 5803, 2; its keys: RFC 5802, 3), as
/// `ALTER ROLE ... PASSWORD` takes it.
pub(crate) fn verifier(password: &str) -> Result<String> {
    let salt = random::<16>()?;
    let salted = keyed(
        password.as_bytes(),
        &[&salt[..], &ITERATIONS.to_be_bytes()].concat(),
    )?;
    let stored = Sha256::digest(keyed(&salted, b"Client Key")?);
    let server = keyed(&salted, b"Server Key")?;
    let [salt, stored, server] = [&salt[..], &stored, &server].map(|bytes| BASE64_STANDARD.encode(bytes));
    Ok(format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}"))
}

fn keyed(key: &[u8], message: &[u8]) -> Result<Vec<u8>> {
    let mut hash = Hmac::<Sha256>::new_from_slice(key).context("failed to take a key")?;
    hash.update(message);
    Ok(hash.finalize().into_bytes().to_vec())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("failed to read random bytes")?;
    Ok(bytes)
}
