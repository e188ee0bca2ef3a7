//! Each path of the machine: given inputs / when one more / then records and actions.

use saga::{Action, Answer, Decision, Input, Outcome, Status};

use crate::support::{Path, linear, parallel, wide};

fn done(step: &str) -> Input {
    Input::reply(step, Answer::Done)
}

fn refused(step: &str, reason: &str) -> Input {
    Input::reply(step, Answer::refused(reason))
}

fn failed(step: &str) -> Input {
    Input::reply(step, Answer::failed("code"))
}

fn cancelled(reason: &str) -> Action {
    Action::Decide(Decision::Cancelled { reason: reason.to_owned() })
}

fn hold() -> Action {
    Action::send_command("hold", "Hold")
}
fn release() -> Action {
    Action::send_compensation("hold", "Release")
}
fn void() -> Action {
    Action::send_compensation("authorize", "Void")
}
fn capture() -> Action {
    Action::send_command("capture", "Capture")
}
fn commit() -> Action {
    Action::send_command("commit", "Commit")
}

#[test]
fn every_step_done_confirms_at_the_pivot_and_ends_after_the_last() {
    let path = Path::given(parallel(), &[])
        .when(&Input::Start, &["started hold"], &[hold()])
        .ignores(&done("authorize"))
        .ignores(&done("capture"))
        .ignores(&done("commit"))
        .when(&done("hold"), &["capture sent"], &[capture()])
        .when(&done("capture"), &["commit sent"], &[Action::Decide(Decision::Confirmed), commit()])
        .ignores(&Input::cancel("asked"))
        .ignores(&refused("authorize", "declined"))
        .ignores(&failed("authorize"))
        .when(&done("commit"), &["ended confirmed"], &[]);
    assert_eq!(path.state.status(), Status::Ended(Outcome::Confirmed));
    assert_eq!(path.state.armed(), None);
}

#[test]
fn a_refused_first_step_undoes_only_the_others() {
    Path::given(parallel(), &[Input::Start])
        .when(&refused("hold", "none_left"), &["hold refused none_left", "authorize undoing"], &[cancelled("none_left"), void()])
        .ignores(&done("hold"))
        .ignores(&Input::undone("hold"))
        .when(&Input::undone("authorize"), &["authorize undone", "ended cancelled"], &[]);
}

#[test]
fn a_refused_parallel_step_undoes_what_was_sent_without_its_own_compensation() {
    Path::given(parallel(), &[Input::Start])
        .when(&refused("authorize", "declined"), &["authorize refused declined", "hold undoing"], &[cancelled("declined"), release()])
        .ignores(&done("hold"))
        .when(&Input::undone("hold"), &["hold undone", "ended cancelled"], &[]);
}

#[test]
fn a_parallel_refusal_after_the_pivot_was_sent_ends_the_pivot_too() {
    Path::given(parallel(), &[Input::Start, done("hold")])
        .when(
            &refused("authorize", "declined"),
            &["authorize refused declined", "capture refused declined", "hold undoing"],
            &[cancelled("declined"), release()],
        )
        .ignores(&done("capture"))
        .when(&Input::undone("hold"), &["hold undone", "ended cancelled"], &[]);
}

#[test]
fn a_refusal_answers_a_compensation_under_way() {
    Path::given(parallel(), &[Input::Start, Input::cancel("asked")])
        .when(&refused("hold", "none_left"), &["hold refused none_left"], &[])
        .when(&refused("authorize", "declined"), &["authorize refused declined", "ended cancelled"], &[])
        .ignores(&Input::undone("authorize"));
}

