//! Nothing is authorised or captured any more.

use kafka::{Failure, Needs, Unit};
use order_domain::AUTHORIZE;
use saga::Input;
use schemas::payments::PaymentVoided;

use crate::steer::OrderSaga;
use crate::store::Rows;

pub(crate) fn ask(message: &PaymentVoided, needs: &mut Needs<Rows>) {
    OrderSaga::needs(message.order_id.into(), needs);
}

pub(crate) fn handle(saga: &OrderSaga, unit: &mut Unit<Rows>, message: &PaymentVoided) -> Result<(), Failure> {
    saga.take(unit, message.order_id.into(), &Input::undone(AUTHORIZE))
}
