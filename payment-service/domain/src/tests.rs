//! Given (facts) and asked effects / when (message or answer) / then (facts, asks and drops).

use uuid::Uuid;
use values::{Currency, Money};

use crate::{
    Account, Ask, Asked, Card, Cause, Command, Decision, Disagreement, Effects, Entry, Event, Fact, Outcome, Payment, Progress, Step,
    complete, decide, entries, evolve,
};

const ORDER: Cause = cause(1);
const CAPTURE: Cause = cause(2);
const VOID: Cause = cause(3);

const fn cause(id: u128) -> Cause {
    Cause(Uuid::from_u128(id))
}

const fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

fn fact(cause: Cause, event: Event) -> Fact {
    Fact { cause, event }
}

fn authorized() -> Fact {
    fact(ORDER, Event::Authorized { amount: usd(500) })
}

fn captured() -> Fact {
    fact(CAPTURE, Event::Captured { amount: usd(500) })
}

fn declined(cause: Cause) -> Fact {
    fact(cause, Event::Declined { code: "card_declined".to_owned() })
}

fn failed(cause: Cause, step: Step, code: &str) -> Fact {
    fact(cause, Event::StepFailed { step: step.as_str().to_owned(), code: code.to_owned() })
}

fn given(facts: &[Fact]) -> Payment {
    facts.iter().fold(Payment::default(), evolve)
}

fn asked(steps: &[(Step, Cause, Progress)]) -> Effects {
    let mut effects = Effects::default();
    for (step, cause, progress) in steps {
        effects.set(*step, Asked { cause: *cause, progress: *progress });
    }
    effects
}

const PLACED: Command = Command::OrderPlaced { total: usd(500), card: Card::Given };
const TAKE: Command = Command::Capture { amount: usd(500), card: Card::Given };

fn asks(ask: &[Ask]) -> Decision {
    Decision { ask: ask.to_vec(), ..Decision::default() }
}

fn facts(facts: &[Fact]) -> Decision {
    Decision { facts: facts.to_vec(), ..Decision::default() }
}

fn nothing() -> Decision {
    Decision::default()
}

fn refused() -> Outcome {
    Outcome::Declined { code: "card_declined".to_owned() }
}

#[test]
fn a_placed_order_asks_for_its_authorization_once() {
    assert_eq!(decide(&given(&[]), &asked(&[]), ORDER, &PLACED), asks(&[Ask::Authorize { amount: usd(500) }]));
    let under_way = asked(&[(Step::Authorize, ORDER, Progress::Pending)]);
    assert_eq!(decide(&given(&[]), &under_way, ORDER, &PLACED), nothing());
    assert_eq!(decide(&given(&[authorized()]), &asked(&[]), ORDER, &PLACED), nothing(), "also when the effects are lost");
}

#[test]
fn a_capture_queues_behind_the_authorization() {
    let under_way = asked(&[(Step::Authorize, ORDER, Progress::Calling)]);
    assert_eq!(decide(&given(&[]), &under_way, CAPTURE, &TAKE), asks(&[Ask::Capture { amount: usd(500) }]));
}

#[test]
fn a_capture_that_overtakes_its_order_asks_for_both() {
    let both = asks(&[Ask::Authorize { amount: usd(500) }, Ask::Capture { amount: usd(500) }]);
    assert_eq!(decide(&given(&[]), &asked(&[]), CAPTURE, &TAKE), both);
    let under_way = asked(&[(Step::Authorize, CAPTURE, Progress::Pending), (Step::Capture, CAPTURE, Progress::Pending)]);
    assert_eq!(decide(&given(&[]), &under_way, ORDER, &PLACED), nothing());
}

#[test]
fn a_capture_after_a_decline_is_declined_without_a_call_and_once() {
    let history = [declined(ORDER)];
    assert_eq!(decide(&given(&history), &asked(&[]), CAPTURE, &TAKE), facts(&[declined(CAPTURE)]));
    let history = [declined(ORDER), declined(CAPTURE)];
    assert_eq!(decide(&given(&history), &asked(&[]), CAPTURE, &TAKE), nothing());
}

