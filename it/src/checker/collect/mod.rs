//! Reading: topics, registry and databases into a [`World`]. The only part of the checker that does IO.

mod sql;
mod topics;
mod values;

use std::path::PathBuf;

use super::world::World;
use crate::httplog;

/// Where the system is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The HTTP log, if one was kept.
    pub http_log: Option<PathBuf>,
    /// `host:port` of the broker.
    pub kafka: String,
    /// Name and password to log in to the broker with by SCRAM-SHA-512, where it knows principals.
    pub kafka_login: Option<(String, String)>,
    /// The ccompat base of the registry.
    pub registry: String,
    /// URL of the orders database, for a role that may read.
    pub orders_db: String,
    /// URL of the inventory database.
    pub inventory_db: String,
    /// URL of the payments database.
    pub payments_db: String,
    /// URL of the payment provider's database.
    pub provider_db: String,
}

/// Why the system could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP log cannot be used.
    #[error(transparent)]
    HttpLog(#[from] httplog::Error),
    /// A topic cannot be read.
    #[error("read {what} from Kafka")]
    Kafka {
        /// Topic or request.
        what: String,
        /// The cause.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// A topic did not yield all its records in time.
    #[error("read {what} to its end: nothing arrived for {waited_s} s")]
    Stalled {
        /// Topic and partition.
        what: String,
        /// Seconds waited.
        waited_s: u64,
    },
    /// A topic of the system does not exist.
    #[error("topic {0} does not exist")]
    TopicMissing(String),
    /// The registry does not answer.
    #[error("get schema {id} from the registry")]
    Registry {
        /// The schema.
        id: u32,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// A database does not answer, or has other tables.
    #[error("read {what} of the {database} database")]
    Sql {
        /// Which one.
        database: &'static str,
        /// Table or step.
        what: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// A reader thread died.
    #[error("read the system in the background")]
    Background(#[from] tokio::task::JoinError),
    /// The verdict cannot be written.
    #[error("write the verdict")]
    Output(#[source] std::io::Error),
    /// The HTTP client cannot be made.
    #[error("make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Reads everything, topics and databases at once.
///
/// A system that still works is not refused, yet what moves between two reads will look like a violation.
///
/// # Errors
/// [`Error`], by what could not be read.
pub async fn collect(sources: &Sources) -> Result<World, Error> {
    let http = sources.http_log.as_deref().map(httplog::read).transpose()?;
    let (orders, inventory, payments, operations, read) = tokio::try_join!(
        Box::pin(sql::orders(&sources.orders_db)),
        Box::pin(sql::inventory(&sources.inventory_db)),
        Box::pin(sql::payments(&sources.payments_db)),
        Box::pin(sql::operations(&sources.provider_db)),
        Box::pin(topics::read(&sources.kafka, sources.kafka_login.as_ref())),
    )?;
    let records = values::decode(&sources.registry, read.records).await?;
    let mut world = World { http, ends: read.ends, records, positions: read.positions, orders, inventory, payments, operations };
    world.set_recorded_repeats_aside();
    Ok(world)
}
