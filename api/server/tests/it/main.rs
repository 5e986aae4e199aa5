//! The API's tests: the real router on the real store. Files follow the paths of the API.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail them"
)]

mod authorization;
mod bad_input;
mod bootstrap;
mod cluster;
mod connections;
mod harness;
mod health;
mod idempotency;
mod metrics;
mod openapi;
mod problem;
mod process;
mod state_machine;
mod stream;
mod v1alpha1;
mod verification;
mod whoami;
