//! A real Kubernetes, NATS, PostgreSQL and registry on one Linux machine, from package registries alone.
//!
//! Nothing is simulated but kwok's nodes: components are the upstream programs, built from their Go modules at
//! the versions of `versions.toml`, and Debian's containerd and PostgreSQL. `testbed up` runs a cluster for people;
//! tests use [`Cluster`], [`ControlPlane`], [`Nats`], [`Postgres`] and [`Registry`] from this library, whose
//! processes end with the test. Calls block: from async code use `spawn_blocking`, or a multi-threaded runtime.
//!
//! Needs root, for all but bare control planes, NATS and the registry.

pub mod accounts;
pub mod binaries;
pub mod certificates;
pub mod cgroup;
pub mod cleanup;
pub mod cluster;
pub mod control_plane;
pub mod images;
pub mod install;
pub mod kubectl;
pub mod nats;
pub mod network;
pub mod node;
pub mod paths;
pub mod ports;
pub mod postgres;
pub mod preflight;
pub mod process;
pub mod progress;
pub mod registry;
pub mod scratch;
pub mod selection;
pub mod traces;
pub mod versions;
pub mod wait;

mod addons;
mod kubeconfig;
mod kwok;
mod password;
mod state;

pub use cluster::{Cluster, ClusterOptions};
pub use control_plane::{ControlPlane, ControlPlaneFiles, ControlPlaneOptions, SHARED_CONTROL_PLANE};
pub use nats::{Nats, NatsOptions};
pub use postgres::{Postgres, PostgresOptions};
pub use registry::Registry;
pub use selection::Selection;
