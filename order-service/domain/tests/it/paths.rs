//! The order saga's own paths, in the words of its messages. The machine's general behaviour is tested in crate `saga`.

use order_domain::{AUTHORIZE, CAPTURE, COMMIT, CancelReason, Command, HOLD, command, order_saga};
use saga::{Action, Answer, Definition, Input, State, Status, advance};

const LATE: i64 = i64::MAX / 2;

fn reserved() -> Input {
    Input::reply(HOLD, Answer::Done)
}
fn captured() -> Input {
    Input::reply(CAPTURE, Answer::Done)
}
fn declined() -> Input {
    Input::reply(AUTHORIZE, Answer::refused("payment_declined"))
}

/// Names of commands sent and decisions taken by the last input of `inputs`, the others having gone before.
fn then(inputs: &[Input]) -> (Vec<String>, State) {
    let definition = order_saga().unwrap();
    let (mut said, mut state) = (Vec::new(), State::default());
    for input in std::iter::once(&Input::Start).chain(inputs) {
        let turn = take(&definition, state, input);
        said = turn.actions.iter().map(name).collect();
        state = turn.state;
    }
    (said, state)
}

fn take(definition: &Definition, state: State, input: &Input) -> saga::Turn {
    let now = if matches!(input, Input::Deadline { .. }) { LATE } else { 0 };
    advance(definition, state, input, now)
}

fn name(action: &Action) -> String {
    match action {
        Action::Send { command, .. } => (*command).to_owned(),
        Action::Decide(decision) => match command(decision, 0) {
            Command::Confirm { .. } => "confirmed".to_owned(),
            Command::Cancel { reason, .. } => format!("cancelled: {reason}"),
            Command::Place(_) => "placed".to_owned(),
        },
    }
}

#[test]
fn the_definition_is_the_agreed_one() {
    assert_eq!(order_saga().unwrap().mermaid(), include_str!("golden/order_saga.mmd"));
}

#[test]
fn an_order_is_confirmed_by_the_capture() {
    assert_eq!(then(&[]).0, ["CreateInventoryHold"]);
    assert_eq!(then(&[reserved()]).0, ["CapturePayment"]);
    assert_eq!(then(&[reserved(), captured()]).0, ["confirmed", "CommitInventoryHold"]);
    let (said, state) = then(&[reserved(), captured(), Input::reply(COMMIT, Answer::Done)]);
    assert_eq!((said.len(), state.status()), (0, Status::Ended(saga::Outcome::Confirmed)));
}

#[test]
fn rejected_stock_voids_the_payment() {
    let rejected = Input::reply(HOLD, Answer::refused("out_of_stock"));
    assert_eq!(then(std::slice::from_ref(&rejected)).0, ["cancelled: out_of_stock", "VoidPayment"]);
    let (_, state) = then(&[rejected, Input::undone(AUTHORIZE)]);
    assert_eq!(state.status(), Status::Ended(saga::Outcome::Cancelled));
}

#[test]
fn a_declined_payment_releases_the_stock_whenever_it_comes() {
    let release = ["cancelled: payment_declined", "ReleaseInventoryHold"];
    assert_eq!(then(&[declined()]).0, release);
    assert_eq!(then(&[reserved(), declined()]).0, release);
    assert_eq!(then(&[reserved(), Input::cancel("cancelled_by_customer"), declined()]).0, release);
}

#[test]
fn a_cancel_or_a_deadline_before_the_capture_undoes_both() {
    for (input, reason) in [(Input::cancel("cancelled_by_customer"), "cancelled_by_customer"), (Input::deadline(HOLD), "deadline")] {
        assert_eq!(then(&[input]).0, [format!("cancelled: {reason}"), "ReleaseInventoryHold".to_owned(), "VoidPayment".to_owned()]);
    }
}

#[test]
fn a_cancel_or_a_deadline_in_doubt_lets_the_void_decide() {
    for (input, reason) in [(Input::cancel("cancelled_by_customer"), "cancelled_by_customer"), (Input::deadline(CAPTURE), "deadline")] {
        assert_eq!(then(&[reserved(), input.clone()]).0, ["VoidPayment"]);
        assert!(then(&[reserved(), input.clone(), captured()]).0.is_empty());
        let (said, _) = then(&[reserved(), input, captured(), Input::undone(AUTHORIZE)]);
        assert_eq!(said, [format!("cancelled: {reason}"), "ReleaseInventoryHold".to_owned()]);
    }
}

#[test]
fn a_failed_step_before_the_pivot_always_voids_the_payment() {
    let failed = |step: &str| Input::reply(step, Answer::failed("code"));
    assert_eq!(then(&[failed(HOLD)]).0, ["cancelled: failed", "VoidPayment"]);
    assert_eq!(then(&[failed(AUTHORIZE)]).0, ["cancelled: failed", "ReleaseInventoryHold", "VoidPayment"]);
    assert_eq!(then(&[reserved(), failed(CAPTURE)]).0, ["cancelled: failed", "ReleaseInventoryHold", "VoidPayment"]);
}

#[test]
fn after_the_capture_nothing_is_undone() {
    for input in [Input::cancel("cancelled_by_customer"), declined(), Input::deadline(COMMIT), Input::reply(COMMIT, Answer::failed("code"))]
    {
        assert!(then(&[reserved(), captured(), input]).0.is_empty());
    }
    assert_eq!(then(&[reserved(), captured(), Input::deadline(COMMIT)]).1.status(), Status::Stuck);
}

#[test]
fn every_cause_is_a_reason() {
    for cause in [saga::CAUSE_DEADLINE, saga::CAUSE_FAILED] {
        assert_eq!(order_domain::reason(cause).as_str(), cause);
    }
    assert_eq!(order_domain::reason("from a later version"), CancelReason::Failed);
}
