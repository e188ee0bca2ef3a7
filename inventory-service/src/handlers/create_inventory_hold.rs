use inventory_domain::hold::{Command, Wanted};
use kafka::{Failure, Meta, Needs, Unit};
use schemas::inventory::CreateInventoryHold;

use super::{decide, hold_stream};
use crate::store::Rows;
use crate::wire;

pub(crate) fn ask(message: &CreateInventoryHold, needs: &mut Needs<Rows>) {
    needs.stream(hold_stream(message.order_id));
    needs.work.skus.extend(message.lines.iter().map(|line| line.sku.clone()));
}

pub(crate) fn handle(unit: &mut Unit<Rows>, _: &Meta, message: &CreateInventoryHold) -> Result<(), Failure> {
    let lines = wire::lines(&message.lines).map_err(|error| error.in_message("CreateInventoryHold", message.order_id))?;
    decide(unit, message.order_id, |rows| Command::Create(Wanted::new(lines, |sku| rows.available(sku))))
}

/// It died: its saga is told, and it does nothing when somebody sends it again.
pub(crate) fn give_up(unit: &mut Unit<Rows>, _: &Meta, message: &CreateInventoryHold, failure: &Failure) -> Result<(), Failure> {
    decide(unit, message.order_id, |_| Command::GiveUp { code: failure.code.to_owned() })
}
