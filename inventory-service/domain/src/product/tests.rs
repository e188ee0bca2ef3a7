//! Given (events) / when (command) / then (events or rejection).

use values::{Currency, Money};

use super::{Command, Entry, Event, Label, LabelError, Product, Rejection, decide, evolve};
use crate::Units;

fn label(text: &str) -> Label {
    Label::try_from(text.to_owned()).unwrap()
}

fn entry(name: &str, price: i64) -> Entry {
    Entry { name: label(name), category: label("DRINKS"), brand: Label::default(), price: Money::new(price, Currency::USD) }
}

fn units(units: i64) -> Units {
    units.try_into().unwrap()
}

fn listed() -> Event {
    Event::Listed { entry: entry("tea", 250) }
}

fn received(number: i64) -> Event {
    Event::Received { units: units(number) }
}

fn given(events: &[Event]) -> Product {
    events.iter().fold(Product::default(), evolve)
}

fn when(history: &[Event], command: &Command) -> Result<Vec<Event>, Rejection> {
    decide(&given(history), command)
}

fn list(name: &str, price: i64, number: i64) -> Command {
    Command::List { entry: entry(name, price), first_receipt: units(number) }
}

fn adjust(number: i64, available: i64) -> Command {
    Command::Adjust { units: number, reason: label("count"), available: units(available) }
}

#[test]
fn a_product_is_listed_with_its_first_receipt() {
    assert_eq!(when(&[], &list("tea", 250, 7)), Ok(vec![listed(), received(7)]));
    assert_eq!(when(&[], &list("tea", 250, 0)), Ok(vec![listed()]));
}

#[test]
fn listing_again_changes_only_what_differs_and_receives_nothing() {
    let history = [listed(), received(7)];
    assert_eq!(when(&history, &list("tea", 250, 7)), Ok(vec![]));
    assert_eq!(when(&history, &list("tea", 300, 7)), Ok(vec![Event::PriceChanged { price: Money::new(300, Currency::USD) }]));
    assert_eq!(when(&history, &list("green tea", 300, 7)), Ok(vec![Event::Listed { entry: entry("green tea", 300) }]));
}

#[test]
fn a_new_entry_keeps_the_units() {
    let state = given(&[listed(), received(7), Event::Listed { entry: entry("green tea", 300) }]);
    assert_eq!(state, Product::Listed { entry: entry("green tea", 300), received: 7.try_into().unwrap() });
}

#[test]
fn an_unlisted_product_is_neither_received_nor_adjusted_nor_priced() {
    let price = Money::new(1, Currency::USD);
    for command in [Command::Receive { units: units(1) }, adjust(1, 0), Command::ChangePrice { price }] {
        assert_eq!(when(&[], &command), Err(Rejection::Unlisted), "{command:?}");
    }
}

#[test]
fn a_price_is_never_negative() {
    assert_eq!(when(&[], &list("tea", -1, 0)), Err(Rejection::NegativePrice));
    let price = Money::new(-1, Currency::USD);
    assert_eq!(when(&[listed()], &Command::ChangePrice { price }), Err(Rejection::NegativePrice));
}

#[test]
fn a_price_changes_once() {
    let price = Money::new(99, Currency::USD);
    let changed = Event::PriceChanged { price };
    assert_eq!(when(&[listed()], &Command::ChangePrice { price }), Ok(vec![changed.clone()]));
    assert_eq!(when(&[listed(), changed], &Command::ChangePrice { price }), Ok(vec![]));
}

#[test]
fn a_receipt_that_cannot_be_counted_is_refused() {
    let full = Product::Listed { entry: entry("tea", 250), received: Units::MAX };
    assert_eq!(decide(&full, &Command::Receive { units: units(1) }), Err(Rejection::Overflow));
    assert_eq!(decide(&full, &adjust(1, 0)), Err(Rejection::Overflow));
    assert_eq!(decide(&full, &adjust(i64::MAX, 0)), Err(Rejection::Overflow));
}

#[test]
fn an_adjustment_never_takes_held_units() {
    let history = [listed(), received(7)];
    assert_eq!(when(&history, &adjust(-3, 2)), Err(Rejection::Short { available: 2.try_into().unwrap() }));
    assert_eq!(when(&history, &adjust(i64::MIN, 7)), Err(Rejection::Short { available: 7.try_into().unwrap() }));
    assert_eq!(when(&history, &adjust(-2, 2)), Ok(vec![Event::Adjusted { units: -2, reason: label("count") }]));
    assert_eq!(when(&history, &adjust(0, 2)), Err(Rejection::NoUnits));
}

#[test]
fn a_label_is_short_and_printable() {
    assert_eq!(Label::try_from("x".repeat(201)), Err(LabelError::TooLong));
    assert_eq!(Label::try_from("a\nb".to_owned()), Err(LabelError::Control));
    assert_eq!(label(&"é".repeat(200)).as_ref().chars().count(), 200);
}

#[test]
fn every_state_survives_its_json() {
    for history in [vec![], vec![listed()], vec![listed(), received(7)]] {
        let state = given(&history);
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<Product>(&json).unwrap(), state, "{json}");
    }
}

#[test]
fn a_receipt_has_at_least_one_unit() {
    assert_eq!(when(&[listed()], &Command::Receive { units: Units::ZERO }), Err(Rejection::NoUnits));
}
