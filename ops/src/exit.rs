//! How a command ends.

/// The exit codes, documented in the crate's first page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or the plan was printed.
    Done,
    /// Failed.
    Failed,
    /// A wrong command line.
    Usage,
    /// Some letters or services are left.
    Partly,
    /// Not found.
    NotFound,
    /// A service does not answer.
    Unreachable,
    /// Interrupted.
    Interrupted,
}

impl Exit {
    /// Its number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partly => 3,
            Self::NotFound => 4,
            Self::Unreachable => 5,
            Self::Interrupted => 130,
        }
    }
}
