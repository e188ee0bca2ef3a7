//! The decisions: from a state and an input to events.

use std::time::Duration;

use crate::definition::{Definition, Kind, SentBy, Step};
use crate::event::{Event, Outcome, StepState};
use crate::input::{Action, Answer, Input, Operator};
use crate::state::{Decision, State, Status, awaited, evolve};

/// The cause recorded when a deadline passed.
pub const CAUSE_DEADLINE: &str = "deadline";

/// What one input did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// To be stored and published, in order; empty when the input changed nothing.
    pub events: Vec<Event>,
    /// The state after them.
    pub state: State,
    /// To be done in the same transaction.
    pub actions: Vec<Action>,
}

/// The events `input` causes in `state` at `now` (microseconds since the Unix epoch). Empty for anything duplicate, late or out of order.
#[must_use]
pub fn decide(definition: &Definition, state: &State, input: &Input, now: i64) -> Vec<Event> {
    run(definition, state.clone(), input, now).events
}

fn run<'a>(definition: &'a Definition, state: State, input: &Input, now: i64) -> Machine<'a> {
    let mut machine = Machine { definition, state, events: Vec::new(), now };
    machine.take(input);
    machine
}

/// What must be done because `events` were just decided in the state `before`: the decision first, then the commands in the order of the events.
#[must_use]
pub fn actions(definition: &Definition, before: &State, events: &[Event]) -> Vec<Action> {
    let after = events.iter().fold(before.clone(), evolve);
    actions_of(definition, before.decision(definition).as_ref(), &after, events)
}

fn actions_of(definition: &Definition, decided: Option<&Decision>, after: &State, events: &[Event]) -> Vec<Action> {
    let newly = if decided.is_none() { after.decision(definition).map(Action::Decide) } else { None };
    newly.into_iter().chain(events.iter().filter_map(|event| send(definition, event))).collect()
}

/// [`decide`], [`evolve`] and [`actions`] at once.
#[must_use]
pub fn advance(definition: &Definition, before: State, input: &Input, now: i64) -> Turn {
    let decided = before.decision(definition);
    let Machine { events, state, .. } = run(definition, before, input, now);
    let actions = actions_of(definition, decided.as_ref(), &state, &events);
    Turn { events, state, actions }
}

fn send(definition: &Definition, event: &Event) -> Option<Action> {
    let (name, compensation) = match event {
        Event::Started { step, .. } | Event::StepRecorded { step, state: StepState::Sent, .. } => (step, false),
        Event::StepRecorded { step, state: StepState::Undoing, .. } => (step, true),
        Event::StepRecorded { .. } | Event::Ended { .. } => return None,
    };
    let step = definition.step(name)?;
    let command = match (compensation, step.sent_by) {
        (true, _) => step.compensation?.command,
        (false, SentBy::Command(command)) => command,
        (false, SentBy::Event(_)) => return None,
    };
    Some(Action::Send { step: step.name, command, compensation })
}

/// One decision under way: every event recorded is folded at once, so the next rule sees it.
struct Machine<'a> {
    definition: &'a Definition,
    state: State,
    events: Vec<Event>,
    now: i64,
}

impl<'a> Machine<'a> {
    fn take(&mut self, input: &Input) {
        match (self.state.status(), input) {
            (Status::NotStarted, Input::Start) => self.start(),
            (Status::NotStarted | Status::Ended(_), _) | (_, Input::Start) => {}
            (_, Input::Reply { step, answer }) => {
                if let Some(step) = self.definition.step(step) {
                    self.reply(step, answer);
                }
            }
            (_, Input::Undone { step }) => {
                if let Some(step) = self.definition.step(step) {
                    self.undone(step);
                }
            }
            (_, Input::Deadline { step }) => self.deadline(step),
            (_, Input::CancelRequested { reason }) => self.cancel(reason),
            (_, Input::Resume(operator)) => self.resume(operator),
            (_, Input::Abandon(operator)) => self.abandon(operator),
        }
    }

