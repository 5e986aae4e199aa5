//! What breaks between two parts, on purpose and on time: proxies for tests.
//!
//! A fault is chosen by a plan that a seed makes, so that a run can be told again, and is counted where it took effect,
//! so that a test can prove that it was there. No product code uses this crate.

pub mod kubernetes;
pub mod postgres;