#[test]
fn a_cancel_before_the_pivot_is_sent_undoes_everything_at_once() {
    Path::given(parallel(), &[Input::Start])
        .when(
            &Input::cancel("asked"),
            &["hold cancelled asked", "hold undoing", "authorize undoing"],
            &[cancelled("asked"), release(), void()],
        )
        .ignores(&Input::cancel("again"))
        .ignores(&done("hold"))
        .ignores(&failed("hold"))
        .ignores(&failed("authorize"))
        .when(&Input::undone("authorize"), &["authorize undone"], &[])
        .when(&Input::undone("hold"), &["hold undone", "ended cancelled"], &[]);
}

#[test]
fn a_deadline_before_the_pivot_is_sent_undoes_everything_at_once() {
    Path::given(parallel(), &[Input::Start]).ignores(&Input::deadline("capture")).when(
        &Input::deadline("hold"),
        &["hold expired deadline", "hold undoing", "authorize undoing"],
        &[cancelled("deadline"), release(), void()],
    );
}

#[test]
fn in_doubt_the_undoing_decides_and_the_rest_is_undone_after_it() {
    for (input, reason) in [(Input::cancel("asked"), "asked"), (Input::deadline("capture"), "deadline")] {
        let path = Path::given(parallel(), &[Input::Start, done("hold")])
            .when(&input, &[&format!("capture in_doubt {reason}"), "authorize undoing"], &[void()])
            .ignores(&done("capture"))
            .ignores(&failed("capture"))
            .ignores(&refused("capture", "late"))
            .ignores(&Input::cancel("again"))
            .ignores(&Input::undone("hold"));
        assert_eq!(path.state.status(), Status::InDoubt);
        path.when(&Input::undone("authorize"), &["authorize undone", "capture undone", "hold undoing"], &[cancelled(reason), release()])
            .when(&Input::undone("hold"), &["hold undone", "ended cancelled"], &[]);
    }
}

#[test]
fn in_doubt_a_refusal_ends_the_doubt_and_names_the_cause() {
    Path::given(parallel(), &[Input::Start, done("hold"), Input::cancel("asked")])
        .when(
            &refused("authorize", "declined"),
            &["authorize refused declined", "capture refused declined", "hold undoing"],
            &[cancelled("declined"), release()],
        )
        .ignores(&Input::undone("authorize"));
}

#[test]
fn an_overdue_undoing_in_doubt_is_stuck_until_its_answer() {
    let path = Path::given(parallel(), &[Input::Start, done("hold"), Input::cancel("asked")]).when(
        &Input::deadline("authorize"),
        &["authorize undo_stuck deadline"],
        &[],
    );
    assert_eq!(path.state.status(), Status::Stuck);
    path.when(&Input::undone("authorize"), &["authorize undone", "capture undone", "hold undoing"], &[cancelled("asked"), release()]);
}

#[test]
fn a_failed_step_is_not_undone_but_an_outside_effect_always_is() {
    Path::given(parallel(), &[Input::Start]).when(
        &failed("hold"),
        &["hold failed code", "authorize undoing"],
        &[cancelled("failed"), void()],
    );
    Path::given(parallel(), &[Input::Start]).when(
        &failed("authorize"),
        &["authorize failed code", "hold undoing", "authorize undoing"],
        &[cancelled("failed"), release(), void()],
    );
    Path::given(parallel(), &[Input::Start, done("hold")]).when(
        &failed("capture"),
        &["capture failed code", "hold undoing", "authorize undoing"],
        &[cancelled("failed"), release(), void()],
    );
}

#[test]
fn a_refused_pivot_undoes_everything() {
    Path::given(parallel(), &[Input::Start, done("hold")]).when(
        &refused("capture", "declined"),
        &["capture refused declined", "hold undoing", "authorize undoing"],
        &[cancelled("declined"), release(), void()],
    );
}

#[test]
fn a_parallel_failure_while_the_pivot_is_sent_is_a_doubt() {
    Path::given(parallel(), &[Input::Start, done("hold")])
        .when(&failed("authorize"), &["authorize failed code", "capture in_doubt failed", "authorize undoing"], &[void()])
        .ignores(&done("capture"))
        .when(&Input::undone("authorize"), &["authorize undone", "capture undone", "hold undoing"], &[cancelled("failed"), release()]);
}

