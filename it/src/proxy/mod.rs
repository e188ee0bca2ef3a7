//! Links that can be made to fail: a proxy in front of Kafka, PostgreSQL, the registry or a service.
//!
//! Each [`Link`] forwards TCP from a port of its own to one target. [`Mode`] makes the whole link bad; on a link that knows
//! Kafka's frames a [`Judge`] decides about single requests, by API key and client. A broker that advertises the link's
//! port (`kafka_behind_proxy`) sends every client back through it.

mod connection;
mod frame;
mod link;
mod pump;

pub use frame::{END_TXN, PRODUCE, Request, deliver, transactional_id};
pub use link::{Link, Listening, Seen};
pub use pump::{Act, Change, Judge};

use std::time::Duration;

/// How a link treats everything on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forwards.
    Pass,
    /// Closes what is open and whatever comes.
    Cut,
    /// The same with a TCP reset, as a process that was killed or a firewall does.
    Reset,
    /// Takes bytes and passes nothing on: both sides believe that the other is there.
    HalfOpen,
    /// Delivers every byte late, in order.
    Slow {
        /// At least.
        by: Duration,
        /// Up to so much more, differently for each piece.
        jitter: Duration,
    },
    /// Passes so many bytes a second in each direction of each connection.
    Bandwidth {
        /// Bytes a second.
        bytes_per_second: u32,
    },
}
