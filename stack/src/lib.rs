//! The real parts of the system on this machine: Kafka, the schema registry, PostgreSQL and our own services, started natively.
//!
//! [`Stack::builder`] starts what a test, a benchmark or `./run` needs, on ports of its own, each part with its own log and data below one folder.
//! A part counts as started when it has been *used*: a record produced and consumed, a schema registered and read, a row selected, `/readyz` answered.
//! Everything ends with the [`Stack`], after a panic too, and even when the process is killed: a watchdog shell notices and ends what is left.
//!
//! Nothing is installed: the parts come once per user from Maven (`kafka/pom.xml` pins them) into a cache folder.

mod address;
mod archive;
mod builder;
mod control;
mod edge;
mod error;
mod identity;
mod kafka;
mod part;
mod parts;
mod ports;
mod postgres;
mod process;
mod registry;
mod secrets;
mod settings;
mod stack;
mod state;
mod traces;
mod watchdog;

pub use builder::{Builder, Ports, Provider};
pub use edge::is_edge_installed;
pub use error::Error;
pub use identity::{TokenError, how_to_get_a_token};
pub use part::{Part, Service};
pub use parts::fetch_into_cache as fetch;
pub use postgres::Database;
pub use secrets::random_hex;
pub use stack::{Stack, data_of};
pub use state::{PartState, ProcessId, State};
pub use traces::{Span, Traces};
