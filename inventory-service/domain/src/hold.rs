//! The hold of one order: its units set aside, all lines or none, until they ship or come back.
//!
//! ```text
//! None ─ create ─► Held ─ commit ─► Committed
//!   │        └───► Rejected            (short of a unit)
//!   ├─ release ──────┬──► Released ◄─ release ─ Held
//!   │    Rejected ───┤
//!   └─ give up ─► Failed   (the create died)
//! ```

use serde::{Deserialize, Serialize};
use values::Sku;

use crate::{Line, Lines, Units};

/// Where the hold of one order is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hold", rename_all = "snake_case")]
pub enum Hold {
    /// Nobody has asked yet.
    #[default]
    None,
    /// These units are set aside.
    Held {
        /// The units.
        lines: Lines,
    },
    /// There was not enough stock: nothing is set aside.
    Rejected,
    /// These units have shipped.
    Committed {
        /// The units.
        lines: Lines,
    },
    /// Nothing is set aside any more, or ever will be: a create that comes after its release does nothing.
    Released,
    /// The create died: it does nothing when it is sent again. A release is answered all the same.
    Failed,
}

/// What is asked of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Set aside the units of an order.
    Create(Wanted),
    /// Ship them: they will not come back.
    Commit,
    /// Give them back.
    Release,
    /// The create died after its last attempt: it must not take effect any more, also when somebody sends it again.
    GiveUp {
        /// Stable code of the last failure.
        code: String,
    },
}

/// Lines asked for, each with the units of its product that are available right now (none for a product we do not have).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    lines: Lines,
    available: Vec<Units>,
}

impl Wanted {
    /// `lines`, with `available` asked once per line for the units of its SKU.
    pub fn new(lines: Lines, available: impl FnMut(&Sku) -> Units) -> Self {
        let available = lines.iter().map(|line| &line.sku).map(available).collect();
        Self { lines, available }
    }

    fn short(&self) -> Vec<Shortage> {
        let lines = self.lines.iter().zip(&self.available);
        lines
            .filter(|(line, available)| Units::from(line.quantity) > **available)
            .map(|(line, available)| Shortage { line: line.clone(), available: *available })
            .collect()
    }
}

/// What happened to a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The units of every line are set aside.
    Reserved {
        /// The units.
        lines: Lines,
    },
    /// At least one line was short, so nothing is set aside.
    Rejected {
        /// Every line that was short, never empty.
        short: Vec<Shortage>,
    },
    /// The units have shipped.
    Committed,
    /// Nothing is set aside any more.
    Released {
        /// The units that came back, if any were held.
        lines: Option<Lines>,
    },
    /// A command was refused, or died after its last attempt; it is the answer to that command. A refusal changes nothing; a create that died
    /// ([`CREATE`]) is fenced off.
    StepFailed {
        /// The step that failed: [`CREATE`], or see [`Rejection::step`].
        step: String,
        /// Why: the code of the last failure, or see [`Rejection::code`].
        code: String,
    },
}

/// The saga step that a create performs.
pub const CREATE: &str = "hold";

/// A line that asked for more units than were available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// What was asked for.
    pub line: Line,
    /// The units that were available.
    pub available: Units,
}

/// Why a command was refused. Stock running short is not here: it is an answer of its own, [`Event::Rejected`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A commit of a hold that holds nothing.
    #[error("nothing is held for this order")]
    NothingHeld,
    /// A release after the units have shipped.
    #[error("the units of this order have shipped")]
    Shipped,
}

impl Rejection {
    /// The stable code that goes out in `StepFailed`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NothingHeld => "nothing_held",
            Self::Shipped => "already_shipped",
        }
    }

    /// The saga step whose command was refused.
    #[must_use]
    pub const fn step(self) -> &'static str {
        match self {
            Self::NothingHeld => "commit",
            Self::Shipped => "release",
        }
    }

    /// The answer to the refused command.
    #[must_use]
    pub fn event(self) -> Event {
        Event::StepFailed { step: self.step().to_owned(), code: self.code().to_owned() }
    }
}

/// Events `command` causes in `state`. A command that was decided before, under whatever cause, causes none.
///
/// # Errors
/// A [`Rejection`] when the command cannot be met any more; the caller answers it with [`Rejection::event`].
pub fn decide(state: &Hold, command: &Command) -> Result<Vec<Event>, Rejection> {
    match (command, state) {
        (Command::Create(wanted), Hold::None) => {
            let short = wanted.short();
            Ok(vec![if short.is_empty() { Event::Reserved { lines: wanted.lines.clone() } } else { Event::Rejected { short } }])
        }
        (Command::Create(_), Hold::Held { .. } | Hold::Rejected | Hold::Committed { .. } | Hold::Released | Hold::Failed)
        | (Command::Commit, Hold::Committed { .. })
        | (Command::Release, Hold::Released)
        | (Command::GiveUp { .. }, Hold::Held { .. } | Hold::Rejected | Hold::Committed { .. } | Hold::Released | Hold::Failed) => {
            Ok(Vec::new())
        }
        (Command::GiveUp { code }, Hold::None) => Ok(vec![Event::StepFailed { step: CREATE.to_owned(), code: code.clone() }]),
        (Command::Commit, Hold::Held { .. }) => Ok(vec![Event::Committed]),
        (Command::Commit, Hold::None | Hold::Rejected | Hold::Released | Hold::Failed) => Err(Rejection::NothingHeld),
        (Command::Release, Hold::Held { lines }) => Ok(vec![Event::Released { lines: Some(lines.clone()) }]),
        (Command::Release, Hold::None | Hold::Rejected | Hold::Failed) => Ok(vec![Event::Released { lines: None }]),
        (Command::Release, Hold::Committed { .. }) => Err(Rejection::Shipped),
    }
}

/// The state after `event`. Total: any stored history replays.
#[must_use]
pub fn evolve(state: Hold, event: &Event) -> Hold {
    match event {
        Event::Reserved { lines } => Hold::Held { lines: lines.clone() },
        Event::Rejected { .. } => Hold::Rejected,
        Event::Committed => match state {
            Hold::Held { lines } => Hold::Committed { lines },
            Hold::None | Hold::Rejected | Hold::Committed { .. } | Hold::Released | Hold::Failed => state,
        },
        Event::Released { .. } => Hold::Released,
        Event::StepFailed { step, .. } => match state {
            Hold::None if step == CREATE => Hold::Failed,
            Hold::None | Hold::Held { .. } | Hold::Rejected | Hold::Committed { .. } | Hold::Released | Hold::Failed => state,
        },
    }
}

#[cfg(test)]
mod tests;
