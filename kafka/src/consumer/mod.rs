//! From Kafka to the database: progress rows are the truth, epochs fence, one task handles what has arrived in all
//! partitions in one transaction (steps C0–C5 of docs/guarantees). What fails is parked in the same transaction and tried again by drains.

mod assignment;
mod batch;
mod breaker;
mod catch_up;
pub mod chain;
mod drain;
mod engine;
mod failures;
mod item;
mod known;
mod parking;
mod source;
mod timer;

pub(crate) use breaker::Windows;
pub(crate) use catch_up::CatchUp;
pub use engine::{Config, Health, spawn};
pub(crate) use source::{Fetched, read as fetched};

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}
