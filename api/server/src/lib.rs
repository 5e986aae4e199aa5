//! The REST API of a control plane: `threeport-api`.
//!
//! A request's way: [`operation`] (id, log, histogram, the form of refusals) -> [`router`] (limits, who asks, may he,
//! query) -> a handler in [`routes`] (parse by [`body`] and [`validate`], ask the store, convert). What was committed
//! goes to controllers by [`notifications`] and to watchers by [`changes`]. [`bootstrap`] makes keys and certificates
//! before any of this runs; [`serve`] puts it together.
//!
//! What not to do: no SQL here (the store's), no HTTP type below the handlers, no route outside the list in
//! [`router::ROUTES`], nothing that waits for NATS within a request.

pub mod app;
pub mod authentication;
pub mod body;
pub mod bootstrap;
pub mod changes;
pub mod configuration;
pub mod connections;
pub mod extract;
pub mod files;
pub mod health;
pub mod limits;
pub mod metrics;
pub mod migrate;
pub mod notifications;
pub mod openapi;
pub mod operation;
pub mod own_record;
pub mod problem;
pub mod router;
pub mod routes;
pub mod serve;
pub mod tasks;
pub mod tls;
pub mod validate;
pub mod writes;
