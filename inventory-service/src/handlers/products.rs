//! Decisions about products. No message asks for one yet: HTTP does.

use inventory_domain::product::{self, Command, Event, Product, Rejection};
use kafka::{Failure, Unit};
use schemas::inventory::Idempotency;
use values::Sku;

use crate::store::Rows;
use crate::wire::{self, ProductRecord};

/// The stream of a product.
pub(crate) fn sku_stream(sku: &Sku) -> String {
    format!("sku-{sku}")
}

/// Decides `command` on the product and writes what follows: events, its SKU row, its catalogue row.
///
/// # Errors
/// The outer error is a defect; the inner one the domain's answer, with nothing written.
pub(crate) fn decide(
    unit: &mut Unit<Rows>,
    sku: &Sku,
    command: &Command,
    source: Option<&Idempotency>,
) -> Result<Result<(), Rejection>, Failure> {
    let stream = sku_stream(sku);
    let mut state: Product = unit.state(&stream)?;
    let events = match product::decide(&state, command) {
        Ok(events) => events,
        Err(rejection) => return Ok(Err(rejection)),
    };
    for event in events {
        state = product::evolve(state, &event);
        match (&state, &event) {
            (Product::Listed { entry, .. }, Event::Listed { .. } | Event::PriceChanged { .. }) => unit.work.list(sku, entry.clone()),
            (Product::Listed { .. } | Product::Unlisted, _) => {}
        }
        if let Some(change) = event.change(sku) {
            unit.work.change(&change)?;
        }
        let key = sku.as_ref();
        match wire::product_record(sku, &event, unit.now(), source) {
            ProductRecord::Listed(record) => unit.append(&stream, key, &record, &state)?,
            ProductRecord::PriceChanged(record) => unit.append(&stream, key, &record, &state)?,
            ProductRecord::Received(record) => unit.append(&stream, key, &record, &state)?,
            ProductRecord::Adjusted(record) => unit.append(&stream, key, &record, &state)?,
        };
    }
    Ok(Ok(()))
}
