//! Stories of API processes on one PostgreSQL, without a cluster: concurrency and sudden death.
//!
//! They need `THREEPORT_TEST_DATABASES` (as `make test` sets it) and the `threeport-api` program beside this test's own.

#![allow(missing_docs)]

mod api;
mod story_7_concurrency;
