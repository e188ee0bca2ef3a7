//! The stock is the customer's: the saga ends.

use kafka::{Failure, Needs, Unit};
use order_domain::COMMIT;
use saga::{Answer, Input};
use schemas::inventory::InventoryHoldCommitted;

use crate::steer::OrderSaga;
use crate::store::Rows;

pub(crate) fn ask(message: &InventoryHoldCommitted, needs: &mut Needs<Rows>) {
    OrderSaga::needs(message.order_id.into(), needs);
}

pub(crate) fn handle(saga: &OrderSaga, unit: &mut Unit<Rows>, message: &InventoryHoldCommitted) -> Result<(), Failure> {
    saga.take(unit, message.order_id.into(), &Input::reply(COMMIT, Answer::Done))
}