#[test]
fn compensations_share_one_deadline_and_are_stuck_together() {
    let path = Path::given(parallel(), &[Input::Start, Input::cancel("asked")]).ignores(&Input::deadline("hold")).when(
        &Input::deadline("authorize"),
        &["hold undo_stuck deadline", "authorize undo_stuck deadline"],
        &[],
    );
    assert_eq!((path.state.status(), path.state.armed()), (Status::Stuck, None));
    let path = path.when(&Input::undone("hold"), &["hold undone"], &[]);
    assert_eq!(path.state.status(), Status::Stuck);
    path.when(&Input::undone("authorize"), &["authorize undone", "ended cancelled"], &[]);
}

#[test]
fn the_deadline_moves_to_the_compensation_that_is_left() {
    let path = Path::given(parallel(), &[Input::Start, Input::cancel("asked"), Input::undone("authorize")]);
    assert_eq!(path.state.armed().map(|armed| armed.step), Some("hold"));
    path.when(&Input::deadline("hold"), &["hold undo_stuck deadline"], &[]);
}

#[test]
fn after_the_pivot_an_overdue_step_is_stuck_and_resumed_by_its_answer() {
    let path = Path::given(parallel(), &[Input::Start, done("hold"), done("capture")]).when(
        &Input::deadline("commit"),
        &["commit stuck deadline"],
        &[],
    );
    assert_eq!(path.state.status(), Status::Stuck);
    path.ignores(&Input::cancel("asked")).ignores(&refused("commit", "no")).when(&done("commit"), &["ended confirmed"], &[]);
}

#[test]
fn a_step_refused_or_failed_after_the_pivot_is_stuck_at_once() {
    for (answer, reason) in [(refused("commit", "no"), "no"), (failed("commit"), "code")] {
        Path::given(parallel(), &[Input::Start, done("hold"), done("capture")])
            .when(&answer, &[&format!("commit stuck {reason}")], &[])
            .when(&done("commit"), &["ended confirmed"], &[]);
    }
}

#[test]
fn a_pivot_that_nothing_undoes_is_only_awaited() {
    let until_charge = [Input::Start, done("seat"), done("check"), done("room")];
    let path = Path::given(linear(), &until_charge).ignores(&Input::cancel("asked")).when(
        &Input::deadline("charge"),
        &["charge stuck deadline"],
        &[],
    );
    let ticket = Action::send_command("ticket", "PrintTicket");
    path.ignores(&Input::cancel("asked")).when(&done("charge"), &["ticket sent"], &[Action::Decide(Decision::Confirmed), ticket]);
    let undo = [Action::send_compensation("seat", "CancelSeat"), Action::send_compensation("room", "CancelRoom")];
    let mut stuck = until_charge.to_vec();
    stuck.push(Input::deadline("charge"));
    Path::given(linear(), &stuck).when(
        &refused("charge", "poor"),
        &["charge refused poor", "seat undoing", "room undoing"],
        &[cancelled("poor"), undo[0].clone(), undo[1].clone()],
    );
}

#[test]
fn a_step_without_compensation_is_given_up_and_steps_not_reached_are_left_alone() {
    let path = Path::given(linear(), &[Input::Start, done("seat")]).when(
        &Input::cancel("asked"),
        &["check cancelled asked", "seat undoing"],
        &[cancelled("asked"), Action::send_compensation("seat", "CancelSeat")],
    );
    path.ignores(&done("check")).ignores(&Input::undone("room")).when(&Input::undone("seat"), &["seat undone", "ended cancelled"], &[]);
    Path::given(linear(), &[Input::Start]).when(&refused("seat", "full"), &["seat refused full", "ended cancelled"], &[cancelled("full")]);
}

