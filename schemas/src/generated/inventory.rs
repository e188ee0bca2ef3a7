// Made by `cargo xtask schemas` from schemas/avro. Do not edit: change the schema and run it again.

//! Types of the namespace `inventory`.

use record::Record;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Command: the order is paid; the held units leave the stock for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitInventoryHold {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
}

impl Record for CommitInventoryHold {
    const FULL_NAME: &'static str = "inventory.CommitInventoryHold";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/CommitInventoryHold.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_COMMANDS;
}

/// Command: hold all lines of the order, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateInventoryHold {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// What to hold: 1 to 200 lines, a product at most once.
    pub lines: Vec<HoldLine>,
}

impl Record for CreateInventoryHold {
    const FULL_NAME: &'static str = "inventory.CreateInventoryHold";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/CreateInventoryHold.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_COMMANDS;
}

/// Units of one product in a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldLine {
    /// The product, 1 to 64 characters of A-Z a-z 0-9 . _ -.
    pub sku: String,
    /// Units held, 1 to 1000000.
    pub quantity: i64,
}

/// The idempotency key of the HTTP request behind this event, kept so that a rebuilt database still knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// Whose key it is and for which operation: \<customer>:\<method> \<path>.
    pub scope: String,
    /// The Idempotency-Key header, 1 to 128 characters.
    pub key: String,
    /// SHA-256 of the request, 32 bytes: the same key with another hash is refused.
    #[serde(with = "apache_avro::serde::bytes")]
    pub request_hash: Vec<u8>,
}

/// The held units left the stock for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryHoldCommitted {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// When they left, in microseconds since 1970-01-01T00:00:00Z.
    pub committed_at: i64,
}

impl Record for InventoryHoldCommitted {
    const FULL_NAME: &'static str = "inventory.InventoryHoldCommitted";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/InventoryHoldCommitted.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_EVENTS;
}

/// The hold is undone and will not come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryHoldReleased {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// The units given back; empty when nothing was held.
    pub lines: Vec<HoldLine>,
    /// When they were given back, in microseconds since 1970-01-01T00:00:00Z.
    pub released_at: i64,
}

impl Record for InventoryHoldReleased {
    const FULL_NAME: &'static str = "inventory.InventoryHoldReleased";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/InventoryHoldReleased.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_EVENTS;
}

/// The order cannot be held: at least one product is short. Nothing is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRejected {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// Every product that is short, at least one.
    pub short: Vec<Shortage>,
    /// When it was refused, in microseconds since 1970-01-01T00:00:00Z.
    pub rejected_at: i64,
}

impl Record for InventoryRejected {
    const FULL_NAME: &'static str = "inventory.InventoryRejected";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/InventoryRejected.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_EVENTS;
}

/// All lines of the order are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryReserved {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// What is held.
    pub lines: Vec<HoldLine>,
    /// When it was held, in microseconds since 1970-01-01T00:00:00Z.
    pub reserved_at: i64,
}

impl Record for InventoryReserved {
    const FULL_NAME: &'static str = "inventory.InventoryReserved";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/InventoryReserved.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_EVENTS;
}

/// A product has a new price; orders placed before keep theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceChanged {
    /// The product, 1 to 64 characters of A-Z a-z 0-9 . _ -.
    pub sku: String,
    /// The new price of one unit.
    pub price: crate::common::Money,
    /// When it changed, in microseconds since 1970-01-01T00:00:00Z.
    pub changed_at: i64,
}

impl Record for PriceChanged {
    const FULL_NAME: &'static str = "inventory.PriceChanged";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/PriceChanged.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_EVENTS;
}

/// A product entered the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductListed {
    /// The product, 1 to 64 characters of A-Z a-z 0-9 . _ -.
    pub sku: String,
    /// Its name, as customers read it.
    pub name: String,
    /// Its category.
    pub category: String,
    /// Its brand.
    pub brand: String,
    /// Price of one unit.
    pub price: crate::common::Money,
    /// When it was listed, in microseconds since 1970-01-01T00:00:00Z.
    pub listed_at: i64,
}

impl Record for ProductListed {
    const FULL_NAME: &'static str = "inventory.ProductListed";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/ProductListed.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_EVENTS;
}

/// Command: give the held units back. A hold that comes later does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseInventoryHold {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
}

impl Record for ReleaseInventoryHold {
    const FULL_NAME: &'static str = "inventory.ReleaseInventoryHold";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/ReleaseInventoryHold.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_COMMANDS;
}

/// One product of which too few units were available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The product, 1 to 64 characters of A-Z a-z 0-9 . _ -.
    pub sku: String,
    /// Units the order asked for.
    pub requested: i64,
    /// Units that were available when the hold was refused; 0 for an unknown product.
    pub available: i64,
}

/// A command of the saga could not be carried out and is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailed {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// The saga step, by its name in the definition.
    pub step: String,
    /// Stable error code of the last failure.
    pub code: String,
    /// When it was given up, in microseconds since 1970-01-01T00:00:00Z.
    pub failed_at: i64,
}

impl Record for StepFailed {
    const FULL_NAME: &'static str = "inventory.StepFailed";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/StepFailed.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_EVENTS;
}

/// The stock of a product was corrected by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockAdjusted {
    /// The product, 1 to 64 characters of A-Z a-z 0-9 . _ -.
    pub sku: String,
    /// Units added, or taken away when negative; never 0.
    pub units: i64,
    /// Why, in the operator's words.
    pub reason: String,
    /// When it was corrected, in microseconds since 1970-01-01T00:00:00Z.
    pub adjusted_at: i64,
}

impl Record for StockAdjusted {
    const FULL_NAME: &'static str = "inventory.StockAdjusted";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/StockAdjusted.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_EVENTS;
}

/// Units of a product arrived and are available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReceived {
    /// The product, 1 to 64 characters of A-Z a-z 0-9 . _ -.
    pub sku: String,
    /// Units received, at least 1.
    pub units: i64,
    /// When they were booked, in microseconds since 1970-01-01T00:00:00Z.
    pub received_at: i64,
    /// The idempotency key of the receipt; null when it came with the product or without a request.
    #[serde(default)]
    pub idempotency: Option<Idempotency>,
}

impl Record for StockReceived {
    const FULL_NAME: &'static str = "inventory.StockReceived";
    const SCHEMA: &'static str = include_str!("../../avro/inventory/StockReceived.avsc");
    const TOPIC: &'static str = crate::topics::INVENTORY_EVENTS;
}
