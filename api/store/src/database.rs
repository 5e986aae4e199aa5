//! How the store talks to a database, whatever it says.
//!
//! [`connection`] opens the two pools and knows which of the three databases it is; [`session`] is what the pools of
//! PostgreSQL are full of. [`sql`] is a statement and how it is run. What reads by itself goes through [`reader`], what
//! writes through [`transaction`], which asks [`pace`] for its turn; [`together`] makes one transaction of many requests.
//! [`clock`] is the database's time, [`random`] where ids and jitter come from, [`page`] how much of what was read one
//! answer may hold.
//!
//! It is apart from the tables so that what is hard about databases (collisions, lost connections, ambiguous commits, what
//! only two of the three can do) is solved here once, and a table's module only says what it wants.
//!
//! What not to do: no table here but that of operations, whose row a transaction begins with, since a commit that nobody
//! heard of is found by it. What the three databases do differently is asked of [`connection::Dialect`], here rather than
//! in a table's module.

pub(crate) mod clock;
pub(crate) mod connection;
pub(crate) mod pace;
pub(crate) mod page;
pub(crate) mod random;
pub(crate) mod reader;
pub(crate) mod session;
pub(crate) mod sql;
pub(crate) mod together;
pub(crate) mod transaction;