#[test]
fn a_capture_after_a_failed_authorization_fails_without_a_call_and_once() {
    let died = failed(ORDER, Step::Authorize, "provider_refused");
    let told = failed(CAPTURE, Step::Capture, "provider_refused");
    assert_eq!(decide(&given(std::slice::from_ref(&died)), &asked(&[]), CAPTURE, &TAKE), facts(std::slice::from_ref(&told)));
    assert_eq!(decide(&given(&[died.clone(), told.clone()]), &asked(&[]), CAPTURE, &TAKE), nothing());
    let effects = asked(&[(Step::Authorize, ORDER, Progress::Calling), (Step::Capture, CAPTURE, Progress::Pending)]);
    let outcome = Outcome::AuthorizeFailed { code: "provider_refused".to_owned() };
    let decision = Decision { drop: vec![Step::Capture], ..facts(&[died, told]) };
    assert_eq!(complete(&given(&[]), &effects, &outcome), Ok(decision), "also when it waited behind it");
}

#[test]
fn a_decline_ends_the_capture_queued_behind_it() {
    let effects = asked(&[(Step::Authorize, ORDER, Progress::Calling), (Step::Capture, CAPTURE, Progress::Pending)]);
    let decision = Decision { drop: vec![Step::Capture], ..facts(&[declined(ORDER), declined(CAPTURE)]) };
    assert_eq!(complete(&given(&[]), &effects, &refused()), Ok(decision));
    let effects = asked(&[(Step::Authorize, CAPTURE, Progress::Calling), (Step::Capture, CAPTURE, Progress::Pending)]);
    let decision = Decision { drop: vec![Step::Capture], ..facts(&[declined(CAPTURE)]) };
    assert_eq!(complete(&given(&[]), &effects, &refused()), Ok(decision), "one message is told once");
}

#[test]
fn no_card_at_all_is_a_decline() {
    let placed = Command::OrderPlaced { total: usd(500), card: Card::Missing };
    assert_eq!(decide(&given(&[]), &asked(&[]), ORDER, &placed), nothing());
    let capture = Command::Capture { amount: usd(500), card: Card::Missing };
    let told = fact(CAPTURE, Event::Declined { code: "payment_token_missing".to_owned() });
    assert_eq!(decide(&given(&[]), &asked(&[]), CAPTURE, &capture), facts(&[told]));
}

#[test]
fn more_than_is_authorized_is_never_asked_for() {
    for amount in [usd(501), Money::new(500, "EUR".parse().unwrap())] {
        let decision = decide(&given(&[authorized()]), &asked(&[]), CAPTURE, &Command::Capture { amount, card: Card::Given });
        assert_eq!(decision, facts(&[failed(CAPTURE, Step::Capture, "amount_not_authorized")]));
    }
}

#[test]
fn a_void_is_always_asked_of_the_provider() {
    for history in [vec![], vec![authorized()], vec![declined(ORDER)], vec![authorized(), captured()]] {
        assert_eq!(decide(&given(&history), &asked(&[]), VOID, &Command::Void), asks(&[Ask::Void]), "{history:?}");
    }
}

#[test]
fn a_void_drops_what_waits_and_follows_what_is_being_called() {
    let effects = asked(&[(Step::Authorize, ORDER, Progress::Calling), (Step::Capture, CAPTURE, Progress::Pending)]);
    let decision = Decision { drop: vec![Step::Capture], ..asks(&[Ask::Void]) };
    assert_eq!(decide(&given(&[]), &effects, VOID, &Command::Void), decision);
    let effects = asked(&[(Step::Authorize, ORDER, Progress::Unknown), (Step::Capture, CAPTURE, Progress::Pending)]);
    let decision = Decision { drop: vec![Step::Authorize, Step::Capture], ..asks(&[Ask::Void]) };
    assert_eq!(decide(&given(&[]), &effects, VOID, &Command::Void), decision);
}

