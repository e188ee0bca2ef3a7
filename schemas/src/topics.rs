//! The topics of the system. One topic per context and kind, several record types on it, so that one key's records keep
//! one order; a record type is on exactly one topic, and a topic has exactly one writing service.
//!
//! Not here, because they carry no record of our own schemas: `<service>.relay.position` (compacted, one partition, JSON)
//! and each consumer group's retry and dead-letter topics, which carry failed records unchanged.

use record::Topic;

/// What orders went through.
pub const ORDERS_EVENTS: &str = "orders.events";
/// What the sagas of orders went through.
pub const ORDERS_SAGA: &str = "orders.saga";
/// What inventory is asked to do; written by orders.
pub const INVENTORY_COMMANDS: &str = "inventory.commands";
/// What holds, stock and the catalogue went through.
pub const INVENTORY_EVENTS: &str = "inventory.events";
/// What payments is asked to do; written by orders.
pub const PAYMENTS_COMMANDS: &str = "payments.commands";
/// What payments went through.
pub const PAYMENTS_EVENTS: &str = "payments.events";

/// The service of orders and their sagas.
pub const ORDERS: &str = "orders";
/// The service of stock and the catalogue.
pub const INVENTORY: &str = "inventory";
/// The service of payments.
pub const PAYMENTS: &str = "payments";
/// Every service that owns topics.
pub const SERVICES: &[&str] = &[ORDERS, INVENTORY, PAYMENTS];

/// Every topic that carries our records.
pub const TOPICS: &[Topic] = &[
    Topic {
        name: ORDERS_EVENTS,
        owner: ORDERS,
        key: "order id",
        records: &["orders.OrderPlaced", "orders.OrderConfirmed", "orders.OrderCancelled"],
    },
    Topic {
        name: ORDERS_SAGA,
        owner: ORDERS,
        key: "order id",
        records: &["orders.SagaStarted", "orders.SagaStepRecorded", "orders.SagaEnded"],
    },
    Topic {
        name: INVENTORY_COMMANDS,
        owner: ORDERS,
        key: "order id",
        records: &["inventory.CreateInventoryHold", "inventory.CommitInventoryHold", "inventory.ReleaseInventoryHold"],
    },
    Topic {
        name: INVENTORY_EVENTS,
        owner: INVENTORY,
        key: "order id for holds, SKU for stock and catalogue",
        records: &[
            "inventory.InventoryReserved",
            "inventory.InventoryRejected",
            "inventory.InventoryHoldCommitted",
            "inventory.InventoryHoldReleased",
            "inventory.ProductListed",
            "inventory.PriceChanged",
            "inventory.StockReceived",
            "inventory.StockAdjusted",
            "inventory.StepFailed",
        ],
    },
    Topic {
        name: PAYMENTS_COMMANDS,
        owner: ORDERS,
        key: "order id",
        records: &["payments.CapturePayment", "payments.VoidPayment", "payments.RefundPayment"],
    },
    Topic {
        name: PAYMENTS_EVENTS,
        owner: PAYMENTS,
        key: "order id",
        records: &[
            "payments.PaymentAuthorized",
            "payments.PaymentCaptured",
            "payments.PaymentDeclined",
            "payments.PaymentVoided",
            "payments.PaymentRefunded",
            "payments.StepFailed",
        ],
    },
];

/// The topic that carries the record `full_name`.
#[must_use]
pub fn of(full_name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.records.contains(&full_name))
}

/// The topics `service` writes, in the order of [`TOPICS`].
pub fn owned_by(service: &str) -> impl Iterator<Item = &'static Topic> {
    TOPICS.iter().filter(move |topic| topic.owner == service)
}

/// The record types `service` writes: what it registers at start.
pub fn records_of(service: &str) -> impl Iterator<Item = &'static crate::Entry> {
    crate::RECORDS.iter().filter(move |entry| of(entry.full_name).is_some_and(|topic| topic.owner == service))
}

/// The registry subject of a record on a topic: `<topic>-<full name>`.
#[must_use]
pub fn subject(topic: &str, full_name: &str) -> String {
    format!("{topic}-{full_name}")
}
