//! The stock is the customer's: the saga ends.

use kafka::{Failure, Needs, Unit};
use order_domain::COMMIT;
use saga::{Answer, Input};
use schemas::inventory::InventoryHoldCommitted;

use crate::steer::{OrderSaga, saga_stream};
use crate::store::Rows;

pub(crate) fn ask(message: &InventoryHoldCommitted, needs: &mut Needs<Rows>) {
    // The order was decided at the pivot: only its saga moves.
    needs.stream(saga_stream(message.order_id.into()));
}

pub(crate) fn handle(saga: &OrderSaga, unit: &mut Unit<Rows>, message: &InventoryHoldCommitted) -> Result<(), Failure> {
    saga.take(unit, message.order_id.into(), &Input::reply(COMMIT, Answer::Done))
}
