use kafka::{Failure, Meta, Needs, Unit};
use payment_domain::Command;
use schemas::payments::CapturePayment;

use crate::store::Books;
use crate::wire;

pub(crate) fn ask(message: &CapturePayment, needs: &mut Needs<Books>) {
    super::ask(message.order_id, needs);
}

pub(crate) fn handle(unit: &mut Unit<Books>, meta: &Meta, message: &CapturePayment) -> Result<(), Failure> {
    let amount = wire::amount(&message.amount).map_err(|error| error.in_message("CapturePayment", message.order_id))?;
    let token = message.payment_token.as_ref();
    super::handle(unit, meta, message.order_id, &Command::Capture { amount, card: wire::card(token) }, token)
}
