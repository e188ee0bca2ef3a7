//! A product has a new price; orders placed before keep theirs.

use kafka::{Failure, Needs, Unit};
use schemas::inventory::PriceChanged;

use super::list;
use crate::store::Rows;

pub(crate) fn ask(_: &PriceChanged, _: &mut Needs<Rows>) {}

pub(crate) fn handle(unit: &mut Unit<Rows>, message: &PriceChanged) -> Result<(), Failure> {
    list(unit, &message.sku, &message.price)
}
