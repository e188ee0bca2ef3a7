//! The conservation check: nothing is made, nothing is lost.
//!
//! Pure arithmetic over what [`crate::reader`] read when the system was quiet.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// One SKU's units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// Which.
    pub sku: String,
    /// All units ever received.
    pub received: i64,
    /// Free to be held.
    pub available: i64,
    /// In holds that are neither committed nor released.
    pub held: i64,
    /// In committed holds.
    pub shipped: i64,
}

/// Payments in one currency, minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Payments {
    /// Taken from customers.
    pub captured: i64,
    /// Given back.
    pub refunded: i64,
    /// Authorisations neither captured nor voided.
    pub open: i64,
}

/// The provider's books, by currency.
pub type Operations = BTreeMap<String, Payments>;

/// All that the check looks at.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// Every SKU.
    pub stock: Vec<Stock>,
    /// Units of confirmed orders by SKU.
    pub ordered_units: BTreeMap<String, i64>,
    /// Totals of confirmed orders by currency.
    pub ordered_totals: BTreeMap<String, i64>,
    /// What the payment service recorded, by currency.
    pub payments: BTreeMap<String, Payments>,
    /// What the payment provider recorded; `None` when its database is not known.
    pub provider: Option<Operations>,
    /// Orders that have not ended.
    pub running: i64,
}

/// What the check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// SKUs looked at.
    pub skus: usize,
    /// Units received of all.
    pub received: i64,
    /// Units available of all.
    pub available: i64,
    /// Units held of all.
    pub held: i64,
    /// Units shipped of all.
    pub shipped: i64,
    /// Totals of confirmed orders by currency, minor units.
    pub ordered_minor: BTreeMap<String, i64>,
    /// Captured − refunded by currency, minor units.
    pub paid_minor: BTreeMap<String, i64>,
    /// Authorisations left open, by the payment service.
    pub open_authorisations: i64,
    /// Whether the provider's own books were compared too.
    pub provider_compared: bool,
    /// Every violation, in words.
    pub violations: Vec<String>,
}

impl Books {
    /// Judges the books.
    #[must_use]
    pub fn judge(&self) -> Verdict {
        let mut verdict = Verdict { skus: self.stock.len(), provider_compared: self.provider.is_some(), ..Verdict::default() };
        if self.running > 0 {
            verdict.violations.push(format!("{} orders have not ended: the books are not comparable", self.running));
        }
        self.judge_stock(&mut verdict);
        verdict.ordered_minor.clone_from(&self.ordered_totals);
        verdict.paid_minor = paid(&self.payments);
        verdict.open_authorisations = self.payments.values().map(|payments| payments.open).sum();
        self.judge_money("payment service", &self.payments, &mut verdict);
        if let Some(provider) = &self.provider {
            self.judge_money("payment provider", provider, &mut verdict);
        }
        verdict
    }

    fn judge_stock(&self, verdict: &mut Verdict) {
        let mut shipped = BTreeMap::new();
        for stock in &self.stock {
            let Stock { sku, received, available, held, shipped: gone } = stock;
            verdict.received = verdict.received.saturating_add(*received);
            verdict.available = verdict.available.saturating_add(*available);
            verdict.held = verdict.held.saturating_add(*held);
            verdict.shipped = verdict.shipped.saturating_add(*gone);
            shipped.insert(sku, *gone);
            if [received, available, held, gone].into_iter().any(|units| *units < 0) {
                verdict.violations.push(format!("sku {sku}: negative units: {stock:?}"));
            }
            let accounted = available.checked_add(*held).and_then(|units| units.checked_add(*gone));
            if accounted != Some(*received) {
                verdict.violations.push(format!("sku {sku}: received {received} ≠ available {available} + held {held} + shipped {gone}"));
            }
        }
        let skus: BTreeSet<&String> = shipped.keys().copied().chain(self.ordered_units.keys()).collect();
        for sku in skus {
            let (gone, ordered) = (shipped.get(sku).copied().unwrap_or(0), self.ordered_units.get(sku).copied().unwrap_or(0));
            if gone != ordered {
                verdict.violations.push(format!("sku {sku}: shipped {gone} ≠ units of confirmed orders {ordered}"));
            }
        }
    }