    fn start(&mut self) {
        let first = self.definition.first();
        self.push(Event::Started {
            definition: self.definition.name().to_owned(),
            shape_version: self.definition.shape_version(),
            step: first.name.to_owned(),
            deadline_at: self.due(first.deadline),
            started_at: self.now,
        });
    }

    fn reply(&mut self, step: &'a Step, answer: &Answer) {
        match (answer, self.progress(step)) {
            (Answer::Done, Some(StepState::Sent | StepState::Stuck)) => self.done(step),
            (Answer::Refused { reason }, Some(StepState::Sent)) => self.turned_down(step, StepState::Refused, reason),
            (Answer::Failed { reason }, Some(StepState::Sent)) => self.turned_down(step, StepState::Failed, reason),
            // A stuck pivot can still be refused; after the pivot the saga stays stuck.
            (Answer::Refused { reason }, Some(StepState::Stuck)) if step.is_pivot() => self.turned_down(step, StepState::Refused, reason),
            (Answer::Failed { reason }, Some(StepState::Stuck)) if step.is_pivot() => self.turned_down(step, StepState::Failed, reason),
            // It had no effect, so there is nothing to wait for: the refusal answers the compensation.
            (Answer::Refused { reason }, Some(StepState::Undoing | StepState::UndoStuck)) => {
                self.record(step, StepState::Refused, Some(reason));
                self.undoing_answered(step, StepState::Refused, Some(reason));
            }
            (Answer::Refused { reason }, None) if step.is_triggered() => self.background(step, StepState::Refused, reason),
            (Answer::Failed { reason }, None) if step.is_triggered() => self.background(step, StepState::Failed, reason),
            // Not sent yet, or answered, or given up, or being undone: late or out of order.
            (
                Answer::Done | Answer::Refused { .. } | Answer::Failed { .. },
                None
                | Some(
                    StepState::Done
                    | StepState::Refused
                    | StepState::Failed
                    | StepState::Expired
                    | StepState::Cancelled
                    | StepState::InDoubt
                    | StepState::Undoing
                    | StepState::Undone
                    | StepState::Stuck
                    | StepState::UndoStuck
                    | StepState::Abandoned,
                ),
            ) => {}
        }
    }

    /// The awaited step is done: send the next one, or end.
    fn done(&mut self, step: &'a Step) {
        match self.definition.after(step.name) {
            Some(next) => self.send(next, StepState::Sent, next.deadline),
            None => self.end(Outcome::Confirmed),
        }
    }

    /// The awaited step will not be done.
    fn turned_down(&mut self, step: &'a Step, state: StepState, reason: &str) {
        match step.kind {
            Kind::Compensatable | Kind::Pivot { .. } => {
                self.record(step, state, Some(reason));
                self.compensate();
            }
            Kind::Retriable => self.record(step, StepState::Stuck, Some(reason)),
        }
    }

    /// A step that runs beside the others will not be done.
    fn background(&mut self, step: &'a Step, state: StepState, reason: &str) {
        let pivot = self.definition.pivot();
        if self.state.cause().is_some() || self.progress(pivot) == Some(StepState::Done) {
            return;
        }
        self.record(step, state, Some(reason));
        if self.progress(pivot) != Some(StepState::Sent) {
            self.compensate();
        } else if state == StepState::Refused && pivot.undone_by() == Some(step.name) {
            // What undoes the pivot has nothing to undo, so the pivot cannot succeed any more either.
            self.record(pivot, StepState::Refused, Some(reason));
            self.compensate();
        } else {
            let cause = self.state.cause().unwrap_or(reason).to_owned();
            self.doubt(&cause);
        }
    }

    fn undone(&mut self, step: &'a Step) {
        if matches!(self.progress(step), Some(StepState::Undoing | StepState::UndoStuck)) {
            self.record(step, StepState::Undone, None);
            self.undoing_answered(step, StepState::Undone, None);
        }
    }

