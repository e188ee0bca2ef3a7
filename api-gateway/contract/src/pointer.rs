use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest pointer that is answered, in bytes; deeper parts are left out, so that an error is never as long as its cause.
const BYTES_MAX: usize = 256;

/// A JSON Pointer (RFC 6901) to a place in a request body. Empty means the whole body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pointer(String);

impl Pointer {
    /// The body as a whole.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The place of member `name` below this one.
    #[must_use]
    pub fn member(&self, name: &str) -> Self {
        self.join(&name.replace('~', "~0").replace('/', "~1"))
    }

    /// The place of the entry at `index`, counted from 0, below this one.
    #[must_use]
    pub fn entry(&self, index: usize) -> Self {
        self.join(&index.to_string())
    }

    /// The pointer as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn join(&self, token: &str) -> Self {
        if self.0.len() + 1 + token.len() > BYTES_MAX { self.clone() } else { Self(format!("{}/{token}", self.0)) }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One step of a path that is collected backwards, from the fault up to the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Member(String),
    Entry(usize),
}

/// The pointer along `steps`, which go from the fault upwards.
pub(crate) fn from_fault_up(steps: &[Step]) -> Pointer {
    steps.iter().rev().fold(Pointer::root(), |pointer, step| match step {
        Step::Member(name) => pointer.member(name),
        Step::Entry(index) => pointer.entry(*index),
    })
}
