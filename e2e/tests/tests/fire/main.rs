//! The spine under fire (issue 4, 1): every part is killed at each of its failpoints, the database is restarted, a
//! replica is paused past its claim. On a control plane of host processes that are built with failpoints.
//!
//! Each test has a short form, which runs always, and a long one, for which `THREEPORT_SOAK=1` is set. What was chosen at
//! random is printed as a seed; `THREEPORT_TEST_SEED` plays it again. `THREEPORT_TEST_FAILPOINTS=controllers.`
//! kills at those failpoints alone whose names begin so, and at all of them.

#![allow(missing_docs)]

mod baseline;
mod cast;
mod check;
mod controls;
mod database;
mod gate;
mod hits;
mod installation;
mod killed;
mod paused;
mod people;
mod rarer;
mod round;
