//! order-service: places orders, runs their sagas, answers about them.
//!
//! | module | what |
//! |---|---|
//! | [`routes`] | the table: every message it reads, and what becomes of it |
//! | `handlers` | one file a message |
//! | [`steer`] | one input of an order's saga, written into a unit of work |
//! | [`place`], [`cancel`] | what customers ask for |
//! | [`open_orders`], [`sweep`] | how many orders a customer may hold; how long keys are kept |
//! | [`follow`] | waiting for an order to move |
//! | [`http`] | the HTTP face |
//! | [`store`] | all SQL |
//! | [`vault`] | keys of customers' personal data, and their destruction |
//! | [`wire`] | domain ↔ records |
//! | [`service`] | what the runtime is given |
//!
//! Rules live in crate `order-domain`.

pub mod cancel;
pub mod follow;
mod gauges;
mod handlers;
pub mod http;
pub mod open_orders;
mod operate;
pub mod place;
pub mod routes;
pub mod service;
pub mod steer;
pub mod store;
pub mod sweep;
pub mod vault;
pub mod wire;

pub use service::Orders;

/// The documented defaults of the service's own keys.
pub const DEFAULTS: &str = include_str!("../config.default.toml");
