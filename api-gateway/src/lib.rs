//! The public door: it finds out who asks, keeps limits, and forwards to order-service and inventory-service.
//!
//! It holds no data and decides nothing about orders. [`routes::ROUTES`] is the table of what it serves. A request is sent
//! to a service at most once; a problem of the gateway itself is an RFC 9457 document like those of the services.

pub mod config;
mod console;
mod cors;
mod cut;
mod docs;
mod events;
mod forward;
mod gzip;
mod hygiene;
mod metrics;
pub mod openapi;
mod ops;
mod probe;
mod products;
mod rates;
pub mod routes;
mod server;
pub mod site;
pub mod telemetry;
mod upstream;

pub use config::Config;
pub use server::{Error, Gateway};
