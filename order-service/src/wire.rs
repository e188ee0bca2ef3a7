//! Domain ↔ wire. To the wire always succeeds; from the wire is checked.

use kafka::seal::Sealed;
use kafka::{Failure, History, Recorded};
use order_domain::{CancelReason, Placed, PricedLine, SealedValue};
use saga::{Outcome, StepState};
use schemas::record::Record as _;
use schemas::{common, inventory, orders};
use uuid::Uuid;
use values::{Money, OrderId};

/// Why a record is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} of the record: {reason}")]
pub struct Error {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

fn wrong<E: std::fmt::Display>(field: &'static str) -> impl Fn(E) -> Error {
    move |error| Error { field, reason: error.to_string() }
}

/// One record of a saga's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SagaRecord {
    /// It began.
    Started(orders::SagaStarted),
    /// A step changed.
    Step(orders::SagaStepRecorded),
    /// It ended.
    Ended(orders::SagaEnded),
}

/// The event of a saga's stream that was recorded.
///
/// # Errors
/// Permanent: it is no record of a saga, or does not decode.
pub fn read_saga(history: &History<'_>, recorded: &Recorded) -> Result<saga::Event, Failure> {
    let record = match recorded.record() {
        orders::SagaStarted::FULL_NAME => SagaRecord::Started(history.read(recorded)?),
        orders::SagaStepRecorded::FULL_NAME => SagaRecord::Step(history.read(recorded)?),
        orders::SagaEnded::FULL_NAME => SagaRecord::Ended(history.read(recorded)?),
        other => return Err(history.unreadable(format_args!("{other} in the stream of a saga"))),
    };
    saga_event(&record).map_err(|error| history.unreadable(error))
}

/// The record of an order's stream that was recorded.
///
/// # Errors
/// Permanent: it is no record of an order, or does not decode.
pub fn read_order(history: &History<'_>, recorded: &Recorded) -> Result<OrderRecord, Failure> {
    Ok(match recorded.record() {
        orders::OrderPlaced::FULL_NAME => OrderRecord::Placed(Box::new(history.read(recorded)?)),
        orders::OrderConfirmed::FULL_NAME => OrderRecord::Confirmed(history.read(recorded)?),
        orders::OrderCancelled::FULL_NAME => OrderRecord::Cancelled(history.read(recorded)?),
        other => return Err(history.unreadable(format_args!("{other} in the stream of an order"))),
    })
}

/// A saga's event as its record.
#[must_use]
pub fn saga_record(id: OrderId, event: &saga::Event) -> SagaRecord {
    let order_id = Uuid::from(id);
    match event.clone() {
        saga::Event::Started { definition, shape_version, step, deadline_at, started_at } => SagaRecord::Started(orders::SagaStarted {
            order_id,
            definition,
            shape_version: i32::try_from(shape_version).unwrap_or(i32::MAX),
            step,
            deadline_at,
            started_at,
        }),
        saga::Event::StepRecorded { step, state, reason, by, deadline_at, recorded_at } => SagaRecord::Step(orders::SagaStepRecorded {
            order_id,
            step,
            state: state.as_str().to_owned(),
            reason,
            decided_by: by,
            deadline_at,
            recorded_at,
        }),
        saga::Event::Ended { outcome, ended_at } => {
            SagaRecord::Ended(orders::SagaEnded { order_id, outcome: outcome.as_str().to_owned(), ended_at })
        }
    }
}

/// A saga's event from its record.
///
/// # Errors
/// An unknown state, outcome or a negative shape version.
pub fn saga_event(record: &SagaRecord) -> Result<saga::Event, Error> {
    Ok(match record.clone() {
        SagaRecord::Started(started) => saga::Event::Started {
            definition: started.definition,
            shape_version: u32::try_from(started.shape_version).map_err(wrong("shape_version"))?,
            step: started.step,
            deadline_at: started.deadline_at,
            started_at: started.started_at,
        },
        SagaRecord::Step(step) => saga::Event::StepRecorded {
            state: step.state.parse::<StepState>().map_err(wrong("state"))?,
            step: step.step,
            reason: step.reason,
            by: step.decided_by,
            deadline_at: step.deadline_at,
            recorded_at: step.recorded_at,
        },
        SagaRecord::Ended(ended) => {
            saga::Event::Ended { outcome: ended.outcome.parse::<Outcome>().map_err(wrong("outcome"))?, ended_at: ended.ended_at }
        }
    })
}

/// One record of an order's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderRecord {
    /// It was placed.
    Placed(Box<orders::OrderPlaced>),
    /// It is paid.
    Confirmed(orders::OrderConfirmed),
    /// It was called off.
    Cancelled(orders::OrderCancelled),
}

