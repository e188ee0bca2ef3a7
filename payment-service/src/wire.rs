//! Between records and the domain. To a record always succeeds; from a record is checked.

use kafka::{Failure, Micros};
use payment_domain::{Card, Event};
use schemas::{common, payments as record};
use uuid::Uuid;
use values::{Currency, CurrencyError, Money};

/// A record says something that no domain value can say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A currency.
    #[error("currency")]
    Currency(#[from] CurrencyError),
    /// An amount of money to move is negative.
    #[error("amount is negative")]
    Negative,
}

impl WireError {
    /// The failure of handling the message that carries it.
    #[must_use]
    pub fn in_message(&self, message: &str, order: Uuid) -> Failure {
        let source = std::error::Error::source(self).map_or_else(String::new, |source| format!(": {source}"));
        Failure::permanent("invalid_message", format!("read {message} of order {order}: {self}{source}"))
    }
}

/// The record of a payment event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the record of that name")]
pub enum PaymentRecord {
    Authorized(record::PaymentAuthorized),
    Captured(record::PaymentCaptured),
    Declined(record::PaymentDeclined),
    Voided(record::PaymentVoided),
    Refunded(record::PaymentRefunded),
    StepFailed(record::StepFailed),
}

/// An amount to move.
///
/// # Errors
/// [`WireError`] names the fault.
pub fn amount(money: &common::Money) -> Result<Money, WireError> {
    let currency = Currency::try_from(money.currency.as_str())?;
    if money.minor < 0 { Err(WireError::Negative) } else { Ok(Money::new(money.minor, currency)) }
}

/// Whether there is a card to charge.
#[must_use]
pub const fn card(token: Option<&common::Sealed>) -> Card {
    match token {
        Some(_) => Card::Given,
        None => Card::Missing,
    }
}

fn money(money: Money) -> common::Money {
    common::Money { minor: money.minor(), currency: money.currency().to_string() }
}

/// The record of `event` of the payment of `order`, which happened at `at`.
#[must_use]
pub fn record(order_id: Uuid, event: &Event, at: Micros) -> PaymentRecord {
    match event {
        Event::Authorized { amount } => {
            PaymentRecord::Authorized(record::PaymentAuthorized { order_id, amount: money(*amount), authorized_at: at })
        }
        Event::Captured { amount } => {
            PaymentRecord::Captured(record::PaymentCaptured { order_id, amount: money(*amount), captured_at: at })
        }
        Event::Declined { code } => PaymentRecord::Declined(record::PaymentDeclined { order_id, code: code.clone(), declined_at: at }),
        Event::Voided => PaymentRecord::Voided(record::PaymentVoided { order_id, voided_at: at }),
        Event::Refunded { amount } => {
            PaymentRecord::Refunded(record::PaymentRefunded { order_id, amount: money(*amount), refunded_at: at })
        }
        Event::StepFailed { step, code } => {
            PaymentRecord::StepFailed(record::StepFailed { order_id, step: step.clone(), code: code.clone(), failed_at: at })
        }
    }
}

/// The event of a record. With the record's causation id it is a [`payment_domain::Fact`].
///
/// # Errors
/// [`WireError`] names the fault.
pub fn event(record: &PaymentRecord) -> Result<Event, WireError> {
    Ok(match record {
        PaymentRecord::Authorized(record) => Event::Authorized { amount: amount(&record.amount)? },
        PaymentRecord::Captured(record) => Event::Captured { amount: amount(&record.amount)? },
        PaymentRecord::Declined(record) => Event::Declined { code: record.code.clone() },
        PaymentRecord::Voided(_) => Event::Voided,
        PaymentRecord::Refunded(record) => Event::Refunded { amount: amount(&record.amount)? },
        PaymentRecord::StepFailed(record) => Event::StepFailed { step: record.step.clone(), code: record.code.clone() },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_amount() -> impl Strategy<Value = Money> {
        (0..=i64::MAX, "[A-Z]{3}").prop_map(|(minor, currency)| Money::new(minor, currency.parse().unwrap()))
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            any_amount().prop_map(|amount| Event::Authorized { amount }),
            any_amount().prop_map(|amount| Event::Captured { amount }),
            "[a-z_]{1,20}".prop_map(|code| Event::Declined { code }),
            Just(Event::Voided),
            any_amount().prop_map(|amount| Event::Refunded { amount }),
            ("[a-z]{1,9}", "[a-z_]{1,20}").prop_map(|(step, code)| Event::StepFailed { step, code }),
        ]
    }

    proptest! {
        #[test]
        fn events_survive_the_wire(order in any::<u128>(), fact in events(), at in any::<i64>()) {
            prop_assert_eq!(event(&record(Uuid::from_u128(order), &fact, at)), Ok(fact));
        }
    }

    #[test]
    fn what_no_domain_value_can_say_is_refused() {
        let money = |minor, currency: &str| common::Money { minor, currency: currency.to_owned() };
        assert_eq!(amount(&money(-1, "USD")), Err(WireError::Negative));
        assert_eq!(amount(&money(1, "usd")), Err(WireError::Currency(CurrencyError)));
        assert_eq!(card(None), Card::Missing);
    }
}
