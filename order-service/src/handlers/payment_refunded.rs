//! What was captured is given back.

use kafka::{Failure, Needs, Unit};
use order_domain::AUTHORIZE;
use saga::Input;
use schemas::payments::PaymentRefunded;

use crate::steer::OrderSaga;
use crate::store::Rows;

pub(crate) fn ask(message: &PaymentRefunded, needs: &mut Needs<Rows>) {
    OrderSaga::needs(message.order_id.into(), needs);
}

pub(crate) fn handle(saga: &OrderSaga, unit: &mut Unit<Rows>, message: &PaymentRefunded) -> Result<(), Failure> {
    saga.take(unit, message.order_id.into(), &Input::undone(AUTHORIZE))
}
