//! All committed records of one order, told apart by what they say.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::message::{Body, Money, Placed, Units};
use super::world::{Record, World};

/// One order as its records tell it.
#[derive(Debug, Default)]
pub(super) struct Story<'w> {
    /// All of them, by topic, partition and offset.
    pub(super) records: Vec<&'w Record>,
    pub(super) placed: Vec<&'w Placed>,
    pub(super) confirmed: usize,
    /// The reasons of its cancellations.
    pub(super) cancelled: Vec<&'w str>,
    /// The outcomes of its saga's ends.
    pub(super) saga_ended: Vec<&'w str>,
    pub(super) reserved: Vec<&'w Units>,
    pub(super) rejected: usize,
    pub(super) committed: usize,
    pub(super) released: Vec<&'w Units>,
    pub(super) captured: Vec<&'w Money>,
    pub(super) refunded: Vec<&'w Money>,
    pub(super) declined: usize,
    pub(super) voided: usize,
}

/// How an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Neither confirmed nor cancelled, or its saga still has something to do.
    Open,
    Confirmed,
    Cancelled,
}

impl Story<'_> {
    /// The end its records tell; contradictions are I5's business and count as open here.
    pub(super) fn end(&self) -> End {
        match (self.confirmed > 0, self.cancelled.is_empty(), self.saga_ended.is_empty()) {
            (true, true, false) => End::Confirmed,
            (false, false, false) => End::Cancelled,
            _ => End::Open,
        }
    }
}

/// The stories of all orders that any committed record is about.
pub(super) fn stories(world: &World) -> BTreeMap<Uuid, Story<'_>> {
    let mut stories: BTreeMap<Uuid, Story<'_>> = BTreeMap::new();
    for record in world.committed() {
        let Some(order) = record.body.order() else { continue };
        let story = stories.entry(order).or_default();
        story.records.push(record);
        match &record.body {
            Body::OrderPlaced(placed) => story.placed.push(placed),
            Body::OrderConfirmed { .. } => story.confirmed += 1,
            Body::OrderCancelled { reason, .. } => story.cancelled.push(reason),
            Body::SagaEnded { outcome, .. } => story.saga_ended.push(outcome),
            Body::InventoryReserved { lines, .. } => story.reserved.push(lines),
            Body::InventoryRejected { .. } => story.rejected += 1,
            Body::InventoryHoldCommitted { .. } => story.committed += 1,
            Body::InventoryHoldReleased { lines, .. } => story.released.push(lines),
            Body::PaymentCaptured { amount, .. } => story.captured.push(amount),
            Body::PaymentRefunded { amount, .. } => story.refunded.push(amount),
            Body::PaymentDeclined { .. } => story.declined += 1,
            Body::PaymentVoided { .. } => story.voided += 1,
            Body::SagaStarted { .. }
            | Body::SagaStepRecorded { .. }
            | Body::CreateInventoryHold { .. }
            | Body::CommitInventoryHold { .. }
            | Body::ReleaseInventoryHold { .. }
            | Body::ProductListed { .. }
            | Body::PriceChanged { .. }
            | Body::StockReceived { .. }
            | Body::StockAdjusted { .. }
            | Body::InventoryStepFailed { .. }
            | Body::CapturePayment { .. }
            | Body::VoidPayment { .. }
            | Body::RefundPayment { .. }
            | Body::PaymentAuthorized { .. }
            | Body::PaymentStepFailed { .. }
            | Body::Unreadable(_) => {}
        }
    }
    stories
}

/// The orders whose saga is listed as stuck.
pub(super) fn stuck(world: &World) -> HashSet<Uuid> {
    world.orders.sagas.iter().filter(|saga| saga.status.as_ref() == "stuck").map(|saga| saga.order).collect()
}

/// SKU and units, sorted, for comparison.
pub(super) fn sorted(units: &Units) -> Units {
    let mut units = units.clone();
    units.sort();
    units
}
