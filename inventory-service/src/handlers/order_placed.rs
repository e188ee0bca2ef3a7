use kafka::{Failure, Meta, Needs, Unit};
use schemas::orders::OrderPlaced;

use crate::store::Rows;
use crate::wire;

/// Nothing to load: the counters are added to.
pub(crate) fn ask(_: &OrderPlaced, _: &mut Needs<Rows>) {}

pub(crate) fn handle(unit: &mut Unit<Rows>, _: &Meta, message: &OrderPlaced) -> Result<(), Failure> {
    for line in &message.lines {
        let line = wire::line(&line.sku, line.quantity).map_err(|error| error.in_message("OrderPlaced", message.order_id))?;
        unit.work.demand(line.sku, line.quantity);
    }
    Ok(())
}
