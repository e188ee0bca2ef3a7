//! The order: given a state / when a command / then events or a rejection; and properties of lines and totals.

use std::collections::HashSet;

use order_domain::{
    Basket, CancelReason, Command, Event, Line, Lines, LinesFault, Order, Placed, Placement, PricedLine, Rejection, SealedValue, decide,
    evolve,
};
use proptest::collection::vec;
use proptest::prelude::*;
use values::{Currency, Money, Sku};

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

fn sku(text: &str) -> Sku {
    text.parse().unwrap()
}

fn line(name: &str, units: i64) -> Line {
    Line { sku: sku(name), quantity: units.try_into().unwrap() }
}

fn place(lines: &[(&str, i64, Option<Money>)]) -> Command {
    let prices: Vec<_> = lines.iter().map(|(name, _, price)| (sku(name), *price)).collect();
    let lines = Lines::new(lines.iter().map(|(name, units, _)| line(name, *units)).collect()).unwrap();
    let basket = Basket::new(lines, |wanted| prices.iter().find(|(name, _)| name == wanted).and_then(|(_, price)| *price));
    Command::Place(Placement {
        customer: "ann".parse().unwrap(),
        basket,
        payment_token: Some(SealedValue::new("sealed")),
        contact: Some(SealedValue::new("for ann")),
        at: 7,
    })
}

fn pending() -> Order {
    Order::Pending { total: usd(250), payment_token: None }
}

#[test]
fn a_placed_order_carries_its_priced_lines_and_their_total() {
    let events = decide(&Order::None, &place(&[("a", 2, Some(usd(100))), ("b", 1, Some(usd(50)))])).unwrap();
    let priced = |name, units, price| PricedLine { sku: sku(name), quantity: i64::try_into(units).unwrap(), unit_price: usd(price) };
    let placed = Event::Placed(Placed {
        customer: "ann".parse().unwrap(),
        lines: vec![priced("a", 2, 100), priced("b", 1, 50)],
        total: usd(250),
        payment_token: Some(SealedValue::new("sealed")),
        contact: Some(SealedValue::new("for ann")),
        at: 7,
    });
    assert_eq!(events, [placed]);
    let state = events.iter().fold(Order::None, evolve);
    assert_eq!(state, Order::Pending { total: usd(250), payment_token: Some(SealedValue::new("sealed")) });
    assert!(!format!("{state:?}").contains("sealed"));
}

#[test]
fn an_order_that_cannot_be_priced_is_rejected() {
    let cases = [
        (place(&[("a", 1, None), ("b", 1, Some(usd(1))), ("c", 1, None)]), Rejection::UnknownSkus { lines: vec![0, 2] }),
        (place(&[("a", 2, Some(usd(i64::MAX)))]), Rejection::TotalOverflow),
        (place(&[("a", 1, Some(usd(i64::MAX))), ("b", 1, Some(usd(1)))]), Rejection::TotalOverflow),
        (place(&[("a", 1, Some(usd(1))), ("b", 1, Some(Money::try_from((1, "EUR")).unwrap()))]), Rejection::MixedCurrencies),
    ];
    for (command, rejection) in cases {
        assert_eq!(decide(&Order::None, &command), Err(rejection));
    }
}

#[test]
fn an_order_is_decided_once() {
    let confirm = Command::Confirm { at: 8 };
    let cancel = Command::Cancel { reason: CancelReason::OutOfStock, at: 9 };
    let cancelled = Order::Cancelled { reason: CancelReason::Deadline };
    let cases = [
        (Order::None, &confirm, Err(Rejection::NotPlaced)),
        (Order::None, &cancel, Err(Rejection::NotPlaced)),
        (pending(), &confirm, Ok(vec![Event::Confirmed { at: 8 }])),
        (pending(), &cancel, Ok(vec![Event::Cancelled { reason: CancelReason::OutOfStock, at: 9 }])),
        (Order::Confirmed, &confirm, Ok(vec![])),
        (Order::Confirmed, &cancel, Err(Rejection::AlreadyConfirmed)),
        (cancelled.clone(), &cancel, Ok(vec![])),
        (cancelled.clone(), &confirm, Err(Rejection::AlreadyCancelled)),
        (cancelled, &place(&[("a", 1, Some(usd(1)))]), Err(Rejection::AlreadyPlaced)),
    ];
    for (state, command, then) in cases {
        assert_eq!(decide(&state, command), then, "{command:?} in {state:?}");
    }
}

