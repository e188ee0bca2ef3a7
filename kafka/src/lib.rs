//! The runtime of an event-sourced service on Kafka: event store, transactional outbox and relay, fenced consumers,
//! outside effects, deadlines. It knows no order, stock or payment.
//!
//! `GUIDE.md` beside this crate's manifest is the way in.
//!
//! A service is its schemas, a pure domain crate, a route table and a `main`: see [`service::Service`] and [`run::main`].
#![warn(missing_docs)]

mod breakers;
pub mod bridge;
pub mod cluster;
pub mod codec;
pub mod config;
pub mod consumer;
mod deadlines;
pub mod effects;
pub mod failure;
mod gauges;
pub mod group_commit;
mod hands;
pub mod harm;
pub mod json;
pub mod message;
pub mod ops;
pub mod rebuild;
pub mod registry;
pub mod relay;
pub mod replay;
pub mod retry;
pub mod rights;
pub mod route;
pub mod run;
pub mod seal;
pub mod service;
pub mod setup;
mod spans;
pub mod store;
mod tally;
pub mod topics;
pub mod unit;
pub mod worker;

pub use bridge::Bridge;
pub use cluster::{Cluster, Login};
pub use effects::{EffectRow, Effects};
pub use failure::{Class, Failure};
pub use group_commit::{GroupCommit, Refused};
pub use message::{Cause, MessageId};
pub use replay::{History, Recorded, Replay};
pub use route::{AfterLast, Again, Meta, Routes};
pub use run::{Context, main};
pub use service::{NoEffects, OwnRecord, Service, anyhow_lite, own};
pub use store::{Retry, Units, retry_of};
pub use topics::Partitions;
pub use unit::{Aggregate, Micros, Needs, Unit, Work};

/// The topic of a service's relay position.
#[must_use]
pub fn relay_topic(service: &str) -> String {
    format!("{service}.relay.position")
}