#[test]
fn a_parallel_step_without_compensation_can_turn_the_saga_back_and_in_doubt() {
    Path::given(wide(), &[Input::Start])
        .when(
            &refused("score", "low"),
            &["score refused low", "reserve undoing", "hold undoing"],
            &[cancelled("low"), Action::send_compensation("reserve", "Unreserve"), release()],
        )
        .ignores(&done("hold"));
    Path::given(wide(), &[Input::Start, done("hold")])
        .when(&refused("score", "low"), &["score refused low", "pay in_doubt low", "hold undoing"], &[release()])
        .ignores(&refused("reserve", "no"))
        .when(
            &Input::undone("hold"),
            &["hold undone", "pay undone", "reserve undoing"],
            &[cancelled("low"), Action::send_compensation("reserve", "Unreserve")],
        );
}

#[test]
fn a_stuck_step_is_resumed_by_a_person_with_the_same_message_and_a_new_deadline() {
    let stuck = [Input::Start, done("hold"), done("capture"), Input::deadline("commit")];
    let path = Path::given(parallel(), &stuck).when(&Input::resume("ann", "mended"), &["commit sent mended by ann"], &[commit()]);
    assert_eq!((path.state.status(), path.state.armed().map(|armed| armed.step)), (Status::Running, Some("commit")));
    path.when(&Input::deadline("commit"), &["commit stuck deadline"], &[])
        .when(&Input::resume("bob", "again"), &["commit sent again by bob"], &[commit()])
        .when(&done("commit"), &["ended confirmed"], &[]);
}

#[test]
fn stuck_compensations_are_resumed_together() {
    let stuck = [Input::Start, Input::cancel("asked"), Input::deadline("authorize")];
    Path::given(parallel(), &stuck)
        .when(&Input::resume("ann", "mended"), &["hold undoing mended by ann", "authorize undoing mended by ann"], &[release(), void()])
        .when(&Input::undone("hold"), &["hold undone"], &[])
        .when(&Input::undone("authorize"), &["authorize undone", "ended cancelled"], &[]);
}

#[test]
fn an_abandoned_step_after_the_pivot_counts_as_done() {
    let stuck = [Input::Start, done("hold"), done("capture"), Input::deadline("commit")];
    Path::given(parallel(), &stuck)
        .when(&Input::abandon("ann", "shipped by hand"), &["commit abandoned shipped by hand by ann", "ended confirmed"], &[])
        .ignores(&done("commit"));
}

#[test]
fn an_abandoned_compensation_counts_as_undone_and_in_doubt_the_rest_is_undone_after_it() {
    let stuck = [Input::Start, done("hold"), Input::cancel("asked"), Input::deadline("authorize")];
    let path = Path::given(parallel(), &stuck).when(
        &Input::abandon("ann", "paid back by hand"),
        &["authorize abandoned paid back by hand by ann", "capture abandoned paid back by hand", "hold undoing"],
        &[cancelled("asked"), release()],
    );
    path.ignores(&Input::undone("authorize")).when(&Input::undone("hold"), &["hold undone", "ended cancelled"], &[]);
    let both = [Input::Start, Input::cancel("asked"), Input::deadline("authorize")];
    Path::given(parallel(), &both).when(
        &Input::abandon("ann", "by hand"),
        &["hold abandoned by hand by ann", "authorize abandoned by hand by ann", "ended cancelled"],
        &[],
    );
}

#[test]
fn an_abandoned_pivot_that_nothing_undoes_counts_as_failed() {
    let stuck = [Input::Start, done("seat"), done("check"), done("room"), Input::deadline("charge")];
    Path::given(linear(), &stuck)
        .when(
            &Input::abandon("ann", "no trace of it"),
            &["charge failed no trace of it by ann", "seat undoing", "room undoing"],
            &[cancelled("failed"), Action::send_compensation("seat", "CancelSeat"), Action::send_compensation("room", "CancelRoom")],
        )
        .ignores(&done("charge"));
}
