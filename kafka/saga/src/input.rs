//! What goes into the machine and what comes out beside events.

use crate::state::Decision;

/// Something that happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// Begin.
    Start,
    /// A participant answered a step.
    Reply {
        /// Name of the step.
        step: String,
        /// What it said.
        answer: Answer,
    },
    /// A participant answered the compensation of a step.
    Undone {
        /// Name of the step that is undone.
        step: String,
    },
    /// The armed deadline fired.
    Deadline {
        /// The step it was armed for; another step's deadline is stale and ignored.
        step: String,
    },
    /// Somebody asks to call it off.
    CancelRequested {
        /// Recorded as the cause.
        reason: String,
    },
    /// A person wants what is stuck tried again: its messages are sent again, with the same ids and a new deadline.
    Resume(Operator),
    /// A person takes over what is stuck and left open: the saga goes on as if it had been answered.
    Abandon(Operator),
}

/// A person who decides about a stuck saga. Recorded for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Operator {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// A participant's answer to a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Done.
    Done,
    /// A business "no": it had no effect and never will.
    Refused {
        /// Recorded as the cause.
        reason: String,
    },
    /// The command was given up after its last attempt; the participant fences it off, but an outside effect may exist.
    Failed {
        /// The participant's code; the cause is [`crate::CAUSE_FAILED`].
        reason: String,
    },
}

/// Something to do because of events just recorded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send a command; its id is derived from the instance, the step and `compensation`, so that sending twice is one message.
    Send {
        /// Name of the step.
        step: &'static str,
        /// Name of the command.
        command: &'static str,
        /// The command is the step's compensation.
        compensation: bool,
    },
    /// Tell the saga's subject what was decided.
    Decide(Decision),
}

impl Input {
    /// A participant's answer to `step`.
    #[must_use]
    pub fn reply(step: impl Into<String>, answer: Answer) -> Self {
        Self::Reply { step: step.into(), answer }
    }

    /// The answer to the compensation of `step`.
    #[must_use]
    pub fn undone(step: impl Into<String>) -> Self {
        Self::Undone { step: step.into() }
    }

    /// The deadline armed for `step` fired.
    #[must_use]
    pub fn deadline(step: impl Into<String>) -> Self {
        Self::Deadline { step: step.into() }
    }

    /// `who` wants what is stuck tried again.
    #[must_use]
    pub fn resume(who: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Resume(Operator { who: who.into(), why: why.into() })
    }

    /// `who` takes over what is stuck.
    #[must_use]
    pub fn abandon(who: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Abandon(Operator { who: who.into(), why: why.into() })
    }

    /// A request to call the saga off.
    #[must_use]
    pub fn cancel(reason: impl Into<String>) -> Self {
        Self::CancelRequested { reason: reason.into() }
    }
}

impl Answer {
    /// A refusal.
    #[must_use]
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    /// A failure.
    #[must_use]
    pub fn failed(code: impl Into<String>) -> Self {
        Self::Failed { reason: code.into() }
    }
}

impl Action {
    /// Send the command of `step`.
    #[must_use]
    pub fn send_command(step: &'static str, command: &'static str) -> Self {
        Self::Send { step, command, compensation: false }
    }

    /// Send the compensation of `step`.
    #[must_use]
    pub fn send_compensation(step: &'static str, command: &'static str) -> Self {
        Self::Send { step, command, compensation: true }
    }
}

/// The name under which a step's command has its message id, distinct from that of its compensation: `hold`, `undo_hold`.
#[must_use]
pub fn message_name(step: &str, compensation: bool) -> String {
    if compensation { format!("undo_{step}") } else { step.to_owned() }
}
