//! The stock is set aside: the money can be taken.

use kafka::{Failure, Needs, Unit};
use order_domain::HOLD;
use saga::{Answer, Input};
use schemas::inventory::InventoryReserved;

use crate::steer::OrderSaga;
use crate::store::Rows;

pub(crate) fn ask(message: &InventoryReserved, needs: &mut Needs<Rows>) {
    OrderSaga::needs(message.order_id.into(), needs);
}

pub(crate) fn handle(saga: &OrderSaga, unit: &mut Unit<Rows>, message: &InventoryReserved) -> Result<(), Failure> {
    saga.take(unit, message.order_id.into(), &Input::reply(HOLD, Answer::Done))
}
