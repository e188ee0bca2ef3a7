//! Why a message could not be handled, classified at the place that knows.

/// What kind of failure it is: it decides what becomes of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Our own database, broker or registry: hold the partition, route nothing.
    Infrastructure,
    /// May pass by itself.
    Transient,
    /// Fails the same way every time: undecodable, wrong type, a panic in a handler.
    Permanent,
    /// Not written by the topic's owner.
    Foreign,
}

impl Class {
    /// The word used in logs, metrics and headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Infrastructure => "infrastructure",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Foreign => "foreign",
        }
    }
}

/// A handler's failure: an outcome of its message, not of its batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure.
    pub class: Class,
    /// Stable code, a page in `docs/errors`.
    pub code: &'static str,
    /// What was being done, to what, and what went wrong.
    pub message: String,
}

impl Failure {
    /// A failure of the given class.
    pub fn new(class: Class, code: &'static str, message: impl Into<String>) -> Self {
        Self { class, code, message: message.into() }
    }

    /// Fails the same way every time.
    pub fn permanent(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Permanent, code, message)
    }

    /// May pass by itself.
    pub fn transient(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Transient, code, message)
    }

    /// Our own infrastructure.
    pub fn infrastructure(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Infrastructure, code, message)
    }
}
