//! What is remembered of one instance, and what can be read from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::definition::{Definition, SentBy};
use crate::event::{Event, Outcome, StepState};

/// The cause recorded when a participant gave a step up.
pub const CAUSE_FAILED: &str = "failed";

/// One instance, folded from its events. The default is an instance that has not started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    definition: Option<String>,
    shape_version: u32,
    steps: BTreeMap<String, Progress>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    outcome: Option<Outcome>,
}

/// The last state recorded of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Progress {
    /// What the step is.
    pub state: StepState,
    /// When the awaited answer is overdue, in microseconds since the Unix epoch; set for `sent` and `undoing`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_at: Option<i64>,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// No event yet.
    NotStarted,
    /// Steps are being done.
    Running,
    /// The pivot is sent, the saga no longer wants it, and its undoing is awaited.
    InDoubt,
    /// What was done is being undone.
    Compensating,
    /// An answer is overdue that nothing can replace: only that answer or a person moves it on.
    Stuck,
    /// Nothing is awaited.
    Ended(Outcome),
}

/// What the saga has settled for its subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The pivot was passed.
    Confirmed,
    /// It is undone, or being undone.
    Cancelled {
        /// The first cause; in doubt, a refusal that ends the doubt replaces it.
        reason: String,
    },
}

/// The deadline that is armed: at most one an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Armed<'a> {
    /// When it is due, in microseconds since the Unix epoch.
    pub at: i64,
    /// The step whose command or compensation is awaited.
    pub step: &'a str,
}

/// A message whose answer is awaited: what recovery sends again, with the same id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Awaited {
    /// Name of the step.
    pub step: &'static str,
    /// Name of the command.
    pub command: &'static str,
    /// The command is the step's compensation.
    pub compensation: bool,
    /// When the answer is overdue; none if it already is (stuck).
    pub deadline_at: Option<i64>,
}

/// The state after `event`. Total: any stored history folds, also one that the machine would not have written.
#[must_use]
pub fn evolve(mut state: State, event: &Event) -> State {
    match event {
        Event::Started { definition, shape_version, step, deadline_at, .. } => {
            state.definition = Some(definition.clone());
            state.shape_version = *shape_version;
            state.steps.insert(step.clone(), Progress { state: StepState::Sent, deadline_at: Some(*deadline_at) });
        }
        Event::StepRecorded { step, state: recorded, reason, deadline_at, .. } => {
            match recorded {
                // In doubt nothing is decided yet, so what ends the doubt says why.
                StepState::Refused if state.has(StepState::InDoubt) => state.cause.clone_from(reason),
                StepState::Refused | StepState::Expired | StepState::Cancelled | StepState::InDoubt => state.blame(reason.as_deref()),
                StepState::Failed => state.blame(Some(CAUSE_FAILED)),
                StepState::Sent => state.awaited_is_done(),
                StepState::Done
                | StepState::Undoing
                | StepState::Undone
                | StepState::Stuck
                | StepState::UndoStuck
                | StepState::Abandoned => {}
            }
            state.steps.insert(step.clone(), Progress { state: *recorded, deadline_at: *deadline_at });
        }
        Event::Ended { outcome, .. } => {
            state.outcome = Some(*outcome);
            match outcome {
                Outcome::Confirmed => state.awaited_is_done(),
                Outcome::Cancelled => {}
            }
        }
    }
    state
}

/// The messages whose answers are awaited, in the order of the definition: the sent step, or the compensations. The command of a pivot in doubt is not among
/// them, because its undoing has been sent.
#[must_use]
pub fn awaited(definition: &Definition, state: &State) -> Vec<Awaited> {
    if state.outcome.is_some() {
        return Vec::new();
    }
    definition.steps().iter().filter_map(|step| awaited_of(step, state.progress(step.name)?)).collect()
}

fn awaited_of(step: &crate::Step, progress: Progress) -> Option<Awaited> {
    let (command, compensation) = match progress.state {
        StepState::Sent | StepState::Stuck => match step.sent_by {
            SentBy::Command(command) => (command, false),
            SentBy::Event(_) => return None,
        },
        StepState::Undoing | StepState::UndoStuck => (step.compensation?.command, true),
        StepState::Done
        | StepState::Refused
        | StepState::Failed
        | StepState::Expired
        | StepState::Cancelled
        | StepState::InDoubt
        | StepState::Undone
        | StepState::Abandoned => return None,
    };
    Some(Awaited { step: step.name, command, compensation, deadline_at: progress.deadline_at })
}

impl State {
    /// Name and shape version of the definition it runs under; none before the start.
    #[must_use]
    pub fn shape(&self) -> Option<(&str, u32)> {
        self.definition.as_deref().map(|name| (name, self.shape_version))
    }

    /// The last state recorded of step `name`; none if nothing was.
    #[must_use]
    pub fn progress(&self, name: &str) -> Option<Progress> {
        self.steps.get(name).copied()
    }

    /// Why the saga turned back; none while it goes forward.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.outcome {
            Some(outcome) => Status::Ended(outcome),
            None if self.definition.is_none() => Status::NotStarted,
            None if self.has(StepState::Stuck) || self.has(StepState::UndoStuck) => Status::Stuck,
            None if self.has(StepState::InDoubt) => Status::InDoubt,
            None if self.cause.is_some() => Status::Compensating,
            None => Status::Running,
        }
    }

    /// What is settled; none while it is open, the doubt included. Once it is there it never changes.
    #[must_use]
    pub fn decision(&self, definition: &Definition) -> Option<Decision> {
        match self.progress(definition.pivot().name).map(|pivot| pivot.state) {
            Some(StepState::Done) => return Some(Decision::Confirmed),
            Some(StepState::InDoubt) => return None,
            Some(
                StepState::Sent
                | StepState::Refused
                | StepState::Failed
                | StepState::Expired
                | StepState::Cancelled
                | StepState::Undoing
                | StepState::Undone
                | StepState::Stuck
                | StepState::UndoStuck
                | StepState::Abandoned,
            )
            | None => {}
        }
        self.cause.clone().map(|reason| Decision::Cancelled { reason })
    }

    /// The deadline to arm: the earliest of what is awaited; none when nothing is, or when all of it is overdue already.
    #[must_use]
    pub fn armed(&self) -> Option<Armed<'_>> {
        if self.outcome.is_some() {
            return None;
        }
        self.steps.iter().filter_map(|(step, progress)| Some(Armed { at: progress.deadline_at?, step })).min()
    }

    pub(crate) fn has(&self, wanted: StepState) -> bool {
        self.steps.values().any(|progress| progress.state == wanted)
    }

    /// Steps are sent one after the other, so a step can only be sent, or the saga confirmed, when the one before is done.
    fn awaited_is_done(&mut self) {
        for progress in self.steps.values_mut().filter(|progress| matches!(progress.state, StepState::Sent | StepState::Stuck)) {
            *progress = Progress { state: StepState::Done, deadline_at: None };
        }
    }

    /// The first cause stays.
    fn blame(&mut self, reason: Option<&str>) {
        if self.cause.is_none() {
            self.cause = Some(reason.unwrap_or(CAUSE_FAILED).to_owned());
        }
    }
}
