//! A product can be ordered from now on.

use kafka::{Failure, Needs, Unit};
use schemas::inventory::ProductListed;

use super::list;
use crate::store::Rows;

pub(crate) fn ask(_: &ProductListed, _: &mut Needs<Rows>) {}

pub(crate) fn handle(unit: &mut Unit<Rows>, message: &ProductListed) -> Result<(), Failure> {
    list(unit, &message.sku, &message.price)
}
