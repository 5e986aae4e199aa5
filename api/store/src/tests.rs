//! Every test of the store runs on every database; see [`harness`].

pub(crate) mod faults;
mod harness;

mod agents;
mod applying;
mod claims;
mod connections;
mod counting;
mod deletion;
mod dependencies;
mod documents;
mod growth;
mod indexes;
mod inventories;
mod lost_answers;
mod migrations;
mod model;
mod notices;
mod objects;
mod operations;
mod retention;
mod room;
mod round_trips;
mod run_out;
mod secrets;
mod set_back;
mod silent_server;
mod sizes;
mod sources;
mod state_machine;
mod systems;
mod together;
mod transactions;
mod unreadable;
mod watches;
