//! Given (events) / when (command) / then (events or rejection).

use super::{Command, Event, Hold, Rejection, Shortage, Wanted, decide, evolve};
use crate::{Line, Lines, Units};

const RICE: &str = "rice";
const TEA: &str = "tea";

fn line(sku: &str, quantity: u32) -> Line {
    Line { sku: sku.parse().unwrap(), quantity: quantity.try_into().unwrap() }
}

fn lines() -> Lines {
    vec![line(RICE, 3), line(TEA, 2)].try_into().unwrap()
}

/// Three of rice and two of tea, with so many units available.
fn create(rice: i64, tea: i64) -> Command {
    Command::Create(Wanted::new(lines(), |sku| Units::try_from(if sku.as_ref() == RICE { rice } else { tea }).unwrap()))
}

fn reserved() -> Event {
    Event::Reserved { lines: lines() }
}

fn rejected() -> Event {
    Event::Rejected { short: vec![Shortage { line: line(TEA, 2), available: Units::ZERO }] }
}

fn released() -> Event {
    Event::Released { lines: Some(lines()) }
}

fn nothing_released() -> Event {
    Event::Released { lines: None }
}

fn given(events: &[Event]) -> Hold {
    events.iter().fold(Hold::default(), evolve)
}

fn when(history: &[Event], command: &Command) -> Result<Vec<Event>, Rejection> {
    decide(&given(history), command)
}

#[test]
fn a_hold_takes_all_lines_when_every_one_is_there() {
    assert_eq!(when(&[], &create(3, 2)), Ok(vec![reserved()]));
}

#[test]
fn one_short_line_rejects_the_whole_hold_and_names_every_short_line() {
    assert_eq!(when(&[], &create(3, 0)), Ok(vec![rejected()]));
    let short = vec![
        Shortage { line: line(RICE, 3), available: 2.try_into().unwrap() },
        Shortage { line: line(TEA, 2), available: 1.try_into().unwrap() },
    ];
    assert_eq!(when(&[], &create(2, 1)), Ok(vec![Event::Rejected { short }]));
}

#[test]
fn a_second_create_never_holds_twice() {
    for history in [vec![reserved()], vec![rejected()], vec![reserved(), Event::Committed], vec![reserved(), released()]] {
        assert_eq!(when(&history, &create(100, 100)), Ok(vec![]), "{history:?}");
    }
}

#[test]
fn a_release_before_the_create_wins() {
    assert_eq!(when(&[], &Command::Release), Ok(vec![nothing_released()]));
    assert_eq!(when(&[nothing_released()], &create(100, 100)), Ok(vec![]));
}

#[test]
fn a_release_gives_back_what_was_held() {
    assert_eq!(when(&[reserved()], &Command::Release), Ok(vec![released()]));
}

#[test]
fn a_release_of_a_rejected_hold_is_answered_with_nothing_given_back() {
    assert_eq!(when(&[rejected()], &Command::Release), Ok(vec![nothing_released()]));
}

#[test]
fn repeats_are_not_answered_again() {
    assert_eq!(when(&[reserved(), Event::Committed], &Command::Commit), Ok(vec![]));
    assert_eq!(when(&[reserved(), released()], &Command::Release), Ok(vec![]));
}

#[test]
fn a_commit_of_nothing_is_refused() {
    for history in [vec![], vec![rejected()], vec![reserved(), released()], vec![nothing_released()]] {
        assert_eq!(when(&history, &Command::Commit), Err(Rejection::NothingHeld), "{history:?}");
    }
}

#[test]
fn shipped_units_do_not_come_back() {
    assert_eq!(when(&[reserved(), Event::Committed], &Command::Release), Err(Rejection::Shipped));
}

#[test]
fn a_refused_command_changes_nothing() {
    for history in [vec![], vec![reserved()], vec![reserved(), Event::Committed]] {
        let state = given(&history);
        assert_eq!(evolve(state.clone(), &Rejection::Shipped.event()), state);
    }
}

#[test]
fn a_create_that_died_is_answered_and_fenced_off() {
    let given_up = Command::GiveUp { code: "undecodable".to_owned() };
    let failed = Event::StepFailed { step: super::CREATE.to_owned(), code: "undecodable".to_owned() };
    assert_eq!(when(&[], &given_up), Ok(vec![failed.clone()]));
    assert_eq!(when(std::slice::from_ref(&failed), &create(100, 100)), Ok(vec![]), "also when it is sent again");
    assert_eq!(when(std::slice::from_ref(&failed), &given_up), Ok(vec![]));
    assert_eq!(when(&[failed], &Command::Release), Ok(vec![nothing_released()]), "a release sent before the failure was known is answered");
    for history in [vec![reserved()], vec![rejected()], vec![reserved(), Event::Committed], vec![nothing_released()]] {
        assert_eq!(when(&history, &given_up), Ok(vec![]), "{history:?}");
    }
}

#[test]
fn every_state_survives_its_json() {
    let failed = Event::StepFailed { step: super::CREATE.to_owned(), code: String::new() };
    for history in [vec![], vec![reserved()], vec![rejected()], vec![reserved(), Event::Committed], vec![nothing_released()], vec![failed]]
    {
        let state = given(&history);
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<Hold>(&json).unwrap(), state, "{json}");
    }
}
