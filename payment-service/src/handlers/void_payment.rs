use kafka::{Failure, Meta, Needs, Unit};
use payment_domain::Command;
use schemas::payments::VoidPayment;

use crate::store::Books;

pub(crate) fn ask(message: &VoidPayment, needs: &mut Needs<Books>) {
    super::ask(message.order_id, needs);
}

pub(crate) fn handle(unit: &mut Unit<Books>, meta: &Meta, message: &VoidPayment) -> Result<(), Failure> {
    super::handle(unit, meta, message.order_id, &Command::Void, None)
}
