mod agents;
mod apply;
mod claims;
mod objects;
mod operations;
mod sources;
mod watch;
