//! What the parts say to each other beyond objects: the bodies of the routes that are not plain CRUD, and the
//! notification.
//!
//! Additive changes only: parts of neighbouring versions run side by side during an upgrade, and for as long as one does not
//! get to its end. So nothing here refuses a field that it does not know, in requests neither, and a new field has to be one
//! that the version before may leave out.

pub mod agent;
pub mod apply;
pub mod claim;
pub mod inventory;
pub mod notification;
pub mod readiness;
pub mod source;
pub mod watch;
pub mod whoami;
