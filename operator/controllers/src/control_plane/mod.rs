//! ControlPlaneInstance: the record of the control plane itself. Nothing is written to a cluster.

mod components;
mod instance;
mod lapses;

pub use instance::InstanceController;
