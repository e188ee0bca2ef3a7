// Made by `cargo xtask schemas` from schemas/avro. Do not edit: change the schema and run it again.

//! Types of the namespace `orders`.

use record::Record;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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

/// The order will not be fulfilled; what was held and authorised is being given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancelled {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// Why: `out_of_stock`, `payment_declined`, deadline, `cancelled_by_customer` or failed.
    pub reason: String,
    /// When it was cancelled, in microseconds since 1970-01-01T00:00:00Z.
    pub cancelled_at: i64,
}

impl Record for OrderCancelled {
    const FULL_NAME: &'static str = "orders.OrderCancelled";
    const SCHEMA: &'static str = include_str!("../../avro/orders/OrderCancelled.avsc");
    const TOPIC: &'static str = crate::topics::ORDERS_EVENTS;
}

/// The payment is captured: the order will be shipped and can no longer be cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderConfirmed {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// When it was confirmed, in microseconds since 1970-01-01T00:00:00Z.
    pub confirmed_at: i64,
}

impl Record for OrderConfirmed {
    const FULL_NAME: &'static str = "orders.OrderConfirmed";
    const SCHEMA: &'static str = include_str!("../../avro/orders/OrderConfirmed.avsc");
    const TOPIC: &'static str = crate::topics::ORDERS_EVENTS;
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// The product, 1 to 64 characters of A-Z a-z 0-9 . _ -.
    pub sku: String,
    /// Units ordered, 1 to 1000000.
    pub quantity: i64,
    /// Price of one unit when the order was placed, in minor units of the currency of the order's total.
    pub unit_price_minor: i64,
}

/// An order was accepted and priced by the server; its saga starts in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// Who placed it, 1 to 64 characters of A-Z a-z 0-9 . _ @ -.
    pub customer_id: String,
    /// What was ordered: 1 to 200 lines, a product at most once.
    pub lines: Vec<OrderLine>,
    /// Sum over the lines of quantity times unit price.
    pub total: crate::common::Money,
    /// When it was placed, in microseconds since 1970-01-01T00:00:00Z.
    pub placed_at: i64,
    /// The payment token of the order, sealed; null when it is not carried.
    #[serde(default)]
    pub payment_token: Option<crate::common::Sealed>,
    /// The idempotency key the order was placed with.
    pub idempotency: Idempotency,
    /// Whom the order is for (name, e-mail, address as JSON), sealed with a key of the customer's own, which is destroyed to erase it; null when it was not given.
    #[serde(default)]
    pub contact: Option<crate::common::Sealed>,
}

impl Record for OrderPlaced {
    const FULL_NAME: &'static str = "orders.OrderPlaced";
    const SCHEMA: &'static str = include_str!("../../avro/orders/OrderPlaced.avsc");
    const TOPIC: &'static str = crate::topics::ORDERS_EVENTS;
}

/// The saga of an order has nothing left to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SagaEnded {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// How it ended: confirmed or cancelled.
    pub outcome: String,
    /// When it ended, in microseconds since 1970-01-01T00:00:00Z.
    pub ended_at: i64,
}

impl Record for SagaEnded {
    const FULL_NAME: &'static str = "orders.SagaEnded";
    const SCHEMA: &'static str = include_str!("../../avro/orders/SagaEnded.avsc");
    const TOPIC: &'static str = crate::topics::ORDERS_SAGA;
}

/// The saga of an order began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SagaStarted {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// Name of the saga's definition.
    pub definition: String,
    /// Version of the definition's shape, from 1: the instance finishes under the shape it started with.
    pub shape_version: i32,
    /// The first awaited step.
    pub step: String,
    /// When the first awaited step is given up, in microseconds since 1970-01-01T00:00:00Z.
    pub deadline_at: i64,
    /// When the saga began, in microseconds since 1970-01-01T00:00:00Z.
    pub started_at: i64,
}

impl Record for SagaStarted {
    const FULL_NAME: &'static str = "orders.SagaStarted";
    const SCHEMA: &'static str = include_str!("../../avro/orders/SagaStarted.avsc");
    const TOPIC: &'static str = crate::topics::ORDERS_SAGA;
}

/// The saga of an order reached another state of one of its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SagaStepRecorded {
    /// The order, a UUID of version 7.
    #[serde(with = "crate::uuid_text")]
    pub order_id: Uuid,
    /// The saga step, by its name in the definition.
    pub step: String,
    /// The state the step reached: sent, done, refused, failed, expired, cancelled, `in_doubt`, undoing, undone, stuck, `undo_stuck` or abandoned.
    pub state: String,
    /// Why, where the state needs a reason; otherwise null.
    #[serde(default)]
    pub reason: Option<String>,
    /// When the awaited step is given up, in microseconds since 1970-01-01T00:00:00Z; null when no deadline is armed.
    #[serde(default)]
    pub deadline_at: Option<i64>,
    /// The person who decided it, where one resumed or abandoned a stuck saga; otherwise null.
    #[serde(default)]
    pub decided_by: Option<String>,
    /// When the state was reached, in microseconds since 1970-01-01T00:00:00Z.
    pub recorded_at: i64,
}

impl Record for SagaStepRecorded {
    const FULL_NAME: &'static str = "orders.SagaStepRecorded";
    const SCHEMA: &'static str = include_str!("../../avro/orders/SagaStepRecorded.avsc");
    const TOPIC: &'static str = crate::topics::ORDERS_SAGA;
}
