use inventory_domain::hold::Command;
use kafka::{Failure, Meta, Needs, Unit};
use schemas::inventory::CommitInventoryHold;

use super::{decide, hold_stream};
use crate::store::Rows;

pub(crate) fn ask(message: &CommitInventoryHold, needs: &mut Needs<Rows>) {
    needs.stream(hold_stream(message.order_id));
}

pub(crate) fn handle(unit: &mut Unit<Rows>, _: &Meta, message: &CommitInventoryHold) -> Result<(), Failure> {
    decide(unit, message.order_id, |_| Command::Commit)
}