    fn judge_money(&self, whose: &str, books: &BTreeMap<String, Payments>, verdict: &mut Verdict) {
        let paid = paid(books);
        let currencies: BTreeSet<&String> = paid.keys().chain(self.ordered_totals.keys()).collect();
        for currency in currencies {
            let (taken, owed) = (paid.get(currency).copied().unwrap_or(0), self.ordered_totals.get(currency).copied().unwrap_or(0));
            if taken != owed {
                verdict
                    .violations
                    .push(format!("{whose}: captured − refunded {taken} ≠ total of confirmed orders {owed} ({currency}, minor units)"));
            }
        }
        for (currency, payments) in books {
            if payments.open != 0 {
                verdict.violations.push(format!("{whose}: {} authorisations left open ({currency})", payments.open));
            }
        }
    }
}

fn paid(books: &BTreeMap<String, Payments>) -> BTreeMap<String, i64> {
    books.iter().map(|(currency, payments)| (currency.clone(), payments.captured.saturating_sub(payments.refunded))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stock(received: i64, available: i64, held: i64, shipped: i64) -> Stock {
        Stock { sku: "1".into(), received, available, held, shipped }
    }

    fn usd<T>(value: T) -> BTreeMap<String, T> {
        BTreeMap::from([("USD".to_owned(), value)])
    }

    fn good() -> Books {
        Books {
            stock: vec![stock(10, 7, 0, 3)],
            ordered_units: BTreeMap::from([("1".to_owned(), 3)]),
            ordered_totals: usd(300),
            payments: usd(Payments { captured: 400, refunded: 100, open: 0 }),
            provider: Some(usd(Payments { captured: 400, refunded: 100, open: 0 })),
            running: 0,
        }
    }

    fn violations(books: &Books) -> Vec<String> {
        books.judge().violations
    }

    #[test]
    fn books_that_add_up_have_no_violation() {
        let verdict = good().judge();
        assert_eq!(verdict.violations, Vec::<String>::new());
        assert_eq!(
            (verdict.skus, verdict.received, verdict.shipped, verdict.paid_minor, verdict.provider_compared),
            (1, 10, 3, usd(300), true)
        );
        assert!(Books::default().judge().violations.is_empty());
    }

    #[test]
    fn a_unit_made_or_lost_is_named_by_its_sku() {
        let books = Books { stock: vec![stock(10, 8, 0, 3)], ..good() };
        assert_eq!(violations(&books), ["sku 1: received 10 ≠ available 8 + held 0 + shipped 3"]);
        let books = Books { stock: vec![stock(10, 6, 1, 3)], ..good() };
        assert!(violations(&books).is_empty(), "a unit may be held");
    }

    #[test]
    fn negative_units_are_a_violation_even_if_they_add_up() {
        let books = Books { stock: vec![stock(10, -1, 8, 3)], ..good() };
        assert_eq!(violations(&books).len(), 1);
    }

    #[test]
    fn what_was_shipped_is_what_was_ordered() {
        let books = Books { ordered_units: BTreeMap::from([("1".to_owned(), 2), ("2".to_owned(), 1)]), ..good() };
        assert_eq!(
            violations(&books),
            ["sku 1: shipped 3 ≠ units of confirmed orders 2", "sku 2: shipped 0 ≠ units of confirmed orders 1"]
        );
    }

    #[test]
    fn money_of_no_order_and_open_authorisations_are_violations() {
        let books = Books { payments: usd(Payments { captured: 400, refunded: 0, open: 2 }), ..good() };
        assert_eq!(
            violations(&books),
            [
                "payment service: captured − refunded 400 ≠ total of confirmed orders 300 (USD, minor units)",
                "payment service: 2 authorisations left open (USD)"
            ]
        );
        let books = Books { provider: Some(Operations::new()), ..good() };
        assert_eq!(violations(&books), ["payment provider: captured − refunded 0 ≠ total of confirmed orders 300 (USD, minor units)"]);
    }

    #[test]
    fn running_orders_make_the_books_incomparable() {
        assert_eq!(violations(&Books { running: 4, ..good() }).len(), 1);
    }

    proptest! {
        #[test]
        fn any_split_of_what_was_received_conserves_it(available in 0_i64..1_000_000, held in 0_i64..1_000, shipped in 0_i64..1_000, stolen in 1_i64..10) {
            let split = |received| Books {
                stock: vec![stock(received, available, held, shipped)],
                ordered_units: BTreeMap::from([("1".to_owned(), shipped)]),
                ..Books::default()
            };
            prop_assert!(violations(&split(available + held + shipped)).is_empty());
            prop_assert_eq!(violations(&split(available + held + shipped + stolen)).len(), 1);
        }
    }
}
