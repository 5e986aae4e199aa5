//! Workloads: what a definition holds is made, kept and removed in the cluster that an instance names.
//!
//! The way of one run, a file per step: [`load`] (claimed world, discovery, and of the cluster only what was seen to
//! differ) -> [`render`] (the desired objects) -> [`plan`] (what to do with each; pure) -> [`execute`] (intent rows,
//! then applies in [`order`], then removals the other way) -> [`status`] (pure).
//!
//! One rule above all: **what is not ours is not touched**. [`identity`] says what is ours: labels with the control
//! plane's and the instance's id, on an object from its first write; [`removable`] what proves it. Nothing is created over something else, nothing is
//! changed or removed but by the uid that we know, and what can't be read is unknown, never absent.
//!
//! When nothing differs a run makes no call to the cluster at all: what an agent observed ([`observed`]) is compared
//! with the inventory, so a restart of the whole control plane writes nothing.

mod abandon;
mod definition;
mod execute;
mod fighting;
#[cfg(test)]
mod fixture;
mod identity;
mod instance;
mod job;
mod latency;
mod load;
mod observed;
mod obstacle;
mod order;
mod plan;
mod removable;
mod render;
mod replicas;
mod secrets;
mod status;
mod unrecorded;
mod world;

pub use definition::DefinitionController;
pub use instance::InstanceController;
