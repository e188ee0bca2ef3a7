//! A rebuild's view of this service's streams: each payment folded from all its events, its row and its bookings projected.

use kafka::{Failure, History, Recorded, Replay};
use payment_domain::{Fact, Payment, entries, evolve};
use schemas::payments as record;
use schemas::record::Record as _;
use uuid::Uuid;

use crate::store::Books;
use crate::wire::{self, PaymentRecord};

/// Folds and projects one stream.
pub(crate) fn replay(history: &History<'_>, replay: &mut Replay<'_, Books>) -> Result<(), Failure> {
    let order: Option<Uuid> = history.stream().strip_prefix("payment-").and_then(|order| order.parse().ok());
    let order = order.ok_or_else(|| history.unreadable("is not the payment of an order"))?;
    let mut state = Payment::default();
    for recorded in history.events() {
        let event = wire::event(&read(history, recorded)?).map_err(|error| history.unreadable(error))?;
        let booked = entries(&state, &event);
        state = evolve(state, &Fact { cause: recorded.cause().uuid().into(), event });
        replay.work.book(order, recorded.version(), &booked);
        replay.work.project(order, &state);
    }
    replay.state(&state)
}

fn read(history: &History<'_>, recorded: &Recorded) -> Result<PaymentRecord, Failure> {
    Ok(match recorded.record() {
        record::PaymentAuthorized::FULL_NAME => PaymentRecord::Authorized(history.read(recorded)?),
        record::PaymentCaptured::FULL_NAME => PaymentRecord::Captured(history.read(recorded)?),
        record::PaymentDeclined::FULL_NAME => PaymentRecord::Declined(history.read(recorded)?),
        record::PaymentVoided::FULL_NAME => PaymentRecord::Voided(history.read(recorded)?),
        record::PaymentRefunded::FULL_NAME => PaymentRecord::Refunded(history.read(recorded)?),
        record::StepFailed::FULL_NAME => PaymentRecord::StepFailed(history.read(recorded)?),
        other => return Err(history.unreadable(format_args!("{other} in the stream of a payment"))),
    })
}
