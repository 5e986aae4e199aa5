//! The engine against a source in memory, and its signals against a real nats-server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy.toml allows it in tests, but not in their helpers"
)]

mod runs;
mod signals;
mod world;
