use kafka::{Failure, Meta, Needs, Unit};
use payment_domain::Command;
use schemas::payments::RefundPayment;

use crate::store::Books;

pub(crate) fn ask(message: &RefundPayment, needs: &mut Needs<Books>) {
    super::ask(message.order_id, needs);
}

/// As a void: the provider knows whether there is something to give back.
pub(crate) fn handle(unit: &mut Unit<Books>, meta: &Meta, message: &RefundPayment) -> Result<(), Failure> {
    super::handle(unit, meta, message.order_id, &Command::Void, None)
}
