//! KubernetesRuntimeInstance: is the cluster reachable, which version, how many nodes, is its agent heard.
//!
//! Looked at every five seconds: a change of `Ready` or of the agent's connection makes the runtime's instances pending.

mod instance;
mod probe;
mod unreachable;

pub use instance::InstanceController;
pub use unreachable::Unreachable;
