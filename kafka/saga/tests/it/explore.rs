//! Every reachable state under every input in every order, and what must hold in all of them.

use std::collections::{HashSet, VecDeque};

use saga::{Action, Answer, Decision, Definition, Event, Input, Kind, Outcome, State, Status, StepState, advance, awaited};

use crate::support::{apply, at, inputs, linear, parallel, wide};

/// Breadth first from the initial state; `check` sees every transition once.
fn explore(definition: &Definition, mut check: impl FnMut(&State, &Input, &State)) -> HashSet<State> {
    let inputs = inputs(definition);
    let mut seen = HashSet::from([State::default()]);
    let mut queue = VecDeque::from([State::default()]);
    while let Some(state) = queue.pop_front() {
        for input in &inputs {
            let next = apply(definition, &state, input);
            check(&state, input, &next);
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
        assert!(seen.len() < 100_000, "the state space is not small");
    }
    seen
}

fn sent_compensations(definition: &Definition, state: &State) -> usize {
    let undone = |progress: saga::Progress| matches!(progress.state, StepState::Undoing | StepState::Undone | StepState::UndoStuck);
    definition.before_pivot().filter(|step| state.progress(step.name).is_some_and(undone)).count()
}

#[test]
fn every_reachable_transition_keeps_the_invariants() {
    for definition in [parallel(), linear(), wide()] {
        let states = explore(&definition, |before, input, after| check_transition(&definition, before, input, after));
        assert!(states.len() > 20, "{}: {} states", definition.name(), states.len());
        for state in &states {
            check_state(&definition, state);
        }
        for outcome in [Outcome::Confirmed, Outcome::Cancelled] {
            assert!(states.iter().any(|state| state.status() == Status::Ended(outcome)));
        }
    }
}

fn check_transition(definition: &Definition, before: &State, input: &Input, after: &State) {
    let turn = advance(definition, before.clone(), input, at(input));
    assert_eq!(&turn.state, after);
    // Exactly one decision, announced once, when it becomes known.
    let announced: Vec<_> = turn.actions.iter().filter(|action| matches!(action, Action::Decide(_))).collect();
    match (before.decision(definition), after.decision(definition)) {
        (None, Some(decision)) => assert_eq!(announced, [&Action::Decide(decision)]),
        (earlier, later) => {
            assert_eq!(earlier, later, "{input:?} changed a decision in {before:?}");
            assert!(announced.is_empty());
        }
    }
    // Never confirmed after a compensation was sent, nor a compensation sent after the confirmation.
    if after.decision(definition) == Some(Decision::Confirmed) {
        assert_eq!(sent_compensations(definition, after), 0, "{input:?} in {before:?}");
    }
    // An ended saga is over; nothing is sent by an input that records nothing.
    if matches!(before.status(), Status::Ended(_)) {
        assert!(turn.events.is_empty());
    }
    assert!(!turn.events.is_empty() || turn.actions.is_empty());
    // Every input taken twice changes nothing the second time.
    assert_eq!(&apply(definition, after, input), after, "{input:?} twice in {before:?}");
    check_sends(definition, before, &turn.events, &turn.actions);
}

/// What is sent is what becomes awaited, each at most once in a saga's life.
fn check_sends(definition: &Definition, before: &State, events: &[Event], actions: &[Action]) {
    let after = events.iter().fold(before.clone(), saga::evolve);
    for action in actions {
        let Action::Send { step, command, compensation } = action else { continue };
        assert!(awaited(definition, &after).iter().any(|a| a.step == *step && a.command == *command && a.compensation == *compensation));
        let progress = before.progress(step).map(|progress| progress.state);
        if before.status() == Status::Stuck && matches!(progress, Some(StepState::Stuck | StepState::UndoStuck)) {
            // A person resumed it: the same message once more.
            assert_eq!(*compensation, progress == Some(StepState::UndoStuck));
        } else if *compensation {
            assert!(!matches!(progress, Some(StepState::Undoing | StepState::Undone | StepState::UndoStuck | StepState::Refused)));
        } else {
            assert_eq!(progress, None, "{step} sent twice");
        }
    }
    for newly in awaited(definition, &after) {
        let known = awaited(definition, before).iter().any(|a| a.step == newly.step && a.compensation == newly.compensation);
        let sent = actions.contains(&Action::Send { step: newly.step, command: newly.command, compensation: newly.compensation });
        assert!(known || sent, "{newly:?} is awaited and was not sent");
    }
}

fn check_state(definition: &Definition, state: &State) {
    let waiting = awaited(definition, state);
    let armed = state.armed();
    match state.status() {
        Status::NotStarted => assert!(waiting.is_empty() && armed.is_none()),
        Status::Ended(outcome) => {
            assert!(waiting.is_empty() && armed.is_none());
            match (outcome, state.decision(definition)) {
                (Outcome::Confirmed, Some(Decision::Confirmed)) | (Outcome::Cancelled, Some(Decision::Cancelled { .. })) => {}
                (_, decision) => panic!("ended {outcome} with {decision:?}"),
            }
        }
        Status::Running => {
            assert_eq!(waiting.len(), 1, "{state:?}");
            assert!(armed.is_some() && !waiting[0].compensation && state.cause().is_none());
        }
        Status::InDoubt => {
            assert_eq!(state.decision(definition), None);
            assert_eq!(waiting.len(), 1, "{state:?}");
            let Kind::Pivot { undone_by } = definition.pivot().kind else { panic!("no pivot") };
            assert_eq!(Some(waiting[0].step), undone_by);
        }
        Status::Compensating => {
            assert!(!waiting.is_empty() && waiting.iter().all(|awaited| awaited.compensation));
            assert!(armed.is_some() && matches!(state.decision(definition), Some(Decision::Cancelled { .. })));
        }
        Status::Stuck => {
            assert!(waiting.iter().any(|awaited| awaited.deadline_at.is_none()), "{state:?}");
            // A person can always move it on, either way, and abandoning never leaves it stuck on the same step.
            let resumed = apply(definition, state, &Input::resume("ann", "mended"));
            assert_ne!(resumed.status(), Status::Stuck, "{state:?}");
            assert_eq!(resumed.decision(definition), state.decision(definition));
            assert_eq!(awaited(definition, &resumed).len(), waiting.len());
            assert_ne!(apply(definition, state, &Input::abandon("ann", "by hand")).status(), Status::Stuck, "{state:?}");
        }
    }
    if state.status() != Status::Stuck {
        for input in [Input::resume("ann", "mended"), Input::abandon("ann", "by hand")] {
            assert_eq!(&apply(definition, state, &input), state, "only what is stuck is a person's to decide");
        }
    }
    // Once the pivot is passed nothing is undone, and the pivot is never undone by its own compensation.
    if state.decision(definition) == Some(Decision::Confirmed) {
        assert_eq!(state.cause(), None);
    }
    let json = serde_json::to_string(state).unwrap();
    assert_eq!(&serde_json::from_str::<State>(&json).unwrap(), state);
    assert!(json.len() < 700, "{json}");
    assert!(answer_everything(definition, state), "does not end from {state:?}");
}

/// Answers all that is awaited until the saga ends, as participants that always answer do.
fn answer_everything(definition: &Definition, state: &State) -> bool {
    let mut state = match state.status() {
        Status::NotStarted => apply(definition, state, &Input::Start),
        Status::Running | Status::InDoubt | Status::Compensating | Status::Stuck | Status::Ended(_) => state.clone(),
    };
    for _ in 0..20 {
        let Some(next) = awaited(definition, &state).into_iter().next() else { break };
        let answer = if next.compensation { Input::undone(next.step) } else { Input::reply(next.step, Answer::Done) };
        state = apply(definition, &state, &answer);
    }
    matches!(state.status(), Status::Ended(_))
}
