//! What can't be read, apart: a row that somebody damaged or that a newer version wrote, a secret value without its key.
//!
//! Whoever reads for many notes here what of one of them could not be read, and goes on: it costs that one, and no other.

use std::collections::BTreeMap;

use uuid::Uuid;

/// What can't be read, by the object that it is of: what it is, and why.
pub(crate) type Broken = BTreeMap<Uuid, String>;
