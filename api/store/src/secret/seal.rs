//! Keys, keyed digests, and AES-256-GCM. Pure but for the nonce, which comes in from outside.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// What secret values are encrypted with: 32 bytes, made once by the bootstrap step. Never printed.
#[derive(Clone)]
pub struct EncryptionKey {
    id: String,
    encryption: Zeroizing<[u8; 32]>,
    digest: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EncryptionKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// An encrypted value, bound to its object and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// In hexadecimal.
    pub(crate) digest: String,
    pub(crate) key_id: String,
    pub(crate) nonce: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
}

impl EncryptionKey {
    /// Reads 32 bytes in base64, white space around it ignored.
    pub fn from_base64(text: &str) -> Result<Self> {
        let wrong = || Error::Options("the encryption key must be 32 bytes in base64".to_owned());
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| wrong())?);
        let key: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| wrong())?;
        let id = hex::encode(Sha256::digest(derive(key, b"threeport.io/key-id").as_slice()));
        Ok(Self {
            id: id[..16].to_owned(),
            encryption: derive(key, b"threeport.io/secret-value"),
            digest: derive(key, b"threeport.io/secret-digest"),
        })
    }

    /// HMAC-SHA256 of a value, in hexadecimal.
    pub(crate) fn digest(&self, value: &[u8]) -> String {
        hex::encode(mac(&self.digest, value).as_slice())
    }

    /// Encrypts a value of an object.
    pub(crate) fn seal(&self, object: Uuid, value: &[u8], nonce: [u8; 12]) -> Result<Sealed> {
        let digest = self.digest(value);
        let data = associated(object, &digest);
        let payload = Payload {
            msg: value,
            aad: &data,
        };
        let ciphertext = self.cipher().encrypt(&nonce.into(), payload);
        let ciphertext =
            ciphertext.map_err(|_| Error::Secret("a value could not be encrypted".to_owned()))?;
        Ok(Sealed {
            digest,
            key_id: self.id.clone(),
            nonce: nonce.to_vec(),
            ciphertext,
        })
    }

    /// Decrypts a value of an object.
    pub(crate) fn open(&self, object: Uuid, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>> {
        if sealed.key_id != self.id {
            let message = format!(
                "a value was encrypted with key {}, here is key {}",
                sealed.key_id, self.id
            );
            return Err(Error::Secret(message));
        }
        let damaged = || Error::Secret(format!("a value of object {object} is damaged"));
        let nonce: [u8; 12] = sealed.nonce.as_slice().try_into().map_err(|_| damaged())?;
        let data = associated(object, &sealed.digest);
        let payload = Payload {
            msg: &sealed.ciphertext,
            aad: &data,
        };
        self.cipher()
            .decrypt(&nonce.into(), payload)
            .map(Zeroizing::new)
            .map_err(|_| damaged())
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new((&*self.encryption).into())
    }
}

/// What a ciphertext is bound to: moved to another object or digest, it can't be read.
fn associated(object: Uuid, digest: &str) -> Vec<u8> {
    let mut data = object.as_bytes().to_vec();
    data.extend_from_slice(digest.as_bytes());
    data
}

/// A key for one purpose.
fn derive(key: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    mac(key, purpose)
}

fn mac(key: &[u8; 32], data: &[u8]) -> Zeroizing<[u8; 32]> {
    // HMAC takes keys of any length, so this can't fail; an all-zero digest would only lose equality of values.
    let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(key) else {
        return Zeroizing::default();
    };
    mac.update(data);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> EncryptionKey {
        EncryptionKey::from_base64(&STANDARD.encode([byte; 32])).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_only_for_its_object_with_its_key() {
        let object = Uuid::from_u128(1);
        let sealed = key(1).seal(object, b"value", [7; 12]).unwrap();
        assert_ne!(sealed.ciphertext, b"value");
        assert_eq!(key(1).open(object, &sealed).unwrap().as_slice(), b"value");
        assert!(key(1).open(Uuid::from_u128(2), &sealed).is_err());
        assert!(key(2).open(object, &sealed).is_err());
        let other_digest = Sealed {
            digest: key(1).digest(b"other"),
            ..sealed
        };
        assert!(key(1).open(object, &other_digest).is_err());
    }

    #[test]
    fn digests_depend_on_the_key_and_keys_are_not_printed() {
        assert_eq!(key(1).digest(b"value"), key(1).digest(b"value"));
        assert_ne!(key(1).digest(b"value"), key(2).digest(b"value"));
        let printed = format!("{:?}", key(1));
        assert!(
            !printed.contains(&hex::encode([1; 32])) && !printed.contains("encryption:"),
            "{printed}"
        );
        assert!(EncryptionKey::from_base64("short").is_err());
    }
}
