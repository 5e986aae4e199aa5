//! Stories of processes of this machine, without a cluster with nodes: API processes on one PostgreSQL (concurrency, sudden
//! death, a database that fails), and a whole control plane before a target that fails.
//!
//! They need `THREEPORT_TEST_DATABASES` (as `make test` sets it) and the programs beside this test's own.

#![allow(missing_docs)]

mod api;
mod failure_database;
mod failure_disk;
mod fire_5_controls;
mod fire_5_database;
mod fire_6_target;
mod integrity;
mod load;
mod story_7_concurrency;
mod transport;
