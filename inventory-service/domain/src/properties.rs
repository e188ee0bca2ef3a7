//! Arbitrary sequences of commands over a few orders and products, against the sums that must hold after every one of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use values::{Currency, Money, Quantity, Sku};

use crate::{
    Line, Lines, Stock, Units,
    hold::{self, Hold, Wanted},
    product::{self, Entry, Label, Product},
};

const SKUS: [&str; 3] = ["rice", "tea", "salt"];
const ORDERS: usize = 4;

/// One thing somebody asks for.
#[derive(Debug, Clone)]
enum Ask {
    Create(usize, Lines),
    Commit(usize),
    Release(usize),
    GiveUp(usize),
    List(Sku, i64, Units),
    Receive(Sku, Units),
    Adjust(Sku, i64),
}

fn sku() -> impl Strategy<Value = Sku> {
    prop::sample::select(&SKUS[..]).prop_map(|sku| sku.parse().unwrap())
}

fn quantity() -> impl Strategy<Value = Quantity> {
    (1_u32..8).prop_map(|units| units.try_into().unwrap())
}

fn units() -> impl Strategy<Value = Units> {
    (0_i64..9).prop_map(|units| units.try_into().unwrap())
}

fn lines() -> impl Strategy<Value = Lines> {
    prop::collection::btree_map(sku(), quantity(), 1..=SKUS.len()).prop_map(|lines| {
        let lines: Vec<Line> = lines.into_iter().map(|(sku, quantity)| Line { sku, quantity }).collect();
        lines.try_into().unwrap()
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    let order = 0..ORDERS;
    prop_oneof![
        4 => (order.clone(), lines()).prop_map(|(order, lines)| Ask::Create(order, lines)),
        2 => order.clone().prop_map(Ask::Commit),
        2 => order.clone().prop_map(Ask::Release),
        1 => order.prop_map(Ask::GiveUp),
        2 => (sku(), -1_i64..100, units()).prop_map(|(sku, price, units)| Ask::List(sku, price, units)),
        2 => (sku(), units()).prop_map(|(sku, units)| Ask::Receive(sku, units)),
        1 => (sku(), -9_i64..9).prop_map(|(sku, units)| Ask::Adjust(sku, units)),
    ]
}

/// Everything the service keeps, in memory.
#[derive(Debug, Default)]
struct Store {
    stock: BTreeMap<Sku, Stock>,
    products: BTreeMap<Sku, Product>,
    holds: [Hold; ORDERS],
    hold_history: [Vec<hold::Event>; ORDERS],
}

impl Store {
    fn handle(&mut self, ask: &Ask) {
        match ask {
            Ask::Create(order, lines) => {
                let wanted = Wanted::new(lines.clone(), |sku| self.available(sku));
                self.hold(*order, &hold::Command::Create(wanted));
            }
            Ask::Commit(order) => self.hold(*order, &hold::Command::Commit),
            Ask::Release(order) => self.hold(*order, &hold::Command::Release),
            Ask::GiveUp(order) => self.hold(*order, &hold::Command::GiveUp { code: "code".to_owned() }),
            Ask::List(sku, price, units) => {
                let (name, price) = (Label::try_from(sku.to_string()).unwrap(), Money::new(*price, Currency::USD));
                let entry = Entry { name, category: Label::default(), brand: Label::default(), price };
                self.product(sku, &product::Command::List { entry, first_receipt: *units });
            }
            Ask::Receive(sku, units) => self.product(sku, &product::Command::Receive { units: *units }),
            Ask::Adjust(sku, units) => {
                let available = self.available(sku);
                self.product(sku, &product::Command::Adjust { units: *units, reason: Label::default(), available });
            }
        }
    }

    fn available(&self, sku: &Sku) -> Units {
        self.stock.get(sku).map_or(Units::ZERO, |stock| stock.available)
    }

    fn hold(&mut self, order: usize, command: &hold::Command) {
        let events = hold::decide(&self.holds[order], command).unwrap_or_else(|rejection| vec![rejection.event()]);
        assert!(events.len() <= 1, "one command has one answer");
        for event in events {
            for change in event.changes() {
                let stock = self.stock.entry(change.sku.clone()).or_default();
                *stock = stock.changed(&change).expect("a decision never overdraws a SKU row");
            }
            self.holds[order] = hold::evolve(self.holds[order].clone(), &event);
            self.hold_history[order].push(event);
        }
    }

    fn product(&mut self, sku: &Sku, command: &product::Command) {
        let state = self.products.entry(sku.clone()).or_default();
        for event in product::decide(state, command).unwrap_or_default() {
            if let Some(change) = event.change(sku) {
                let stock = self.stock.entry(sku.clone()).or_default();
                *stock = stock.changed(&change).expect("a decision never overdraws a SKU row");
            }
            *state = product::evolve(state.clone(), &event);
        }
    }

    fn units_in(&self, sku: &Sku, wanted: impl Fn(&Hold) -> Option<&Lines>) -> i64 {
        let lines = self.holds.iter().filter_map(wanted).flatten();
        lines.filter(|line| line.sku == *sku).map(|line| line.quantity.units()).sum()
    }

    fn check(&self) {
        for (sku, stock) in &self.stock {
            let held = self.units_in(sku, |hold| match hold {
                Hold::Held { lines } => Some(lines),
                Hold::None | Hold::Rejected | Hold::Committed { .. } | Hold::Released | Hold::Failed => None,
            });
            let shipped = self.units_in(sku, |hold| match hold {
                Hold::Committed { lines } => Some(lines),
                Hold::None | Hold::Rejected | Hold::Held { .. } | Hold::Released | Hold::Failed => None,
            });
            assert_eq!(stock.received.get(), stock.available.get().strict_add(held).strict_add(shipped), "units of {sku}");
            match &self.products[sku] {
                Product::Listed { received, .. } => assert_eq!(*received, stock.received, "{sku}"),
                Product::Unlisted => panic!("units of an unlisted product {sku}"),
            }
        }
        for (hold, history) in self.holds.iter().zip(&self.hold_history) {
            assert_eq!(history.iter().fold(Hold::default(), hold::evolve), *hold, "the state is the fold of the history");
            let count = |wanted: fn(&hold::Event) -> bool| history.iter().filter(|event| wanted(event)).count();
            let reserved = count(|event| matches!(event, hold::Event::Reserved { .. }));
            let rejected = count(|event| matches!(event, hold::Event::Rejected { .. }));
            let committed = count(|event| matches!(event, hold::Event::Committed));
            let released = count(|event| matches!(event, hold::Event::Released { .. }));
            let given_up = count(|event| matches!(event, hold::Event::StepFailed { step, .. } if step == hold::CREATE));
            assert!(reserved.strict_add(rejected).strict_add(given_up) <= 1, "a create is decided once: {history:?}");
            assert!(committed.strict_add(released) <= 1, "shipped and released exclude each other: {history:?}");
            assert!(committed <= reserved, "only held units ship: {history:?}");
        }
    }
}

proptest! {
    #[test]
    fn units_are_conserved_and_no_hold_reaches_an_illegal_state(asks in prop::collection::vec(ask(), 0..60)) {
        let mut store = Store::default();
        for ask in &asks {
            store.handle(ask);
            store.check();
        }
    }

    #[test]
    fn handling_every_command_twice_changes_nothing(
        asks in prop::collection::vec(ask().prop_filter("receipts are told apart by their key", |ask| !matches!(ask, Ask::Receive(..) | Ask::Adjust(..))), 0..40),
    ) {
        let (mut once, mut twice) = (Store::default(), Store::default());
        for sku in SKUS {
            let sku: Sku = sku.parse().unwrap();
            for store in [&mut once, &mut twice] {
                store.handle(&Ask::List(sku.clone(), 1, 9.try_into().unwrap()));
            }
        }
        for ask in &asks {
            once.handle(ask);
            twice.handle(ask);
            twice.handle(ask);
        }
        prop_assert_eq!(&once.holds, &twice.holds);
        prop_assert_eq!(&once.stock, &twice.stock);
        prop_assert_eq!(&once.products, &twice.products);
    }

    #[test]
    fn undo_wins_wherever_the_release_comes(asks in prop::collection::vec(prop_oneof![
        lines().prop_map(|lines| Ask::Create(0, lines)),
        Just(Ask::Release(0)),
        Just(Ask::GiveUp(0)),
    ], 0..10)) {
        let mut store = Store::default();
        for sku in SKUS {
            store.handle(&Ask::List(sku.parse().unwrap(), 1, 1_000.try_into().unwrap()));
        }
        let released = asks.iter().any(|ask| matches!(ask, Ask::Release(_)));
        for ask in &asks {
            store.handle(ask);
        }
        if released {
            prop_assert_eq!(&store.holds[0], &Hold::Released);
            prop_assert!(store.stock.values().all(|stock| stock.available == stock.received), "all units are back");
        }
    }

    #[test]
    fn any_history_replays(events in prop::collection::vec(prop_oneof![
        lines().prop_map(|lines| hold::Event::Reserved { lines }),
        Just(hold::Event::Rejected { short: vec![] }),
        Just(hold::Event::Committed),
        prop::option::of(lines()).prop_map(|lines| hold::Event::Released { lines }),
        Just(hold::Rejection::Shipped.event()),
        Just(hold::Event::StepFailed { step: hold::CREATE.to_owned(), code: String::new() }),
    ], 0..20)) {
        let state = events.iter().fold(Hold::default(), hold::evolve);
        let json = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<Hold>(&json).unwrap(), state);
    }
}
