//! Everything the checker looks at, as plain values: what was read from the topics, the databases and the HTTP log.

use std::fmt;

use uuid::Uuid;

use super::headers::Headers;
use super::message::{Body, Line, Money};
use crate::httplog::Entry;

/// A service that owns a database and writes topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// order-service.
    Orders,
    /// inventory-service.
    Inventory,
    /// payment-service.
    Payments,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Orders, Self::Inventory, Self::Payments];

    /// The name in `src` headers, topics and databases.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Inventory => "inventory",
            Self::Payments => "payments",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A topic of the system; exactly one service writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `orders.events`.
    OrdersEvents,
    /// `orders.saga`.
    OrdersSaga,
    /// `inventory.commands`.
    InventoryCommands,
    /// `inventory.events`.
    InventoryEvents,
    /// `payments.commands`.
    PaymentsCommands,
    /// `payments.events`.
    PaymentsEvents,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::OrdersEvents,
        Self::OrdersSaga,
        Self::InventoryCommands,
        Self::InventoryEvents,
        Self::PaymentsCommands,
        Self::PaymentsEvents,
    ];

    /// Kafka's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OrdersEvents => "orders.events",
            Self::OrdersSaga => "orders.saga",
            Self::InventoryCommands => "inventory.commands",
            Self::InventoryEvents => "inventory.events",
            Self::PaymentsCommands => "payments.commands",
            Self::PaymentsEvents => "payments.events",
        }
    }

    /// The topic of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The only service that writes it.
    #[must_use]
    pub fn owner(self) -> Service {
        match self {
            Self::OrdersEvents | Self::OrdersSaga | Self::InventoryCommands | Self::PaymentsCommands => Service::Orders,
            Self::InventoryEvents => Service::Inventory,
            Self::PaymentsEvents => Service::Payments,
        }
    }

    /// Whether its records are commands, which belong to no stream of events.
    #[must_use]
    pub fn carries_commands(self) -> bool {
        matches!(self, Self::InventoryCommands | Self::PaymentsCommands)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// SHA-256 of a record's or a row's payload.
pub type Hash = [u8; 32];

/// One record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub topic: Topic,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Whether a `read_committed` reader sees it; every record is seen by a `read_uncommitted` one.
    pub committed: bool,
    /// The record's timestamp, Unix milliseconds.
    pub at_ms: i64,
    /// Its key, as text.
    pub key: Box<str>,
    /// Its headers.
    pub headers: Headers,
    /// Hash of the value's bytes.
    pub hash: Hash,
    /// The value, decoded.
    pub body: Body,
}

impl Record {
    /// `topic[partition]@offset`, to find it again.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}[{}]@{}", self.topic, self.partition, self.offset)
    }

    /// Its message id in words.
    #[must_use]
    pub fn id(&self) -> String {
        self.headers.id.map_or_else(|| self.place(), |id| id.to_string())
    }
}

/// How far a partition reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionEnd {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: i32,
    /// The first offset kept.
    pub low: i64,
    /// The offset after the last record or marker.
    pub high: i64,
    /// The last stable offset: below `high` while a transaction is open.
    pub stable: i64,
}

/// The newest committed position record of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Whose relay.
    pub service: Service,
    /// The database it reads.
    pub incarnation: Uuid,
    /// The last outbox id published.
    pub cursor: i64,
}

/// A row of `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its stream.
    pub stream: Box<str>,
    /// Its version, counted from 1.
    pub version: i64,
    /// The message id it is published under.
    pub event_id: Uuid,
    /// Full name of the record.
    pub full_name: Box<str>,
    /// The topic it is published to.
    pub topic: Box<str>,
    /// What caused it.
    pub causation_id: Uuid,
    /// Hash of the bytes.
    pub hash: Hash,
}

/// A row of `outbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// The id: block · 8192 + ordinal; the `seq` header.
    pub id: i64,
    /// Rows of its transaction.
    pub tx_rows: i32,
    /// The `ce_id` header.
    pub message_id: Uuid,
    /// The topic to publish to.
    pub topic: Box<str>,
    /// The partition to publish to.
    pub partition: i32,
    /// The record key, as text.
    pub key: Box<str>,
    /// Hash of the bytes.
    pub hash: Hash,
}

/// The tables of the runtime, in one service's database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// Who the database is.
    pub incarnation: Uuid,
    /// Who it was before it was rebuilt: their records are on the topics as well.
    pub earlier: Vec<Uuid>,
    /// Table `events`.
    pub events: Vec<EventRow>,
    /// Table `outbox`.
    pub outbox: Vec<OutboxRow>,
    /// Table `streams`: stream and version.
    pub streams: Vec<(Box<str>, i64)>,
}

/// A row of `orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// The order.
    pub id: Uuid,
    /// Who placed it.
    pub customer: Box<str>,
    /// PENDING, CONFIRMED or CANCELLED.
    pub status: Box<str>,
    /// Why it was cancelled.
    pub reason: Option<Box<str>>,
    /// What was ordered, at which price.
    pub lines: Vec<Line>,
    /// The price of all lines.
    pub total: Money,
    /// Whether its end was recorded.
    pub ended: bool,
}

/// A row of `idempotency` in the orders database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementKey {
    /// `<customer>:POST /v1/orders`.
    pub scope: Box<str>,
    /// The client's key.
    pub key: Box<str>,
    /// Hash of the request it was used for.
    pub request_hash: Vec<u8>,
    /// The order it made.
    pub order: Uuid,
}

