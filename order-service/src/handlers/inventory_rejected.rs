//! The stock is short: the order is called off.

use kafka::{Failure, Needs, Unit};
use order_domain::{CancelReason, HOLD};
use saga::{Answer, Input};
use schemas::inventory::InventoryRejected;

use crate::steer::OrderSaga;
use crate::store::Rows;

pub(crate) fn ask(message: &InventoryRejected, needs: &mut Needs<Rows>) {
    OrderSaga::needs(message.order_id.into(), needs);
}

pub(crate) fn handle(saga: &OrderSaga, unit: &mut Unit<Rows>, message: &InventoryRejected) -> Result<(), Failure> {
    saga.take(unit, message.order_id.into(), &Input::reply(HOLD, Answer::refused(CancelReason::OutOfStock.as_str())))
}
