use super::*;
use proptest::prelude::*;

const AMOUNT: Money = Money::new(500, Currency::USD);
const TAKE: Call = Call::Capture { amount: AMOUNT };

fn pay(mood: Mood) -> Call {
    Call::Authorize { amount: AMOUNT, mood }
}

type Answer = Result<Option<Undone>, Refusal>;

/// The answers to `calls`, one after the other, and the books they leave.
fn answers(calls: &[Call]) -> (Option<State>, Vec<Answer>) {
    let mut row = None;
    let answers = calls.iter().map(|call| {
        let (next, reply) = operate(row, *call);
        row = next;
        reply.result
    });
    let answers = answers.collect();
    (row.map(|row| row.state), answers)
}

#[test]
fn a_fine_card_pays_and_every_repeat_gets_the_same_answer() {
    let (state, replies) = answers(&[pay(Mood::Fine), pay(Mood::Fine), TAKE, TAKE, pay(Mood::Fine)]);
    assert_eq!((state, replies), (Some(State::Captured), vec![Ok(None); 5]));
}

#[test]
fn a_declined_card_stays_declined() {
    let declined = Err(Refusal::Declined("card_declined"));
    let not_authorized = Err(Refusal::Permanent("not_authorized"));
    let (state, replies) = answers(&[pay(Mood::Declined), pay(Mood::Declined), TAKE, Call::Void, pay(Mood::Declined)]);
    assert_eq!(state, Some(State::Declined));
    assert_eq!(replies, vec![declined, declined, not_authorized, Ok(Some(Undone::Voided)), declined]);
}

#[test]
fn a_flaky_card_fails_twice_for_each_operation_and_does_nothing_then() {
    let failed = Err(Refusal::Transient("the provider failed"));
    let calls = [pay(Mood::Flaky), pay(Mood::Flaky), pay(Mood::Flaky), TAKE, TAKE, TAKE, Call::Void, Call::Void, Call::Void];
    let (state, replies) = answers(&calls);
    assert_eq!(state, Some(State::Refunded));
    assert_eq!(replies, vec![failed, failed, Ok(None), failed, failed, Ok(None), failed, failed, Ok(Some(Undone::Refunded(AMOUNT)))]);
    assert_eq!(answers(&calls[..2]).0, Some(State::None));
    assert_eq!(answers(&calls[..5]).0, Some(State::Authorized));
}

#[test]
fn a_lost_answer_comes_after_the_effect() {
    let lost = Err(Refusal::Transient("the answer was lost"));
    let calls = [pay(Mood::Timeout), pay(Mood::Timeout), TAKE, TAKE, Call::Void, Call::Void];
    let (state, replies) = answers(&calls);
    assert_eq!(state, Some(State::Refunded));
    assert_eq!(replies, vec![lost, Ok(None), lost, Ok(None), lost, Ok(Some(Undone::Refunded(AMOUNT)))]);
    assert_eq!(answers(&calls[..1]).0, Some(State::Authorized));
    assert_eq!(answers(&calls[..3]).0, Some(State::Captured));
}

#[test]
fn a_slow_card_answers_later() {
    let (row, reply) = operate(None, pay(Mood::Slow));
    assert_eq!((reply.result, reply.after), (Ok(None), SLOW));
    assert_eq!(operate(row, TAKE).1.after, SLOW);
}

#[test]
fn a_void_of_an_unknown_key_blocks_it_for_ever() {
    let voided = Err(Refusal::Permanent("voided"));
    let (state, replies) = answers(&[Call::Void, pay(Mood::Fine), TAKE, Call::Void, pay(Mood::Fine)]);
    assert_eq!(state, Some(State::Blocked));
    assert_eq!(replies, vec![Ok(Some(Undone::Voided)), voided, voided, Ok(Some(Undone::Voided)), voided]);
}

#[test]
fn a_capture_of_an_unknown_key_leaves_nothing() {
    assert_eq!(answers(&[TAKE]), (None, vec![Err(Refusal::Permanent("not_authorized"))]));
}

#[test]
fn an_amount_is_never_exceeded_or_exchanged() {
    for amount in [Money::new(501, Currency::USD), Money::new(500, "EUR".parse().unwrap())] {
        let (state, replies) = answers(&[pay(Mood::Fine), Call::Capture { amount }]);
        assert_eq!((state, replies), (Some(State::Authorized), vec![Ok(None), Err(Refusal::Permanent("amount_not_authorized"))]));
        let again = Call::Authorize { amount, mood: Mood::Fine };
        assert_eq!(answers(&[pay(Mood::Fine), again]).1, vec![Ok(None), Err(Refusal::Permanent("key_reused"))]);
    }
}

#[test]
fn moods_and_states_survive_their_text() {
    for token in ["tok_ok", "tok_declined", "tok_slow", "tok_flaky", "tok_timeout", "tok_anything"] {
        let mood = Mood::of_token(token);
        assert_eq!(Mood::parse(mood.as_str()), Some(mood));
    }
    for state in [State::None, State::Authorized, State::Captured, State::Voided, State::Refunded, State::Declined, State::Blocked] {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
}

proptest! {
    #[test]
    fn after_a_void_nothing_is_set_aside_or_kept(
        mood in prop::sample::select(vec![Mood::Fine, Mood::Declined, Mood::Slow, Mood::Flaky, Mood::Timeout]),
        calls in prop::collection::vec(0_usize..3, 0..20),
    ) {
        let mut row: Option<Operation> = None;
        let mut voided = false;
        for call in calls {
            let call = [pay(mood), TAKE, Call::Void][call];
            let (next, reply) = operate(row, call);
            row = next;
            voided |= call == Call::Void && reply.result.is_ok();
            if let Some(row) = row {
                let books = [row.refunded_minor, row.captured_minor, row.amount_minor];
                prop_assert!(books.is_sorted(), "refunded ≤ captured ≤ set aside: {row:?}");
                let open = matches!(row.state, State::Authorized) || row.captured_minor > row.refunded_minor;
                prop_assert!(!(voided && open), "{row:?}");
            }
        }
    }
}
