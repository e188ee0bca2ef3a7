//! What a saga consists of, checked when it is built.

use std::time::Duration;

/// How long an answer is awaited where a step says nothing else.
///
/// Source: DESIGN 3, item 7. It must exceed the sum of the retry tiers of every participant.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// A saga as a value: named, versioned, valid by construction.
///
/// A change of steps is a new shape version; instances started under an older shape finish under it, so a service keeps old definitions until the last
/// of their instances has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    name: &'static str,
    shape_version: u32,
    steps: Vec<Step>,
    pivot: Step,
}

/// One step: a request to a participant and how it is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Unique in its definition; part of message ids, so it never changes within a shape version.
    pub name: &'static str,
    /// What reaches the participant.
    pub sent_by: SentBy,
    /// How it is undone; none where it leaves nothing behind, and none from the pivot on.
    pub compensation: Option<Compensation>,
    /// Its place relative to the pivot.
    pub kind: Kind,
    /// How long its answer, and later the answer of its compensation, is awaited. Compensations awaited together share the longest of theirs.
    pub deadline: Duration,
}

/// What reaches a step's participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentBy {
    /// The saga sends this command when the step's turn has come, and waits for the answer.
    Command(&'static str),
    /// The participant acts on this event by itself; the saga sends nothing and waits for nothing, but hears a refusal or a failure.
    Event(&'static str),
}

/// The command that undoes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compensation {
    /// Name of the command. Its participant always answers it, also when there was nothing to undo.
    pub command: &'static str,
    /// The step acts outside the participant's database, so a failed step may have had its effect all the same: compensate after a failure too.
    pub outside_effect: bool,
}

/// Where a step stands relative to the pivot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Before the pivot: it can be undone, or leaves nothing to undo.
    Compensatable,
    /// The step after whose success nothing is undone any more.
    Pivot {
        /// The earlier step whose compensation also undoes the pivot, and so decides when the pivot is in doubt. None: a pivot once sent can only be
        /// awaited; cancel requests are ignored and its deadline makes the saga stuck.
        undone_by: Option<&'static str>,
    },
    /// After the pivot: repeated until it succeeds.
    Retriable,
}

