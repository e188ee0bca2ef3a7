//! Nothing is set aside any more.

use kafka::{Failure, Needs, Unit};
use order_domain::HOLD;
use saga::Input;
use schemas::inventory::InventoryHoldReleased;

use crate::steer::OrderSaga;
use crate::store::Rows;

pub(crate) fn ask(message: &InventoryHoldReleased, needs: &mut Needs<Rows>) {
    OrderSaga::needs(message.order_id.into(), needs);
}

pub(crate) fn handle(saga: &OrderSaga, unit: &mut Unit<Rows>, message: &InventoryHoldReleased) -> Result<(), Failure> {
    saga.take(unit, message.order_id.into(), &Input::undone(HOLD))
}
