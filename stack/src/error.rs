use std::path::PathBuf;
use std::time::Duration;

/// Why a part could not be fetched, started, reached or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Maven or the archive tools could not bring the real parts; the text names the command and its last lines.
    #[error("fetch the real parts: {0}")]
    Fetch(String),
    /// A program this crate needs is not installed.
    #[error("{program} is missing: {remedy}")]
    Missing {
        /// The program's name.
        program: String,
        /// One line that says how to get it.
        remedy: String,
    },
    /// A part's process ended before it was ready.
    #[error("{part} ended while starting ({status}); the end of {}:\n{tail}", log.display())]
    Ended {
        /// The part's name.
        part: String,
        /// How it ended.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A part runs but did not pass its health check in time.
    #[error("{part} was not ready after {} s ({reason}); the end of {}:\n{tail}", waited.as_secs(), log.display())]
    NotReady {
        /// The part's name.
        part: String,
        /// What the last health check said.
        reason: String,
        /// How long it was waited for.
        waited: Duration,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A port that was asked for is in use.
    #[error("port {port} for {part} is taken by {holder}")]
    PortTaken {
        /// The port.
        port: u16,
        /// The part that should have it.
        part: String,
        /// The process that listens there, as far as it can be seen.
        holder: String,
    },
    /// No free port was found.
    #[error("no free port between {first} and {last}")]
    NoPort {
        /// Start of the searched range.
        first: u16,
        /// End of the searched range.
        last: u16,
    },
    /// Kafka's data folder was made before it had principals, which are made with it.
    #[error("this folder's Kafka knows no principals, so it cannot be secured: keep it without --secure, or ./run reset and start anew")]
    Principals,
    /// The stack has no such part.
    #[error("this stack has no part {0}")]
    NoSuchPart(String),
    /// A file, folder or process operation failed.
    #[error("{what}")]
    Io {
        /// What was being done, and to what.
        what: String,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// PostgreSQL refused a statement of the set-up.
    #[error("{what}")]
    Sql {
        /// What was being done, and to which database.
        what: String,
        /// The database's answer.
        #[source]
        source: sqlx::Error,
    },
    /// Another stack already runs in this folder.
    #[error("a stack is already up in {} ({holder}); `./run status` says where, `./run stop` stops it", folder.display())]
    AlreadyUp {
        /// The run folder.
        folder: PathBuf,
        /// Who has it.
        holder: String,
    },
    /// A stored file of the run folder is not what this version writes.
    #[error("read {}: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Names what was being done when an operating system call fails.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, std::io::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what(), source })
    }
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Sql { what: what(), source })
    }
}

/// Why a program could not be run: not installed, which a person can mend by `remedy`, or something else.
pub(crate) fn not_run(program: &str, remedy: String, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::NotFound {
        Error::Missing { program: program.to_owned(), remedy }
    } else {
        Error::Io { what: format!("run {program}"), source }
    }
}