    /// A compensation was answered: it may end the doubt, or the saga.
    fn undoing_answered(&mut self, step: &Step, answer: StepState, reason: Option<&str>) {
        let pivot = self.definition.pivot();
        if self.progress(pivot) == Some(StepState::InDoubt) && pivot.undone_by() == Some(step.name) {
            self.record(pivot, answer, reason);
            self.compensate();
        } else {
            self.end_if_nothing_awaited();
        }
    }

    fn deadline(&mut self, name: &str) {
        // A row of an earlier step, or one that was armed again for later: stale.
        if !self.state.armed().is_some_and(|armed| armed.step == name && armed.at <= self.now) {
            return;
        }
        let Some(step) = self.definition.step(name) else { return };
        match (self.progress(step), step.kind) {
            (Some(StepState::Sent), Kind::Compensatable) => {
                self.record(step, StepState::Expired, Some(CAUSE_DEADLINE));
                self.compensate();
            }
            (Some(StepState::Sent), Kind::Pivot { undone_by: Some(_) }) => self.doubt(CAUSE_DEADLINE),
            (Some(StepState::Sent), Kind::Pivot { undone_by: None } | Kind::Retriable) => {
                self.record(step, StepState::Stuck, Some(CAUSE_DEADLINE));
            }
            (Some(StepState::Undoing), _) => self.compensations_overdue(),
            (
                None
                | Some(
                    StepState::Done
                    | StepState::Refused
                    | StepState::Failed
                    | StepState::Expired
                    | StepState::Cancelled
                    | StepState::InDoubt
                    | StepState::Undone
                    | StepState::Stuck
                    | StepState::UndoStuck
                    | StepState::Abandoned,
                ),
                _,
            ) => {}
        }
    }

    fn compensations_overdue(&mut self) {
        for step in self.definition.before_pivot() {
            let progress = self.state.progress(step.name);
            if progress.is_some_and(|p| p.state == StepState::Undoing && p.deadline_at.is_some_and(|at| at <= self.now)) {
                self.record(step, StepState::UndoStuck, Some(CAUSE_DEADLINE));
            }
        }
    }

    fn cancel(&mut self, reason: &str) {
        if self.state.cause().is_some() {
            return;
        }
        let Some(step) = self.definition.steps().iter().find(|step| self.progress(step) == Some(StepState::Sent)) else { return };
        match step.kind {
            Kind::Compensatable => {
                self.record(step, StepState::Cancelled, Some(reason));
                self.compensate();
            }
            Kind::Pivot { undone_by: Some(_) } => self.doubt(reason),
            Kind::Pivot { undone_by: None } | Kind::Retriable => {}
        }
    }

    /// Everything that is stuck is sent again, with a deadline of its own.
    fn resume(&mut self, operator: &Operator) {
        for step in self.definition.steps() {
            let state = match self.progress(step) {
                Some(StepState::Stuck) => StepState::Sent,
                Some(StepState::UndoStuck) => StepState::Undoing,
                None
                | Some(
                    StepState::Sent
                    | StepState::Done
                    | StepState::Refused
                    | StepState::Failed
                    | StepState::Expired
                    | StepState::Cancelled
                    | StepState::InDoubt
                    | StepState::Undoing
                    | StepState::Undone
                    | StepState::Abandoned,
                ) => continue,
            };
            let deadline_at = Some(self.due(step.deadline));
            self.decided(step, state, operator, deadline_at);
        }
    }

    /// Everything that is stuck counts as answered. A pivot that nothing undoes counts as failed: what it may have done is
    /// what the person takes over.
    fn abandon(&mut self, operator: &Operator) {
        for step in self.definition.steps() {
            match (self.progress(step), step.kind) {
                (Some(StepState::Stuck), Kind::Retriable) => {
                    self.decided(step, StepState::Abandoned, operator, None);
                    self.done(step);
                }
                (Some(StepState::Stuck), Kind::Compensatable | Kind::Pivot { .. }) => {
                    self.decided(step, StepState::Failed, operator, None);
                    self.compensate();
                }
                (Some(StepState::UndoStuck), _) => {
                    self.decided(step, StepState::Abandoned, operator, None);
                    self.undoing_answered(step, StepState::Abandoned, Some(&operator.why));
                }
                (
                    None
                    | Some(
                        StepState::Sent
                        | StepState::Done
                        | StepState::Refused
                        | StepState::Failed
                        | StepState::Expired
                        | StepState::Cancelled
                        | StepState::InDoubt
                        | StepState::Undoing
                        | StepState::Undone
                        | StepState::Abandoned,
                    ),
                    _,
                ) => {}
            }
        }
    }

