use kafka::{Failure, Meta, Needs, Unit};
use payment_domain::Command;
use schemas::orders::OrderPlaced;

use crate::store::Books;
use crate::wire;

pub(crate) fn ask(message: &OrderPlaced, needs: &mut Needs<Books>) {
    super::ask(message.order_id, needs);
}

pub(crate) fn handle(unit: &mut Unit<Books>, meta: &Meta, message: &OrderPlaced) -> Result<(), Failure> {
    let total = wire::amount(&message.total).map_err(|error| error.in_message("OrderPlaced", message.order_id))?;
    let token = message.payment_token.as_ref();
    super::handle(unit, meta, message.order_id, &Command::OrderPlaced { total, card: wire::card(token) }, token)
}

/// It died: its saga is told, and it does nothing when somebody sends it again.
pub(crate) fn give_up(unit: &mut Unit<Books>, meta: &Meta, message: &OrderPlaced, failure: &Failure) -> Result<(), Failure> {
    super::handle(unit, meta, message.order_id, &Command::GiveUpAuthorize { code: failure.code.to_owned() }, None)
}
