//! Why a rebuild did not end.

use rdkafka::error::KafkaError;

use crate::failure::Failure;
use crate::relay;

/// Why a rebuild stopped. Nothing was emitted; the same command begins again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not answer or refused.
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
        doing: String,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// The old relay could not be fenced.
    #[error("make the new incarnation the one that publishes")]
    Relay(#[from] relay::Error),
    /// An event cannot be read or folded, or a command not written.
    #[error("replay what happened")]
    Failure(#[from] Failure),
    /// The topics do not tell a whole history, or what was rebuilt does not agree with itself.
    #[error("{code}: {what}")]
    Broken {
        /// Stable code, a page in `docs/errors/`.
        code: &'static str,
        /// Where.
        what: String,
    },
    /// Another process rebuilds this database.
    #[error("rebuild_running: another process rebuilds this database")]
    Running,
    /// The process is going down.
    #[error("the process stops")]
    Stopped,
}

impl Error {
    /// Stable code, as on the page of that name in `docs/errors/`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Database { .. } => "database_unavailable",
            Self::Kafka { .. } => "kafka_unavailable",
            Self::Relay(error) => error.code(),
            Self::Failure(failure) => failure.code,
            Self::Broken { code, .. } => code,
            Self::Running => "rebuild_running",
            Self::Stopped => "unavailable",
        }
    }

    pub(crate) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    pub(crate) fn broken(code: &'static str, what: impl Into<String>) -> Self {
        Self::Broken { code, what: what.into() }
    }
}