#[test]
fn a_list_of_lines_has_its_own_rules() {
    assert_eq!(Lines::new(vec![]), Err(LinesFault::Empty));
    assert_eq!(Lines::new(vec![line("a", 1), line("b", 1), line("a", 2)]), Err(LinesFault::Twice { first: 0, line: 2 }));
    let many = |count: usize| (0..count).map(|n| line(&n.to_string(), 1)).collect::<Vec<_>>();
    assert!(Lines::new(many(200)).is_ok());
    assert_eq!(Lines::new(many(201)), Err(LinesFault::TooMany { count: 201 }));
}

#[test]
fn reasons_have_their_wire_strings() {
    for reason in CancelReason::ALL {
        assert_eq!(reason.as_str().parse(), Ok(reason));
        assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
    }
}

fn any_lines() -> impl Strategy<Value = Vec<Line>> {
    vec(("[a-c]{1,3}", 1_i64..=1_000_000), 0..12).prop_map(|lines| lines.iter().map(|(name, units)| line(name, *units)).collect())
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(place(&[("a", 1, Some(usd(1)))])),
        any::<i64>().prop_map(|at| Command::Confirm { at }),
        (proptest::sample::select(CancelReason::ALL.to_vec()), any::<i64>()).prop_map(|(reason, at)| Command::Cancel { reason, at }),
    ]
}

proptest! {
    #[test]
    fn lines_are_accepted_exactly_when_no_sku_repeats(lines in any_lines()) {
        let distinct = lines.iter().map(|line| &line.sku).collect::<HashSet<_>>().len() == lines.len();
        prop_assert_eq!(Lines::new(lines.clone()).is_ok(), distinct && !lines.is_empty());
    }

    /// The total is the exact sum, or the order is rejected: no wrapping, no rounding.
    #[test]
    fn the_total_is_exact_or_refused(entries in vec((1_i64..=1_000_000, 0_i64..=i64::MAX), 1..20)) {
        let names: Vec<String> = (0..entries.len()).map(|n| format!("s{n}")).collect();
        let lines: Vec<_> = names.iter().zip(&entries).map(|(name, (units, price))| (name.as_str(), *units, Some(usd(*price)))).collect();
        let exact: i128 = entries.iter().map(|(units, price)| i128::from(*units) * i128::from(*price)).sum();
        match decide(&Order::None, &place(&lines)) {
            Ok(events) => {
                let Some(Event::Placed(Placed { total, .. })) = events.first() else { panic!("no placement in {events:?}") };
                prop_assert_eq!(i128::from(total.minor()), exact);
            }
            Err(rejection) => {
                prop_assert_eq!(rejection, Rejection::TotalOverflow);
                prop_assert!(exact > i128::from(i64::MAX));
            }
        }
    }

    /// Whatever is asked in whatever order: at most one placement, at most one decision, and a decision never changes.
    #[test]
    fn any_sequence_of_commands_decides_at_most_once(commands in vec(any_command(), 0..20)) {
        let (mut state, mut placed, mut decided) = (Order::None, 0, 0);
        for command in &commands {
            let events = decide(&state, command).unwrap_or_default();
            for event in &events {
                match event {
                    Event::Placed(_) => placed += 1,
                    Event::Confirmed { .. } | Event::Cancelled { .. } => decided += 1,
                }
            }
            state = events.iter().fold(state, evolve);
            let json = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Order>(&json).unwrap(), &state);
        }
        prop_assert!(placed <= 1 && decided <= placed);
    }
}
