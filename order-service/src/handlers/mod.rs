//! One file a message: wire to domain, one call, done.

pub(crate) mod inventory_hold_committed;
pub(crate) mod inventory_hold_released;
pub(crate) mod inventory_rejected;
pub(crate) mod inventory_reserved;
pub(crate) mod inventory_step_failed;
pub(crate) mod payment_captured;
pub(crate) mod payment_declined;
pub(crate) mod payment_refunded;
pub(crate) mod payment_voided;
pub(crate) mod payments_step_failed;
pub(crate) mod price_changed;
pub(crate) mod product_listed;

use kafka::{Failure, Unit};
use schemas::common::Money;

use crate::store::Rows;
use crate::wire;

/// Puts a product's price into the projection.
fn list(unit: &mut Unit<Rows>, sku: &str, price: &Money) -> Result<(), Failure> {
    let wrong = |field: &str, error: &dyn std::fmt::Display| Failure::permanent("invalid_field", format!("{field} of a product: {error}"));
    let sku = sku.parse().map_err(|error: values::SkuError| wrong("sku", &error))?;
    let price = wire::amount(price, "price").map_err(|error| wrong("price", &error))?;
    unit.work.list(sku, price);
    Ok(())
}
