//! A rebuild's view of this service's streams: products and holds, each folded from all its events and projected.

use std::collections::BTreeMap;

use inventory_domain::hold::{self, Hold};
use inventory_domain::product::{self, Product};
use kafka::{Failure, History, Recorded, Replay};
use schemas::inventory as record;
use schemas::record::Record as _;
use uuid::Uuid;
use values::Sku;

use crate::store::Rows;
use crate::wire::{self, HoldRecord, ProductRecord};

/// Folds and projects one stream.
pub(crate) fn replay(history: &History<'_>, replay: &mut Replay<'_, Rows>) -> Result<(), Failure> {
    match history.stream().strip_prefix("hold-") {
        Some(order) => {
            let order = order.parse().map_err(|_no_uuid: uuid::Error| history.unreadable("is not the hold of an order"))?;
            hold(order, history, replay)
        }
        None => product(history, replay),
    }
}

fn hold(order: Uuid, history: &History<'_>, replay: &mut Replay<'_, Rows>) -> Result<(), Failure> {
    let mut state = Hold::default();
    // Together: what was held and released again changes nothing.
    let mut available: BTreeMap<Sku, i64> = BTreeMap::new();
    for recorded in history.events() {
        let event = wire::hold_event(&hold_record(history, recorded)?).map_err(|error| history.unreadable(error))?;
        for change in event.changes() {
            let units = available.entry(change.sku).or_default();
            *units = units.saturating_add(change.available);
        }
        state = hold::evolve(state, &event);
        replay.work.hold(order, &event);
    }
    for (sku, units) in available {
        replay.work.recount(sku, 0, units);
    }
    replay.state(&state)
}

fn product(history: &History<'_>, replay: &mut Replay<'_, Rows>) -> Result<(), Failure> {
    let mut state = Product::default();
    let (mut of, mut received) = (None, 0_i64);
    for recorded in history.events() {
        let record = product_record(history, recorded)?;
        let (sku, event) = wire::product_event(&record).map_err(|error| history.unreadable(error))?;
        state = product::evolve(state, &event);
        received = received.saturating_add(event.change(&sku).map_or(0, |change| change.received));
        if let ProductRecord::Received(record::StockReceived { idempotency: Some(key), .. }) = record {
            replay.work.answered(key, recorded);
        }
        of = Some(sku);
    }
    if let (Some(sku), Product::Listed { entry, .. }) = (of, &state) {
        replay.work.relist(&sku, entry.clone());
        replay.work.recount(sku, received, received);
    }
    replay.state(&state)
}

fn hold_record(history: &History<'_>, recorded: &Recorded) -> Result<HoldRecord, Failure> {
    Ok(match recorded.record() {
        record::InventoryReserved::FULL_NAME => HoldRecord::Reserved(history.read(recorded)?),
        record::InventoryRejected::FULL_NAME => HoldRecord::Rejected(history.read(recorded)?),
        record::InventoryHoldCommitted::FULL_NAME => HoldRecord::Committed(history.read(recorded)?),
        record::InventoryHoldReleased::FULL_NAME => HoldRecord::Released(history.read(recorded)?),
        record::StepFailed::FULL_NAME => HoldRecord::StepFailed(history.read(recorded)?),
        other => return Err(history.unreadable(format_args!("{other} in the stream of a hold"))),
    })
}

fn product_record(history: &History<'_>, recorded: &Recorded) -> Result<ProductRecord, Failure> {
    Ok(match recorded.record() {
        record::ProductListed::FULL_NAME => ProductRecord::Listed(history.read(recorded)?),
        record::PriceChanged::FULL_NAME => ProductRecord::PriceChanged(history.read(recorded)?),
        record::StockReceived::FULL_NAME => ProductRecord::Received(history.read(recorded)?),
        record::StockAdjusted::FULL_NAME => ProductRecord::Adjusted(history.read(recorded)?),
        other => return Err(history.unreadable(format_args!("{other} in the stream of a product"))),
    })
}
