use inventory_domain::hold::Command;
use kafka::{Failure, Meta, Needs, Unit};
use schemas::inventory::ReleaseInventoryHold;

use super::{decide, hold_stream};
use crate::store::Rows;

pub(crate) fn ask(message: &ReleaseInventoryHold, needs: &mut Needs<Rows>) {
    needs.stream(hold_stream(message.order_id));
    // Which SKUs come back is known by the hold alone.
    needs.work.held_by.insert(message.order_id);
}

pub(crate) fn handle(unit: &mut Unit<Rows>, _: &Meta, message: &ReleaseInventoryHold) -> Result<(), Failure> {
    decide(unit, message.order_id, |_| Command::Release)
}