/// Why a list of steps is no saga.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Two steps have this name.
    #[error("step {0} is listed twice")]
    DuplicateStep(&'static str),
    /// There is no pivot.
    #[error("no step is the pivot")]
    NoPivot,
    /// There is a second pivot.
    #[error("step {0} is a second pivot")]
    SecondPivot(&'static str),
    /// A compensatable step stands after the pivot, or a retriable one before it.
    #[error("step {0} is on the wrong side of the pivot")]
    WrongSide(&'static str),
    /// The pivot or a step after it has a compensation.
    #[error("step {0} has a compensation but is not before the pivot")]
    CompensationAfterPivot(&'static str),
    /// The pivot or a step after it is triggered by an event: nothing would order it after the steps before.
    #[error("step {0} is triggered by an event but is not before the pivot")]
    TriggeredAfterPivot(&'static str),
    /// The pivot names a step that is not before it or has no compensation.
    #[error("the pivot is undone by step {0}, which has no compensation before it")]
    UnknownUndo(&'static str),
    /// A step runs in parallel with the pivot, and nothing could take the pivot back when that step is refused.
    #[error("step {0} is triggered by an event, so the pivot must name the step that undoes it")]
    NoUndo(&'static str),
    /// A deadline of zero would cancel every instance.
    #[error("step {0} has no time")]
    ZeroDeadline(&'static str),
}

impl Definition {
    /// A saga of `steps` in the order in which they are sent.
    ///
    /// # Errors
    /// [`Invalid`] names the first fault found.
    pub fn new(name: &'static str, shape_version: u32, steps: Vec<Step>) -> Result<Self, Invalid> {
        let pivot = steps.iter().find(|step| step.is_pivot()).cloned().ok_or(Invalid::NoPivot)?;
        let mut before_pivot: Vec<&Step> = Vec::new();
        let mut passed = false;
        for (position, step) in steps.iter().enumerate() {
            if steps.iter().take(position).any(|earlier| earlier.name == step.name) {
                return Err(Invalid::DuplicateStep(step.name));
            }
            if step.deadline.is_zero() {
                return Err(Invalid::ZeroDeadline(step.name));
            }
            match step.kind {
                Kind::Compensatable if passed => return Err(Invalid::WrongSide(step.name)),
                Kind::Compensatable => before_pivot.push(step),
                Kind::Pivot { .. } if passed => return Err(Invalid::SecondPivot(step.name)),
                Kind::Pivot { .. } => passed = true,
                Kind::Retriable if !passed => return Err(Invalid::WrongSide(step.name)),
                Kind::Retriable => {}
            }
            if passed && step.compensation.is_some() {
                return Err(Invalid::CompensationAfterPivot(step.name));
            }
            if passed && step.is_triggered() {
                return Err(Invalid::TriggeredAfterPivot(step.name));
            }
        }
        match pivot.undone_by() {
            Some(undo) if !before_pivot.iter().any(|step| step.name == undo && step.compensation.is_some()) => {
                return Err(Invalid::UnknownUndo(undo));
            }
            Some(_) => {}
            None => {
                if let Some(triggered) = before_pivot.iter().find(|step| step.is_triggered()) {
                    return Err(Invalid::NoUndo(triggered.name));
                }
            }
        }
        Ok(Self { name, shape_version, steps, pivot })
    }

    /// The same saga with every deadline replaced, for operators and tests.
    ///
    /// # Errors
    /// [`Invalid::ZeroDeadline`] for a zero duration.
    pub fn with_deadline(mut self, deadline: Duration) -> Result<Self, Invalid> {
        if deadline.is_zero() {
            return Err(Invalid::ZeroDeadline(self.pivot.name));
        }
        for step in &mut self.steps {
            step.deadline = deadline;
        }
        self.pivot.deadline = deadline;
        Ok(self)
    }

    /// Its name, stored with every instance.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The version of its list of steps, stored with every instance.
    #[must_use]
    pub fn shape_version(&self) -> u32 {
        self.shape_version
    }

    /// All steps in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The step called `name`.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// The pivot.
    #[must_use]
    pub fn pivot(&self) -> &Step {
        &self.pivot
    }

    /// The first step with a command.
    #[must_use]
    pub fn first(&self) -> &Step {
        // The pivot has a command, so the search never comes back empty; the fallback only spares a panic.
        self.steps.iter().find(|step| !step.is_triggered()).unwrap_or(&self.pivot)
    }

    /// The step with a command after `name`; none after the last.
    #[must_use]
    pub fn after(&self, name: &str) -> Option<&Step> {
        self.steps.iter().skip_while(|step| step.name != name).skip(1).find(|step| !step.is_triggered())
    }

    /// The steps before the pivot.
    pub fn before_pivot(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().take_while(|step| !step.is_pivot())
    }
}

impl Step {
    /// A compensatable step that the saga sends.
    #[must_use]
    pub fn command(name: &'static str, command: &'static str) -> Self {
        Self { name, sent_by: SentBy::Command(command), compensation: None, kind: Kind::Compensatable, deadline: DEFAULT_DEADLINE }
    }

    /// A compensatable step that `event` triggers at its participant.
    #[must_use]
    pub fn triggered(name: &'static str, event: &'static str) -> Self {
        Self { sent_by: SentBy::Event(event), ..Self::command(name, event) }
    }

    /// The pivot; `undone_by` names the earlier step whose compensation also undoes it.
    #[must_use]
    pub fn pivot(name: &'static str, command: &'static str, undone_by: Option<&'static str>) -> Self {
        Self { kind: Kind::Pivot { undone_by }, ..Self::command(name, command) }
    }

    /// A step after the pivot.
    #[must_use]
    pub fn retriable(name: &'static str, command: &'static str) -> Self {
        Self { kind: Kind::Retriable, ..Self::command(name, command) }
    }

    /// This step, undone by `compensation`.
    #[must_use]
    pub fn compensated_by(self, compensation: Compensation) -> Self {
        Self { compensation: Some(compensation), ..self }
    }

    /// This step with a deadline of its own.
    #[must_use]
    pub fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    pub(crate) fn is_pivot(&self) -> bool {
        matches!(self.kind, Kind::Pivot { .. })
    }

    pub(crate) fn is_triggered(&self) -> bool {
        matches!(self.sent_by, SentBy::Event(_))
    }

    pub(crate) fn undone_by(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Pivot { undone_by } => undone_by,
            Kind::Compensatable | Kind::Retriable => None,
        }
    }
}

impl Compensation {
    /// Undoes what a participant keeps in its own database.
    #[must_use]
    pub fn command(command: &'static str) -> Self {
        Self { command, outside_effect: false }
    }

    /// Undoes an effect outside the participant's database: sent after a failure too.
    #[must_use]
    pub fn of_outside_effect(command: &'static str) -> Self {
        Self { command, outside_effect: true }
    }
}
