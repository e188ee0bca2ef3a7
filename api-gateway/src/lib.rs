//! The public door: it finds out who asks, keeps limits, and forwards to order-service and inventory-service.
//!
//! It holds no data and decides nothing about orders. [`routes::ROUTES`] is the table of what it serves. A request is sent
//! to a service at most once; a problem of the gateway itself is an RFC 9457 document like those of the services.

mod auth;
pub mod config;
mod forward;
mod hygiene;
mod metrics;
mod ops;
mod probe;
mod products;
pub mod routes;
mod server;
pub mod telemetry;
mod upstream;

pub use auth::{Authenticator, HeaderAuthenticator};
pub use config::Config;
pub use server::{Error, Gateway};
