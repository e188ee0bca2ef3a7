//! What can go wrong before or around publishing.

use std::time::Duration;

use rdkafka::error::KafkaError;
use uuid::Uuid;

/// Why the relay refuses to run, or could not do something it will try again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The position topic holds no committed position record.
    #[error("the position topic of {service} holds no position record")]
    PositionMissing {
        /// The service whose relay looked for it.
        service: String,
    },
    /// A record under the position's key is not a position.
    #[error("read the position record at offset {offset}")]
    PositionUnreadable {
        /// Offset in the position topic.
        offset: i64,
        /// What is wrong with its JSON.
        #[source]
        source: serde_json::Error,
    },
    /// The end of the position topic was not reached in time: an open transaction of another owner, or a slow broker.
    #[error("the end of position topic {topic} was not reached in {waited:?}")]
    PositionTimeout {
        /// The position topic.
        topic: String,
        /// How long it was read.
        waited: Duration,
    },
    /// The database and the position record belong to different incarnations.
    #[error(
        "the database is incarnation {database}, the position record is of {position}; if its content is to be rebuilt from the topics: setup --rebuild, then ops rebuild"
    )]
    IncarnationMismatch {
        /// `db_identity` of the database.
        database: Uuid,
        /// Incarnation in the position record.
        position: Uuid,
    },
    /// The database has no identity row: it was never set up.
    #[error("the database has no identity: run the setup job")]
    IdentityMissing,
    /// The row that the position names is not in the outbox, or is another row: ids would be used twice.
    #[error(
        "outbox row {cursor} is not the one the position names ({expected}): the database was restored to the past; next: setup --rebuild, then ops rebuild"
    )]
    DatabaseRestored {
        /// Id of the last published outbox row.
        cursor: i64,
        /// Its message id by the position record.
        expected: Uuid,
    },
    /// The outbox breaks the rules of `outbox_append()`: a block is not whole or ids are not in order.
    #[error("outbox block {block} is damaged: {what}")]
    OutboxDamaged {
        /// The block number, id / 8192.
        block: i64,
        /// The rule that is broken.
        what: &'static str,
    },
    /// A first position may not be written: something was already published or is waiting to be.
    #[error("{what} is not empty although there is no position record: it was lost")]
    NotEmpty {
        /// The outbox or a topic.
        what: String,
    },
    /// The service's database did not answer or refused.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The broker did not answer or refused.
    #[error("{doing}")]
    Kafka {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// A transaction for the first position did not end well; nothing is known to be written.
    #[error("write the first position: {reason}")]
    NotWritten {
        /// What the producer reported.
        reason: String,
    },
    /// The operating system refused a thread or a runtime.
    #[error("start the relay's thread")]
    Thread(#[source] std::io::Error),
}

impl Error {
    /// Stable code, as on the page of that name in `docs/errors/`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::PositionMissing { .. } => "position_missing",
            Self::PositionUnreadable { .. } => "position_unreadable",
            Self::IncarnationMismatch { .. } => "incarnation_mismatch",
            Self::IdentityMissing => "identity_missing",
            Self::DatabaseRestored { .. } => "database_restored",
            Self::OutboxDamaged { .. } => "outbox_damaged",
            Self::NotEmpty { .. } => "position_lost",
            Self::Database { .. } => "database_unavailable",
            Self::PositionTimeout { .. } | Self::Kafka { .. } | Self::NotWritten { .. } => "kafka_unavailable",
            Self::Thread(_) => "thread_refused",
        }
    }

    /// Whether trying again cannot help: an operator must act, and the process must not serve until then.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::PositionMissing { .. }
            | Self::PositionUnreadable { .. }
            | Self::IncarnationMismatch { .. }
            | Self::IdentityMissing
            | Self::DatabaseRestored { .. }
            | Self::OutboxDamaged { .. }
            | Self::NotEmpty { .. } => true,
            Self::PositionTimeout { .. } | Self::Database { .. } | Self::Kafka { .. } | Self::NotWritten { .. } | Self::Thread(_) => false,
        }
    }

    pub(crate) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    pub(crate) fn kafka(doing: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }
}
