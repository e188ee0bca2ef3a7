// Made by `cargo xtask schemas` from schemas/avro. Do not edit: change the schema and run it again.

pub mod common;
pub mod inventory;
pub mod orders;
pub mod payments;

use crate::Entry;

/// Every record type that is published, by full name.
pub const RECORDS: &[Entry] = &[
    Entry::of::<inventory::CommitInventoryHold>(),
    Entry::of::<inventory::CreateInventoryHold>(),
    Entry::of::<inventory::InventoryHoldCommitted>(),
    Entry::of::<inventory::InventoryHoldReleased>(),
    Entry::of::<inventory::InventoryRejected>(),
    Entry::of::<inventory::InventoryReserved>(),
    Entry::of::<inventory::PriceChanged>(),
    Entry::of::<inventory::ProductListed>(),
    Entry::of::<inventory::ReleaseInventoryHold>(),
    Entry::of::<inventory::StepFailed>(),
    Entry::of::<inventory::StockAdjusted>(),
    Entry::of::<inventory::StockReceived>(),
    Entry::of::<orders::OrderCancelled>(),
    Entry::of::<orders::OrderConfirmed>(),
    Entry::of::<orders::OrderPlaced>(),
    Entry::of::<orders::SagaEnded>(),
    Entry::of::<orders::SagaStarted>(),
    Entry::of::<orders::SagaStepRecorded>(),
    Entry::of::<payments::CapturePayment>(),
    Entry::of::<payments::PaymentAuthorized>(),
    Entry::of::<payments::PaymentCaptured>(),
    Entry::of::<payments::PaymentDeclined>(),
    Entry::of::<payments::PaymentRefunded>(),
    Entry::of::<payments::PaymentVoided>(),
    Entry::of::<payments::RefundPayment>(),
    Entry::of::<payments::StepFailed>(),
    Entry::of::<payments::VoidPayment>(),
];
