//! A customer's cancel request: an input of the order's saga, written in a unit of its own.

use std::time::Duration;

use contract::headers::Tags;
use kafka::{Cause, Failure, MessageId, Needs, Retry, Units, retry_of};
use order_domain::{CancelReason, Order};
use saga::Input;
use tokio::time::sleep;
use values::{CustomerId, OrderId};

use crate::steer::{OrderSaga, order_stream};
use crate::store::{self, Read, Rows};

/// Tries against concurrent writers and infrastructure errors.
const TRIES: u32 = 5;

/// What became of a cancel request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Recorded; the order is cancelled, or in doubt until its payment is undone.
    Requested(Read),
    /// It was cancelled before.
    Already(Read),
    /// It is confirmed.
    Confirmed,
    /// It is not as the customer thinks.
    Changed,
    /// The customer has no such order.
    NotFound,
}

/// Why a cancel request was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database does not answer.
    #[error("cancel an order")]
    Database(#[from] sqlx::Error),
    /// A defect.
    #[error("cancel an order")]
    Defect(#[from] Failure),
}

/// Asks the saga of the customer's order to turn back, if the order has one of the tags `expected`; what that causes is part of
/// the given trace. Asking twice changes nothing.
///
/// # Errors
/// [`Error`]; what was recorded by then stays, and asking again is safe.
pub async fn cancel(
    units: &Units,
    saga: &OrderSaga,
    customer: &CustomerId,
    (id, trace): (OrderId, Option<trace::Context>),
    expected: Option<&Tags>,
) -> Result<Answer, Error> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match cancel_once(units, saga, customer, (id, trace), expected).await {
            Err(Error::Database(error)) if attempt < TRIES && retry_of(&error) == Retry::Same => {
                tracing::debug!(error = %error, attempt, order.id = %id, "cancel an order");
                sleep(Duration::from_millis(20) * attempt).await;
            }
            done => return done,
        }
    }
}

async fn cancel_once(
    units: &Units,
    saga: &OrderSaga,
    customer: &CustomerId,
    (id, trace): (OrderId, Option<trace::Context>),
    expected: Option<&Tags>,
) -> Result<Answer, Error> {
    let mut tx = units.begin().await?;
    let Some(before) = store::find_order(&mut tx, customer, id).await? else { return Ok(Answer::NotFound) };
    let changed = |now: &Read| expected.is_some_and(|expected| !expected.name(&now.tag()));
    if changed(&before) {
        return Ok(Answer::Changed);
    }
    match before.decided {
        contract::OrderStatus::Confirmed => return Ok(Answer::Confirmed),
        contract::OrderStatus::Cancelled => return Ok(Answer::Already(before)),
        contract::OrderStatus::Pending | contract::OrderStatus::Stuck => {}
    }
    let mut needs: Needs<Rows> = Needs::default();
    OrderSaga::needs(id, &mut needs);
    let mut unit = units.load(&mut tx, needs).await?;
    // Now that it is locked, nothing moves it any more.
    if expected.is_some() && store::find_order(&mut tx, customer, id).await?.is_none_or(|now| changed(&now)) {
        return Ok(Answer::Changed);
    }
    unit.because(
        Cause::new(MessageId::external(&format!("{customer}:POST /v1/orders/cancel"), &id.to_string()), id.to_string()).traced(trace),
    );
    saga.take(&mut unit, id, &Input::cancel(CancelReason::CancelledByCustomer.as_str()))?;
    let order: Order = unit.state(&order_stream(id))?;
    if !unit.is_empty() {
        units.store(&mut tx, &mut unit).await?;
    }
    let after = store::find_order(&mut tx, customer, id).await?;
    tx.commit().await?;
    units.committed(&mut unit);
    match (order, after) {
        // It was confirmed between the look and the lock.
        (Order::Confirmed, _) => Ok(Answer::Confirmed),
        (Order::None | Order::Pending { .. } | Order::Cancelled { .. }, Some(after)) => Ok(Answer::Requested(after)),
        (Order::None | Order::Pending { .. } | Order::Cancelled { .. }, None) => Ok(Answer::NotFound),
    }
}