#[test]
fn once_a_void_was_asked_for_nothing_else_is() {
    let effects = asked(&[(Step::Void, VOID, Progress::Pending)]);
    for command in [PLACED, TAKE, Command::Void] {
        assert_eq!(decide(&given(&[]), &effects, cause(9), &command), nothing(), "{command:?}");
    }
    let voided = given(&[fact(VOID, Event::Voided)]);
    for command in [PLACED, TAKE, Command::Void] {
        assert_eq!(decide(&voided, &asked(&[]), cause(9), &command), nothing(), "{command:?}");
    }
}

#[test]
fn what_completes_under_a_void_is_not_published() {
    let outcomes = [
        (Step::Authorize, Outcome::Authorized { amount: usd(500) }),
        (Step::Authorize, refused()),
        (Step::Authorize, Outcome::AuthorizeFailed { code: "voided".to_owned() }),
        (Step::Capture, Outcome::Captured { amount: usd(500) }),
        (Step::Capture, Outcome::CaptureFailed { code: "voided".to_owned() }),
    ];
    for (step, outcome) in outcomes {
        let effects = asked(&[(step, ORDER, Progress::Calling), (Step::Void, VOID, Progress::Pending)]);
        assert_eq!(complete(&given(&[authorized()]), &effects, &outcome), Ok(nothing()), "{outcome:?}");
    }
}

#[test]
fn a_void_is_answered_by_what_it_undid() {
    let effects = asked(&[(Step::Void, VOID, Progress::Calling)]);
    let voided = facts(&[fact(VOID, Event::Voided)]);
    for history in [vec![], vec![authorized()], vec![declined(ORDER)]] {
        assert_eq!(complete(&given(&history), &effects, &Outcome::Voided), Ok(voided.clone()), "{history:?}");
    }
    let refund = Outcome::Refunded { amount: usd(500) };
    let refunded = facts(&[fact(VOID, Event::Refunded { amount: usd(500) })]);
    assert_eq!(complete(&given(&[authorized(), captured()]), &effects, &refund), Ok(refunded));
    assert_eq!(complete(&given(&[authorized()]), &effects, &refund), Ok(voided), "the capture under way was never published");
}

#[test]
fn answers_that_contradict_the_books_are_not_published() {
    let effects = asked(&[(Step::Void, VOID, Progress::Calling)]);
    let state = given(&[authorized(), captured()]);
    for outcome in [Outcome::Voided, Outcome::Refunded { amount: usd(499) }] {
        let disagreement = Disagreement { outcome: outcome.clone(), payment: state.clone() };
        assert_eq!(complete(&state, &effects, &outcome), Err(disagreement));
    }
}

#[test]
fn a_late_answer_changes_nothing() {
    for progress in [Progress::Pending, Progress::Unknown, Progress::Done, Progress::Dropped] {
        let effects = asked(&[(Step::Authorize, ORDER, progress)]);
        assert_eq!(complete(&given(&[]), &effects, &Outcome::Authorized { amount: usd(500) }), Ok(nothing()), "{progress:?}");
    }
}

#[test]
fn a_capture_that_dies_leaves_the_authorization_for_the_void() {
    let effects = asked(&[(Step::Capture, CAPTURE, Progress::Calling)]);
    let death = failed(CAPTURE, Step::Capture, "unknown_authorization");
    let outcome = Outcome::CaptureFailed { code: "unknown_authorization".to_owned() };
    assert_eq!(complete(&given(&[authorized()]), &effects, &outcome), Ok(facts(std::slice::from_ref(&death))));
    let state = given(&[authorized(), death]);
    assert_eq!(state.open_authorization(), Some(usd(500)));
    assert_eq!(decide(&state, &asked(&[]), CAPTURE, &TAKE), nothing());
    assert_eq!(decide(&state, &asked(&[]), VOID, &Command::Void), asks(&[Ask::Void]));
}

