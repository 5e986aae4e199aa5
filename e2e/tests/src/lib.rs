//! What stories are told with: the world that the testbed made, its audit log, waits on conditions.
//!
//! Stories run inside the testbed's network namespace, against the control plane that the chart installed there;
//! `e2e/test.sh` starts both and tells where they are by environment variables (see [`world`]). A story that finds no
//! world fails: it is never skipped silently.

pub mod audit;
pub mod destructive;
pub mod form;
pub mod inventory;
pub mod kubectl;
pub mod latency;
pub mod leftovers;
pub mod logs;
pub mod metrics;
pub mod nats;
pub mod plane;
pub mod programs;
pub mod wait;
pub mod workload;
pub mod world;

pub use kubectl::{Output, kubectl};
pub use wait::wait_until;
pub use world::World;
