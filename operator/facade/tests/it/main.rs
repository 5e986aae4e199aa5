//! The facade against a real API server with etcd. The control plane's API is a small one in memory ([`api`]), so that
//! a test says at which generation the database stands; [`whole`] has the real one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod api;
mod cluster;
mod deletion;
mod generations;
mod intake;
mod mirror;
mod policy;
mod restored;
mod rights;
mod whole;