/// A placement as its record; `idempotency` is the key it was placed with.
#[must_use]
pub fn order_placed(id: OrderId, placed: &Placed, idempotency: orders::Idempotency) -> orders::OrderPlaced {
    let line = |line: &PricedLine| orders::OrderLine {
        sku: line.sku.to_string(),
        quantity: line.quantity.units(),
        unit_price_minor: line.unit_price.minor(),
    };
    orders::OrderPlaced {
        order_id: id.into(),
        customer_id: placed.customer.to_string(),
        lines: placed.lines.iter().map(line).collect(),
        total: money(placed.total),
        placed_at: placed.at,
        payment_token: placed.payment_token.as_ref().and_then(sealed),
        idempotency,
        contact: placed.contact.as_ref().and_then(sealed),
    }
}

/// A confirmation as its record.
#[must_use]
pub fn order_confirmed(id: OrderId, at: i64) -> orders::OrderConfirmed {
    orders::OrderConfirmed { order_id: id.into(), confirmed_at: at }
}

/// A cancellation as its record.
#[must_use]
pub fn order_cancelled(id: OrderId, reason: CancelReason, at: i64) -> orders::OrderCancelled {
    orders::OrderCancelled { order_id: id.into(), reason: reason.as_str().to_owned(), cancelled_at: at }
}

/// An order's event from its record.
///
/// # Errors
/// A field that breaks its rule.
pub fn order_event(record: &OrderRecord) -> Result<order_domain::Event, Error> {
    match record {
        OrderRecord::Placed(placed) => Ok(order_domain::Event::Placed(Placed {
            customer: placed.customer_id.parse().map_err(wrong("customer_id"))?,
            lines: placed.lines.iter().map(|line| priced_line(line, &placed.total.currency)).collect::<Result<_, _>>()?,
            total: amount(&placed.total, "total")?,
            payment_token: placed.payment_token.as_ref().map(sealed_value),
            contact: placed.contact.as_ref().map(sealed_value),
            at: placed.placed_at,
        })),
        OrderRecord::Confirmed(confirmed) => Ok(order_domain::Event::Confirmed { at: confirmed.confirmed_at }),
        OrderRecord::Cancelled(cancelled) => {
            Ok(order_domain::Event::Cancelled { reason: cancelled.reason.parse().map_err(wrong("reason"))?, at: cancelled.cancelled_at })
        }
    }
}

fn priced_line(line: &orders::OrderLine, currency: &str) -> Result<PricedLine, Error> {
    Ok(PricedLine {
        sku: line.sku.parse().map_err(wrong("lines.sku"))?,
        quantity: line.quantity.try_into().map_err(wrong("lines.quantity"))?,
        unit_price: Money::try_from((line.unit_price_minor, currency)).map_err(wrong("total.currency"))?,
    })
}

/// The lines inventory is asked to hold.
#[must_use]
pub fn hold_lines(lines: &[PricedLine]) -> Vec<inventory::HoldLine> {
    lines.iter().map(|line| inventory::HoldLine { sku: line.sku.to_string(), quantity: line.quantity.units() }).collect()
}

/// An amount as its record.
#[must_use]
pub fn money(amount: Money) -> common::Money {
    common::Money { minor: amount.minor(), currency: amount.currency().as_str().to_owned() }
}

/// An amount from its record; `field` is named in the error.
///
/// # Errors
/// A currency that is none.
pub fn amount(money: &common::Money, field: &'static str) -> Result<Money, Error> {
    Money::try_from((money.minor, money.currency.as_str())).map_err(wrong(field))
}

/// A value just sealed, as the domain carries it: `<key id>.<nonce>.<bytes>`, the last two in hexadecimal.
#[must_use]
pub fn value(sealed: &Sealed) -> SealedValue {
    value_text(&sealed.key_id, &sealed.nonce, &sealed.bytes)
}

fn value_text(key_id: &str, nonce: &[u8], bytes: &[u8]) -> SealedValue {
    SealedValue::new(format!("{key_id}.{}.{}", hex::encode(nonce), hex::encode(bytes)))
}

fn sealed_value(sealed: &common::Sealed) -> SealedValue {
    value_text(&sealed.key_id, &sealed.nonce, &sealed.bytes)
}

/// A value as the domain carries it, to be opened. None for a text that [`value`] did not make.
#[must_use]
pub fn to_open(value: &SealedValue) -> Option<Sealed> {
    let common::Sealed { key_id, nonce, bytes } = sealed(value)?;
    Some(Sealed { key_id, nonce, bytes })
}

