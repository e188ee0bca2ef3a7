use proptest::prelude::*;

use super::*;

fn sku() -> impl Strategy<Value = Sku> {
    "[A-Za-z0-9._-]{1,64}".prop_map(|sku| sku.parse().unwrap())
}

fn quantity() -> impl Strategy<Value = Quantity> {
    (1_u32..=1_000_000).prop_map(|units| units.try_into().unwrap())
}

fn units() -> impl Strategy<Value = Units> {
    (0..=Units::MAX.get()).prop_map(|units| units.try_into().unwrap())
}

fn some_lines() -> impl Strategy<Value = Lines> {
    prop::collection::btree_map(sku(), quantity(), 1..10).prop_map(|lines| {
        let lines: Vec<Line> = lines.into_iter().map(|(sku, quantity)| Line { sku, quantity }).collect();
        lines.try_into().unwrap()
    })
}

fn short() -> impl Strategy<Value = Shortage> {
    (sku(), quantity(), units()).prop_map(|(sku, quantity, available)| Shortage { line: Line { sku, quantity }, available })
}

fn label() -> impl Strategy<Value = Label> {
    "\\PC{0,60}".prop_filter_map("printable", |text| Label::try_from(text).ok())
}

fn price() -> impl Strategy<Value = Money> {
    (any::<i64>(), "[A-Z]{3}").prop_map(|(minor, currency)| Money::new(minor, currency.parse().unwrap()))
}

fn hold_events() -> impl Strategy<Value = hold::Event> {
    prop_oneof![
        some_lines().prop_map(|lines| hold::Event::Reserved { lines }),
        prop::collection::vec(short(), 0..5).prop_map(|short| hold::Event::Rejected { short }),
        Just(hold::Event::Committed),
        prop::option::of(some_lines()).prop_map(|lines| hold::Event::Released { lines }),
        ("[a-z]{1,9}", "[a-z_]{1,9}").prop_map(|(step, code)| hold::Event::StepFailed { step, code }),
    ]
}

fn product_events() -> impl Strategy<Value = product::Event> {
    prop_oneof![
        (label(), label(), label(), price())
            .prop_map(|(name, category, brand, price)| product::Event::Listed { entry: Entry { name, category, brand, price } }),
        price().prop_map(|price| product::Event::PriceChanged { price }),
        units().prop_map(|units| product::Event::Received { units }),
        (any::<i64>(), label()).prop_map(|(units, reason)| product::Event::Adjusted { units, reason }),
    ]
}

proptest! {
    #[test]
    fn hold_events_survive_the_wire(order in any::<u128>(), event in hold_events(), at in any::<i64>()) {
        let record = hold_record(Uuid::from_u128(order), &event, at);
        prop_assert_eq!(hold_event(&record), Ok(event));
    }

    #[test]
    fn product_events_survive_the_wire(sku in sku(), event in product_events(), at in any::<i64>()) {
        let record = product_record(&sku, &event, at, None);
        prop_assert_eq!(product_event(&record), Ok((sku, event)));
    }
}

#[test]
fn what_no_domain_value_can_say_is_refused() {
    let held = |sku: &str, quantity| record::HoldLine { sku: sku.to_owned(), quantity };
    assert_eq!(lines(&[]), Err(WireError::Lines(LinesError::Empty)));
    assert!(matches!(lines(&[held("a b", 1)]), Err(WireError::Sku(_))));
    assert_eq!(lines(&[held("a", 0)]), Err(WireError::Quantity(QuantityError::OutOfRange)));
    assert_eq!(lines(&[held("a", 1_000_001)]), Err(WireError::Quantity(QuantityError::OutOfRange)));
    assert!(matches!(lines(&[held("a", 1), held("a", 2)]), Err(WireError::Lines(LinesError::Repeated(_)))));
    let text = lines(&[held("a", 0)]).unwrap_err().in_message("CreateInventoryHold", Uuid::nil()).to_string();
    assert!(
        text.starts_with("read CreateInventoryHold of order 00000000-") && text.ends_with("quantity is outside 1 to 1000000"),
        "{text}"
    );
}
