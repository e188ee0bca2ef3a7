//! A command to payments was given up after its last attempt.

use kafka::{Failure, Needs, Unit};
use saga::{Answer, Input};
use schemas::payments::StepFailed;

use crate::steer::OrderSaga;
use crate::store::Rows;

pub(crate) fn ask(message: &StepFailed, needs: &mut Needs<Rows>) {
    OrderSaga::needs(message.order_id.into(), needs);
}

pub(crate) fn handle(saga: &OrderSaga, unit: &mut Unit<Rows>, message: &StepFailed) -> Result<(), Failure> {
    saga.take(unit, message.order_id.into(), &Input::reply(message.step.as_str(), Answer::failed(message.code.as_str())))
}
