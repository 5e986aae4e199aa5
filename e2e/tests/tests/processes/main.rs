//! Stories of API processes on one PostgreSQL, without a cluster: concurrency, sudden death, and a database that fails.
//!
//! They need `THREEPORT_TEST_DATABASES` (as `make test` sets it) and the `threeport-api` program beside this test's own.

#![allow(missing_docs)]

mod api;
mod failure_database;
mod failure_disk;
mod fire_5_controls;
mod fire_5_database;
mod integrity;
mod load;
mod story_7_concurrency;
