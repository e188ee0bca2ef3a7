//! The money is ours: the order is confirmed, unless its saga has turned back.

use kafka::{Failure, Needs, Unit};
use order_domain::CAPTURE;
use saga::{Answer, Input};
use schemas::payments::PaymentCaptured;

use crate::steer::OrderSaga;
use crate::store::Rows;

pub(crate) fn ask(message: &PaymentCaptured, needs: &mut Needs<Rows>) {
    OrderSaga::needs(message.order_id.into(), needs);
}

pub(crate) fn handle(saga: &OrderSaga, unit: &mut Unit<Rows>, message: &PaymentCaptured) -> Result<(), Failure> {
    saga.take(unit, message.order_id.into(), &Input::reply(CAPTURE, Answer::Done))
}