#[test]
fn a_message_that_died_is_answered_and_fenced_off() {
    let give_up = Command::GiveUpAuthorize { code: "undecodable".to_owned() };
    let death = failed(ORDER, Step::Authorize, "undecodable");
    assert_eq!(decide(&given(&[]), &asked(&[]), ORDER, &give_up), facts(std::slice::from_ref(&death)));
    let state = given(&[death]);
    assert_eq!(decide(&state, &asked(&[]), ORDER, &PLACED), nothing(), "also when it is sent again");
    assert_eq!(decide(&state, &asked(&[]), VOID, &Command::Void), asks(&[Ask::Void]));
    let overtaken = asked(&[(Step::Authorize, CAPTURE, Progress::Pending), (Step::Capture, CAPTURE, Progress::Pending)]);
    assert_eq!(decide(&given(&[]), &overtaken, ORDER, &give_up), nothing(), "the capture asked for it already");

    let give_up = Command::GiveUpCapture { code: "undecodable".to_owned() };
    let death = failed(CAPTURE, Step::Capture, "undecodable");
    for history in [vec![], vec![authorized()]] {
        assert_eq!(decide(&given(&history), &asked(&[]), CAPTURE, &give_up), facts(std::slice::from_ref(&death)), "{history:?}");
        let state = given(&[history, vec![death.clone()]].concat());
        assert_eq!(decide(&state, &asked(&[]), CAPTURE, &TAKE), nothing());
        assert_eq!(decide(&state, &asked(&[]), CAPTURE, &give_up), nothing());
        assert_eq!(decide(&state, &asked(&[]), ORDER, &PLACED), nothing());
    }
    assert_eq!(decide(&given(&[declined(ORDER)]), &asked(&[]), CAPTURE, &give_up), facts(&[declined(CAPTURE)]));
}

#[test]
fn an_authorization_under_way_when_the_capture_dies_is_booked_for_the_void() {
    let effects = asked(&[(Step::Authorize, ORDER, Progress::Calling)]);
    let state = given(&[failed(CAPTURE, Step::Capture, "undecodable")]);
    assert_eq!(state.open_authorization(), None);
    assert_eq!(complete(&state, &effects, &Outcome::Authorized { amount: usd(500) }), Ok(facts(&[authorized()])));
    let state = evolve(state, &authorized());
    assert_eq!(state.open_authorization(), Some(usd(500)));
    let state = given(&[failed(CAPTURE, Step::Capture, "undecodable")]);
    assert_eq!(complete(&state, &effects, &refused()), Ok(facts(&[declined(ORDER)])));
}

#[test]
fn the_books_are_double() {
    let entry = |account, minor| Entry { account, amount: usd(minor) };
    assert_eq!(entries(&given(&[]), &authorized().event), [entry(Account::Customer, -500), entry(Account::Authorized, 500)]);
    let part = Event::Captured { amount: usd(400) };
    let booked = [entry(Account::Authorized, -500), entry(Account::Captured, 400), entry(Account::Customer, 100)];
    assert_eq!(entries(&given(&[authorized()]), &part), booked);
    assert_eq!(entries(&given(&[authorized()]), &Event::Voided), [entry(Account::Authorized, -500), entry(Account::Customer, 500)]);
    assert_eq!(entries(&given(&[]), &Event::Voided), []);
    let refund = Event::Refunded { amount: usd(500) };
    assert_eq!(entries(&given(&[authorized(), captured()]), &refund), [entry(Account::Captured, -500), entry(Account::Customer, 500)]);
}

#[test]
fn every_state_survives_its_json() {
    let refund = fact(VOID, Event::Refunded { amount: usd(500) });
    let voided = fact(VOID, Event::Voided);
    let dead = failed(CAPTURE, Step::Capture, "x");
    let histories = [
        vec![],
        vec![authorized()],
        vec![authorized(), dead.clone()],
        vec![dead],
        vec![declined(ORDER), declined(CAPTURE)],
        vec![authorized(), captured()],
        vec![voided.clone()],
        vec![authorized(), voided],
        vec![authorized(), captured(), refund],
    ];
    for history in histories {
        let state = given(&history);
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<Payment>(&json).unwrap(), state, "{json}");
    }
}
