//! Definitions, inputs and a given/when/then for the tests.

use saga::{Action, Answer, Compensation, Definition, Event, Input, State, Step, StepState, advance, evolve};

/// After every deadline armed at 0.
pub(crate) const LATE: i64 = i64::MAX / 2;

/// The shape of the order saga, in neutral words: one step beside the others, whose compensation also undoes the pivot.
pub(crate) fn parallel() -> Definition {
    Definition::new(
        "parallel",
        3,
        vec![
            Step::command("hold", "Hold").compensated_by(Compensation::command("Release")),
            Step::triggered("authorize", "Placed").compensated_by(Compensation::of_outside_effect("Void")),
            Step::pivot("capture", "Capture", Some("authorize")),
            Step::retriable("commit", "Commit"),
        ],
    )
    .unwrap()
}

/// Commands only; the pivot cannot be undone; one step leaves nothing behind; two steps after the pivot.
pub(crate) fn linear() -> Definition {
    Definition::new(
        "linear",
        1,
        vec![
            Step::command("seat", "BookSeat").compensated_by(Compensation::command("CancelSeat")),
            Step::command("check", "CheckCard"),
            Step::command("room", "BookRoom").compensated_by(Compensation::of_outside_effect("CancelRoom")),
            Step::pivot("charge", "Charge", None),
            Step::retriable("ticket", "PrintTicket"),
            Step::retriable("mail", "SendMail"),
        ],
    )
    .unwrap()
}

/// Two steps beside the others, one of them with nothing to undo, and a pivot that ends the saga.
pub(crate) fn wide() -> Definition {
    Definition::new(
        "wide",
        1,
        vec![
            Step::triggered("score", "Asked"),
            Step::triggered("reserve", "Asked").compensated_by(Compensation::command("Unreserve")),
            Step::command("hold", "Hold").compensated_by(Compensation::command("Release")),
            Step::pivot("pay", "Pay", Some("hold")),
        ],
    )
    .unwrap()
}

/// Every input that an instance of `definition` can meet.
pub(crate) fn inputs(definition: &Definition) -> Vec<Input> {
    let mut inputs = vec![Input::Start, Input::cancel("asked"), Input::resume("ann", "mended"), Input::abandon("ann", "by hand")];
    for step in definition.steps() {
        inputs.push(Input::reply(step.name, Answer::Done));
        inputs.push(Input::reply(step.name, Answer::refused(format!("{}_refused", step.name))));
        inputs.push(Input::reply(step.name, Answer::failed("code")));
        inputs.push(Input::undone(step.name));
        inputs.push(Input::deadline(step.name));
    }
    inputs.push(Input::reply("unknown", Answer::Done));
    inputs
}

/// When an input happens: a deadline after all that is armed, anything else at 0.
pub(crate) fn at(input: &Input) -> i64 {
    match input {
        Input::Deadline { .. } => LATE,
        Input::Start
        | Input::Reply { .. }
        | Input::Undone { .. }
        | Input::CancelRequested { .. }
        | Input::Resume(_)
        | Input::Abandon(_) => 0,
    }
}

pub(crate) fn apply(definition: &Definition, state: &State, input: &Input) -> State {
    advance(definition, state.clone(), input, at(input)).state
}

/// One path, told in three lines.
pub(crate) struct Path {
    pub(crate) definition: Definition,
    pub(crate) state: State,
}

impl Path {
    pub(crate) fn given(definition: Definition, history: &[Input]) -> Self {
        let state = history.iter().fold(State::default(), |state, input| apply(&definition, &state, input));
        Self { definition, state }
    }

    /// Takes `input`, checks what it records (`step state reason`) and does, and that taking it again changes nothing.
    pub(crate) fn when(mut self, input: &Input, records: &[&str], does: &[Action]) -> Self {
        let turn = advance(&self.definition, self.state.clone(), input, at(input));
        assert_eq!(turn.events.iter().map(brief).collect::<Vec<_>>(), records, "{input:?} in {:?}", self.state);
        assert_eq!(turn.actions, does, "{input:?} in {:?}", self.state);
        assert_eq!(turn.events.iter().fold(self.state, evolve), turn.state);
        let again = advance(&self.definition, turn.state.clone(), input, at(input));
        assert_eq!(again.events, [], "{input:?} taken twice");
        self.state = turn.state;
        self
    }

    /// `input` comes too early, too late or twice.
    pub(crate) fn ignores(self, input: &Input) -> Self {
        self.when(input, &[], &[])
    }
}

fn brief(event: &Event) -> String {
    match event {
        Event::Started { step, .. } => format!("started {step}"),
        Event::StepRecorded { step, state, reason, by, deadline_at, .. } => {
            assert_eq!(deadline_at.is_some(), matches!(state, StepState::Sent | StepState::Undoing), "{event:?}");
            let by = by.iter().map(|by| format!("by {by}"));
            reason.iter().cloned().chain(by).fold(format!("{step} {state}"), |text, more| format!("{text} {more}"))
        }
        Event::Ended { outcome, .. } => format!("ended {outcome}"),
    }
}