    /// The pivot may or may not happen and is no longer wanted: what undoes it goes out and decides; everything else waits for its answer.
    fn doubt(&mut self, reason: &str) {
        let pivot = self.definition.pivot();
        let Some(undo) = pivot.undone_by().and_then(|name| self.definition.step(name)) else { return };
        self.record(pivot, StepState::InDoubt, Some(reason));
        self.send(undo, StepState::Undoing, undo.deadline);
    }

    /// Sends every compensation that is needed and not yet sent, at once; ends the saga if none is awaited.
    fn compensate(&mut self) {
        let needed: Vec<&Step> = self.definition.before_pivot().filter(|step| self.needs_undoing(step)).collect();
        let deadline = needed.iter().map(|step| step.deadline).max().unwrap_or_default();
        for step in needed {
            self.send(step, StepState::Undoing, deadline);
        }
        // What is still awaited and leaves nothing behind is given up, so that its late answer moves nothing.
        for step in self.definition.steps() {
            if self.progress(step) == Some(StepState::Sent) {
                let cause = self.state.cause().map(ToOwned::to_owned);
                self.record(step, StepState::Cancelled, cause.as_deref());
            }
        }
        self.end_if_nothing_awaited();
    }

    fn needs_undoing(&self, step: &Step) -> bool {
        let Some(compensation) = step.compensation else { return false };
        match self.progress(step) {
            None => step.is_triggered(),
            Some(StepState::Sent | StepState::Done | StepState::Expired | StepState::Cancelled | StepState::Stuck) => true,
            Some(StepState::Failed) => compensation.outside_effect,
            Some(
                StepState::Refused
                | StepState::InDoubt
                | StepState::Undoing
                | StepState::Undone
                | StepState::UndoStuck
                | StepState::Abandoned,
            ) => false,
        }
    }

    fn end_if_nothing_awaited(&mut self) {
        if awaited(self.definition, &self.state).is_empty() {
            self.end(Outcome::Cancelled);
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.push(Event::Ended { outcome, ended_at: self.now });
    }

    fn send(&mut self, step: &Step, state: StepState, deadline: Duration) {
        self.push(Event::StepRecorded {
            step: step.name.to_owned(),
            state,
            reason: None,
            by: None,
            deadline_at: Some(self.due(deadline)),
            recorded_at: self.now,
        });
    }

    fn record(&mut self, step: &Step, state: StepState, reason: Option<&str>) {
        self.push(Event::StepRecorded {
            step: step.name.to_owned(),
            state,
            reason: reason.map(ToOwned::to_owned),
            by: None,
            deadline_at: None,
            recorded_at: self.now,
        });
    }

    fn decided(&mut self, step: &Step, state: StepState, operator: &Operator, deadline_at: Option<i64>) {
        self.push(Event::StepRecorded {
            step: step.name.to_owned(),
            state,
            reason: Some(operator.why.clone()),
            by: Some(operator.who.clone()),
            deadline_at,
            recorded_at: self.now,
        });
    }

    fn push(&mut self, event: Event) {
        self.state = evolve(std::mem::take(&mut self.state), &event);
        self.events.push(event);
    }

    fn progress(&self, step: &Step) -> Option<StepState> {
        self.state.progress(step.name).map(|progress| progress.state)
    }

    /// `deadline` from now; a deadline past the end of time is the end of time.
    fn due(&self, deadline: Duration) -> i64 {
        self.now.saturating_add(i64::try_from(deadline.as_micros()).unwrap_or(i64::MAX))
    }
}
