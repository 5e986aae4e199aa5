//! The workload controller against a real kube-apiserver and etcd. The API's side is a store in memory
//! ([`harness::World`]); everything that is applied, refused and removed is the real thing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy.toml allows it in tests, but not in their helpers"
)]

mod apply;
mod conflict;
mod drift;
mod harness;
mod impersonation;
mod kinds;
mod leftover;
mod moved;
mod remove;
mod restart;
mod stale;
mod unreachable;
mod webhook;
