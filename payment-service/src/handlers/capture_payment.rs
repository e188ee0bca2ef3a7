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

/// It died: its saga is told, and it does nothing when somebody sends it again.
pub(crate) fn give_up(unit: &mut Unit<Books>, meta: &Meta, message: &CapturePayment, failure: &Failure) -> Result<(), Failure> {
    super::handle(unit, meta, message.order_id, &Command::GiveUpCapture { code: failure.code.to_owned() }, None)
}
