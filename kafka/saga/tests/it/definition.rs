//! What makes a definition valid, and how it is drawn.

use std::time::Duration;

use saga::{Armed, Compensation, Definition, Input, Invalid, Outcome, State, Step, StepState, advance};

use crate::support::parallel;

fn step(name: &'static str) -> Step {
    Step::command(name, "Do")
}

fn pivot() -> Step {
    Step::pivot("pivot", "Do", None)
}

#[test]
fn a_definition_is_checked_when_it_is_built() {
    let undo = Compensation::command("Undo");
    let cases = [
        (vec![], Invalid::NoPivot),
        (vec![step("a")], Invalid::NoPivot),
        (vec![step("a"), step("a"), pivot()], Invalid::DuplicateStep("a")),
        (vec![pivot(), Step::pivot("b", "Do", None)], Invalid::SecondPivot("b")),
        (vec![pivot(), step("a")], Invalid::WrongSide("a")),
        (vec![Step::retriable("a", "Do"), pivot()], Invalid::WrongSide("a")),
        (vec![pivot().compensated_by(undo)], Invalid::CompensationAfterPivot("pivot")),
        (vec![pivot(), Step::retriable("a", "Do").compensated_by(undo)], Invalid::CompensationAfterPivot("a")),
        (vec![pivot(), Step { sent_by: saga::SentBy::Event("E"), ..Step::retriable("a", "Do") }], Invalid::TriggeredAfterPivot("a")),
        (vec![step("a"), Step::pivot("p", "Do", Some("a"))], Invalid::UnknownUndo("a")),
        (vec![Step::pivot("p", "Do", Some("b"))], Invalid::UnknownUndo("b")),
        (vec![Step::triggered("a", "E"), pivot()], Invalid::NoUndo("a")),
        (vec![step("a").within(Duration::ZERO), pivot()], Invalid::ZeroDeadline("a")),
    ];
    for (steps, fault) in cases {
        assert_eq!(Definition::new("d", 1, steps), Err(fault));
    }
    assert!(Definition::new("d", 1, vec![pivot()]).is_ok());
}

#[test]
fn the_deadline_is_armed_from_the_definition_and_can_be_replaced() {
    let start = |definition: &Definition| advance(definition, State::default(), &Input::Start, 1_000).state;
    let state = start(&parallel());
    assert_eq!(state.armed(), Some(Armed { at: 1_000 + 15 * 60 * 1_000_000, step: "hold" }));
    assert_eq!(state.shape(), Some(("parallel", 3)));
    let state = start(&parallel().with_deadline(Duration::from_millis(5)).unwrap());
    assert_eq!(state.armed(), Some(Armed { at: 6_000, step: "hold" }));
    let state = start(&parallel().with_deadline(Duration::MAX).unwrap());
    assert_eq!(state.armed(), Some(Armed { at: i64::MAX, step: "hold" }));
    assert_eq!(parallel().with_deadline(Duration::ZERO), Err(Invalid::ZeroDeadline("capture")));
}

#[test]
fn a_deadline_that_is_not_due_is_ignored() {
    let definition = parallel();
    let state = advance(&definition, State::default(), &Input::Start, 0).state;
    let due = state.armed().unwrap().at;
    assert_eq!(saga::decide(&definition, &state, &Input::deadline("hold"), due - 1), []);
    assert_ne!(saga::decide(&definition, &state, &Input::deadline("hold"), due), []);
}

#[test]
fn wire_strings_round_trip() {
    for state in StepState::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
    }
    for outcome in [Outcome::Confirmed, Outcome::Cancelled] {
        assert_eq!(outcome.as_str().parse(), Ok(outcome));
    }
    assert_eq!("odd".parse::<StepState>().unwrap_err().to_string(), "unknown saga state \"odd\"");
}

#[test]
fn a_definition_draws_itself() {
    assert_eq!(parallel().mermaid(), include_str!("golden/parallel.mmd"));
}
