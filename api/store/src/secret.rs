//! Values of Kubernetes Secrets never stand in a specification, a revision, a document or an answer.
//!
//! On write, [`redact`] replaces each value in `data` and `stringData` of a Secret by a placeholder, a keyed digest of
//! the value, and [`seal`] encrypts the value for the table `secret_value`. Equal values have equal placeholders, so
//! that an unchanged Secret is an unchanged specification; without the key nobody can guess values from them. Claims
//! carry the values to the controller. A placeholder that comes back (`get -o yaml | apply -f -`) is accepted where that
//! very object has such a value.

pub(crate) mod redact;
pub(crate) mod seal;
pub(crate) mod table;

pub use seal::EncryptionKey;
