//! What a saga records. Each event is one published record; see the table in the crate documentation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A fact about one saga instance. Instants are microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The saga began and its first step was sent.
    Started {
        /// Name of the definition.
        definition: String,
        /// Version of its list of steps; the instance finishes under it.
        shape_version: u32,
        /// The first step awaited.
        step: String,
        /// When that step is overdue.
        deadline_at: i64,
        /// When the saga began.
        started_at: i64,
    },
    /// A step changed.
    StepRecorded {
        /// Name of the step.
        step: String,
        /// What it is now.
        state: StepState,
        /// Why, where there is a reason.
        reason: Option<String>,
        /// The person who decided it, where one did.
        by: Option<String>,
        /// When the awaited answer is overdue; set exactly for `sent` and `undoing`.
        deadline_at: Option<i64>,
        /// When this was decided.
        recorded_at: i64,
    },
    /// Nothing is awaited any more.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// When.
        ended_at: i64,
    },
}

/// What a step is, as recorded; the strings are part of the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Its command was sent and is awaited.
    Sent,
    /// The participant did it. Not recorded by itself: the next step's `sent`, or the confirmed end, says it. One record less a step.
    Done,
    /// The participant refused; it has had no effect.
    Refused,
    /// The participant gave it up.
    Failed,
    /// It was not answered in time, before the pivot.
    Expired,
    /// It was given up unanswered.
    Cancelled,
    /// The pivot is sent and unanswered, and the saga no longer wants it.
    InDoubt,
    /// Its compensation was sent and is awaited.
    Undoing,
    /// Its compensation was answered; for the pivot: the doubt ended.
    Undone,
    /// It was not answered in time, or refused, where nothing is undone any more.
    Stuck,
    /// Its compensation was not answered in time.
    UndoStuck,
    /// It was stuck, and a person took over what it left open.
    Abandoned,
}

/// How a saga ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The pivot was passed and every step after it is done.
    Confirmed,
    /// Everything that may have had an effect is undone.
    Cancelled,
}

/// A string that names no [`StepState`] or no [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown saga state {0:?}")]
pub struct UnknownState(pub String);

impl StepState {
    /// Every state, in the order of the table in the crate documentation.
    pub const ALL: [Self; 12] = [
        Self::Sent,
        Self::Done,
        Self::Refused,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
        Self::InDoubt,
        Self::Undoing,
        Self::Undone,
        Self::Stuck,
        Self::UndoStuck,
        Self::Abandoned,
    ];

    /// Its string on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::InDoubt => "in_doubt",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
            Self::UndoStuck => "undo_stuck",
            Self::Abandoned => "abandoned",
        }
    }
}

impl Outcome {
    /// Its string on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for StepState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

impl FromStr for Outcome {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Confirmed, Self::Cancelled].into_iter().find(|outcome| outcome.as_str() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