/// The sealed value as its record. None for a text that [`value`] did not make: it could not be opened anyway.
#[must_use]
pub fn sealed(token: &SealedValue) -> Option<common::Sealed> {
    let mut parts = token.as_str().rsplitn(3, '.');
    let (bytes, nonce, key_id) = (parts.next()?, parts.next()?, parts.next()?);
    Some(common::Sealed { key_id: key_id.to_owned(), nonce: hex::decode(nonce).ok()?, bytes: hex::decode(bytes).ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn saga_events() -> impl Strategy<Value = saga::Event> {
        let step = "[a-z_]{1,12}";
        prop_oneof![
            (step, any::<i32>(), step, any::<i64>(), any::<i64>()).prop_map(|(definition, version, step, deadline_at, started_at)| {
                saga::Event::Started { definition, shape_version: version.unsigned_abs() >> 1, step, deadline_at, started_at }
            }),
            (
                step,
                select(StepState::ALL.to_vec()),
                proptest::option::of("[a-z_]{1,12}"),
                proptest::option::of("[a-z_]{1,12}"),
                any::<Option<i64>>(),
                any::<i64>()
            )
                .prop_map(|(step, state, reason, by, deadline_at, recorded_at)| saga::Event::StepRecorded {
                    step,
                    state,
                    reason,
                    by,
                    deadline_at,
                    recorded_at
                }),
            (select(vec![Outcome::Confirmed, Outcome::Cancelled]), any::<i64>())
                .prop_map(|(outcome, ended_at)| saga::Event::Ended { outcome, ended_at }),
        ]
    }

    fn placements() -> impl Strategy<Value = Placed> {
        let line = ("[A-Za-z0-9._-]{1,64}", 1_i64..=1_000_000, any::<i64>());
        let sealed = || {
            let parts = ("[a-z.0-9]{1,8}", vec(any::<u8>(), 12), vec(any::<u8>(), 0..40));
            proptest::option::of(parts.prop_map(|(key_id, nonce, bytes)| super::value(&Sealed { key_id, nonce, bytes })))
        };
        ("[A-Za-z0-9._@-]{1,64}", "[A-Z]{3}", vec(line, 1..20), any::<i64>(), sealed(), sealed(), any::<i64>()).prop_map(
            |(customer, currency, lines, total, payment_token, contact, at)| Placed {
                customer: customer.parse().unwrap(),
                lines: lines
                    .into_iter()
                    .map(|(sku, units, price)| PricedLine {
                        sku: sku.parse().unwrap(),
                        quantity: units.try_into().unwrap(),
                        unit_price: Money::try_from((price, currency.as_str())).unwrap(),
                    })
                    .collect(),
                total: Money::try_from((total, currency.as_str())).unwrap(),
                payment_token,
                contact,
                at,
            },
        )
    }

    proptest! {
        #[test]
        fn saga_events_round_trip(bits: u128, event in saga_events()) {
            let record = saga_record(Uuid::from_u128(bits).into(), &event);
            prop_assert_eq!(saga_event(&record), Ok(event));
        }

        #[test]
        fn placements_round_trip(bits: u128, placed in placements(), scope: String, key: String) {
            let idempotency = orders::Idempotency { scope, key, request_hash: vec![7; 32] };
            let record = order_placed(Uuid::from_u128(bits).into(), &placed, idempotency);
            prop_assert_eq!(order_event(&OrderRecord::Placed(Box::new(record))), Ok(order_domain::Event::Placed(placed)));
        }

        #[test]
        fn decisions_round_trip(bits: u128, reason in select(CancelReason::ALL.to_vec()), at: i64) {
            let id = OrderId::from(Uuid::from_u128(bits));
            let confirmed = OrderRecord::Confirmed(order_confirmed(id, at));
            prop_assert_eq!(order_event(&confirmed), Ok(order_domain::Event::Confirmed { at }));
            let cancelled = OrderRecord::Cancelled(order_cancelled(id, reason, at));
            prop_assert_eq!(order_event(&cancelled), Ok(order_domain::Event::Cancelled { reason, at }));
        }
    }

    #[test]
    fn a_foreign_record_is_refused_by_field() {
        let cancelled = orders::OrderCancelled { order_id: Uuid::nil(), reason: "odd".to_owned(), cancelled_at: 0 };
        assert_eq!(order_event(&OrderRecord::Cancelled(cancelled)).unwrap_err().field, "reason");
        assert_eq!(sealed(&SealedValue::new("no dots")), None);
    }
}
