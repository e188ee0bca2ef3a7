//! The records services exchange, as Avro schemas and Rust types.
//!
//! `avro/<namespace>/<Name>.avsc` is the truth; `src/generated/` is made from it by `cargo xtask schemas` and committed.
//! `compat/<topic>-<full name>/v<n>.avsc` is the history that is frozen for ever, made by `cargo xtask schemas freeze`; every
//! schema must read, and be read by, every frozen version of itself ([`compat`]).
//!
//! ```
//! use schemas::record::Record as _;
//! assert_eq!(schemas::orders::OrderPlaced::FULL_NAME, "orders.OrderPlaced");
//! assert_eq!(schemas::orders::OrderPlaced::TOPIC, schemas::topics::ORDERS_EVENTS);
//! ```
#![deny(missing_docs)]

pub mod compat;
mod generated;
pub mod topics;
mod uuid_text;

pub use generated::{RECORDS, common, inventory, orders, payments};
pub use record;

/// What there is to know of a record type without naming the type: what a registry is told at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Avro full name, `<namespace>.<Name>`.
    pub full_name: &'static str,
    /// The topic it is published to.
    pub topic: &'static str,
    /// The schema as JSON, self-contained.
    pub schema: &'static str,
}

impl Entry {
    const fn of<T: record::Record>() -> Self {
        Self { full_name: T::FULL_NAME, topic: T::TOPIC, schema: T::SCHEMA }
    }

    /// The registry subject: topic and record name (`TopicRecordName` strategy), `<topic>-<full name>`.
    #[must_use]
    pub fn subject(&self) -> String {
        topics::subject(self.topic, self.full_name)
    }
}
