//! The provider said no, to the authorisation or to the capture: nothing is authorised or captured.

use kafka::{Failure, Needs, Unit};
use order_domain::{AUTHORIZE, CancelReason};
use saga::{Answer, Input};
use schemas::payments::PaymentDeclined;

use crate::steer::OrderSaga;
use crate::store::Rows;

pub(crate) fn ask(message: &PaymentDeclined, needs: &mut Needs<Rows>) {
    OrderSaga::needs(message.order_id.into(), needs);
}

pub(crate) fn handle(saga: &OrderSaga, unit: &mut Unit<Rows>, message: &PaymentDeclined) -> Result<(), Failure> {
    saga.take(unit, message.order_id.into(), &Input::reply(AUTHORIZE, Answer::refused(CancelReason::PaymentDeclined.as_str())))
}