/// A row of `sagas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaRow {
    /// The order.
    pub order: Uuid,
    /// running, stuck or ended.
    pub status: Box<str>,
}

/// The orders database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Orders {
    /// The runtime's tables.
    pub log: Log,
    /// Table `orders`.
    pub orders: Vec<OrderRow>,
    /// Table `idempotency`.
    pub keys: Vec<PlacementKey>,
    /// Table `sagas`.
    pub sagas: Vec<SagaRow>,
    /// Table `prices`, a projection: SKU and price.
    pub prices: Vec<(Box<str>, Money)>,
}

/// A row of `stock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockRow {
    /// The SKU.
    pub sku: Box<str>,
    /// Units ever received, adjustments included.
    pub received: i64,
    /// Units free to be held.
    pub available: i64,
}

/// A row of `hold_lines`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldLineRow {
    /// The order.
    pub order: Uuid,
    /// The SKU.
    pub sku: Box<str>,
    /// Units.
    pub quantity: i64,
}

/// The inventory database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The runtime's tables.
    pub log: Log,
    /// Table `stock`.
    pub stock: Vec<StockRow>,
    /// Table `holds`: order and state (held, committed, released, rejected).
    pub holds: Vec<(Uuid, Box<str>)>,
    /// Table `hold_lines`.
    pub hold_lines: Vec<HoldLineRow>,
    /// Table `products`: SKU and price.
    pub products: Vec<(Box<str>, Money)>,
    /// Table `demand`: SKU and units asked for.
    pub demand: Vec<(Box<str>, i64)>,
    /// Table `idempotency`: the clients' keys.
    pub keys: Vec<Box<str>>,
}

/// A row of `payments`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentRow {
    /// The order.
    pub order: Uuid,
    /// authorized, captured, declined, voided or refunded.
    pub state: Box<str>,
    /// Minor units captured.
    pub captured_minor: i64,
    /// Minor units refunded.
    pub refunded_minor: i64,
    /// ISO code.
    pub currency: Box<str>,
}

/// A row of `ledger`: one side of a double entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// The order.
    pub order: Uuid,
    /// The version of the payment's event it books.
    pub version: i64,
    /// The account.
    pub account: Box<str>,
    /// Signed minor units.
    pub amount_minor: i64,
    /// ISO code.
    pub currency: Box<str>,
}

/// A row of `effects` in the payments database: which provider key belongs to which payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectRow {
    /// `payment-<order>`.
    pub stream: Box<str>,
    /// What is asked of the provider.
    pub step: Box<str>,
    /// The provider's key.
    pub key: Uuid,
    /// pending, calling, done, unknown or dropped.
    pub state: Box<str>,
}

/// The payments database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payments {
    /// The runtime's tables.
    pub log: Log,
    /// Table `payments`.
    pub payments: Vec<PaymentRow>,
    /// Table `ledger`.
    pub ledger: Vec<LedgerRow>,
    /// Table `effects`.
    pub effects: Vec<EffectRow>,
}

/// A row of the payment provider's `operations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The key the payment service called it with.
    pub auth_key: Uuid,
    /// authorized, captured, voided, refunded, declined or blocked.
    pub state: Box<str>,
    /// Minor units captured.
    pub captured_minor: i64,
    /// Minor units refunded.
    pub refunded_minor: i64,
    /// ISO code.
    pub currency: Box<str>,
}

/// Everything the checker looks at, read after a quiet period.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World {
    /// The HTTP log, if one was kept.
    pub http: Option<Vec<Entry>>,
    /// How far the partitions reach.
    pub ends: Vec<PartitionEnd>,
    /// All records of all topics, by topic, partition and offset.
    pub records: Vec<Record>,
    /// The relays' positions.
    pub positions: Vec<Position>,
    /// The orders database.
    pub orders: Orders,
    /// The inventory database.
    pub inventory: Inventory,
    /// The payments database.
    pub payments: Payments,
    /// The provider's database.
    pub operations: Vec<Operation>,
}

impl World {
    /// The runtime's tables of a service.
    #[must_use]
    pub fn log(&self, service: Service) -> &Log {
        match service {
            Service::Orders => &self.orders.log,
            Service::Inventory => &self.inventory.log,
            Service::Payments => &self.payments.log,
        }
    }

    /// Leaves out the aborted records with this key: a test opened a transaction of its own to hold a topic back.
    /// Nothing that a `read_committed` reader sees is left out.
    pub fn forget_aborted(&mut self, key: &str) {
        self.records.retain(|record| record.committed || *record.key != *key);
    }

    /// Orders that were acknowledged and are known to be lost with a database, which had not published them: what clients were told
    /// of them is not judged.
    pub fn forget_lost(&mut self, lost: &std::collections::HashSet<Uuid>) {
        if let Some(http) = &mut self.http {
            http.retain(|entry| entry.order_id.is_none_or(|id| !lost.contains(&id)));
        }
    }

    /// Sets recorded repeats aside: a committed record that says why it is there again, and of which the very same is there
    /// before it in its partition. Readers drop it by its `seq`. A repeat that is not recorded, or is another, stays.
    pub fn set_recorded_repeats_aside(&mut self) {
        let mut seen = std::collections::HashSet::new();
        self.records.retain(|record| {
            let headers = &record.headers;
            let place = (record.topic, record.partition, headers.src.clone(), headers.seq, headers.prev, headers.id, record.hash);
            let first = !record.committed || seen.insert(place);
            first || headers.repeated_because.is_none()
        });
    }

    /// The records a `read_committed` reader sees, by topic, partition and offset.
    pub fn committed(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.committed)
    }
}
