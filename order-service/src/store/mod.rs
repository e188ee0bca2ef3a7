//! All SQL of order-service: its rows in a unit of work, idempotency keys, and reads.

mod events;
mod keys;
mod read;
mod rebuilt;
mod sagas;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kafka::{Micros, Work};
use order_domain::{CancelReason, Order, Placed, PricedLine};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use values::{Money, OrderId, Sku};

pub use events::{Unreadable, order_events, saga_versions, sealed_contact};
pub use keys::{KeyRow, UsedKey, delete_old_keys, insert_keys, used_keys};
pub use read::{Read, count_open, count_prices, find_order, list_orders, shown};
pub use rebuilt::CONSERVED;
use rebuilt::Rebuilt;
pub use sagas::{SagaRow, count_stuck, find_saga, running_sagas, stuck_sagas};

/// What decisions of one unit need of our own tables, and what they leave to write there.
#[derive(Debug, Default)]
pub struct Rows {
    prices: HashMap<Sku, Money>,
    placed: Vec<(OrderId, Placed)>,
    orders: BTreeMap<OrderId, OrderChange>,
    sagas: BTreeMap<OrderId, SagaChange>,
    listed: BTreeMap<Sku, Money>,
    lines: HashMap<OrderId, Vec<PricedLine>>,
    rebuilt: BTreeMap<OrderId, Rebuilt>,
}

/// What a unit wants loaded of our own tables.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Products whose prices are asked for.
    pub skus: BTreeSet<Sku>,
    /// Orders whose lines are asked for.
    pub lines: BTreeSet<OrderId>,
}

/// A change to an order that was placed before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderChange {
    status: Option<&'static str>,
    reason: Option<CancelReason>,
    version: Option<i64>,
    /// When its saga ended, if it did.
    pub ended_at: Option<Micros>,
}

impl OrderChange {
    /// The order is decided: `version` is that of its stream.
    pub fn decide(&mut self, order: &Order, version: i64) {
        (self.status, self.reason) = match order {
            Order::None | Order::Pending { .. } => (None, None),
            Order::Confirmed => (Some(CONFIRMED), None),
            Order::Cancelled { reason } => (Some(CANCELLED), Some(*reason)),
        };
        self.version = Some(version);
    }
}

const PENDING: &str = "PENDING";
const CONFIRMED: &str = "CONFIRMED";
const CANCELLED: &str = "CANCELLED";

/// Where a saga stands, for the list of sagas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaChange {
    /// Its status.
    pub status: SagaStatus,
    /// The step awaited, or the last one answered.
    pub step: &'static str,
    /// Why it turned back, if it did.
    pub cause: Option<String>,
    /// Why it is stuck, if this change made it so.
    pub stuck_reason: Option<String>,
    /// Since when, if it is.
    pub stuck_at: Option<Micros>,
}

/// The status of a saga, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SagaStatus {
    /// Something is awaited.
    Running,
    /// Something is overdue that nothing replaces.
    Stuck,
    /// Nothing is awaited.
    Ended,
}

impl SagaStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stuck => "stuck",
            Self::Ended => "ended",
        }
    }
}

impl Rows {
    /// The price of one unit right now; none for a product nobody has listed, or that was not asked for.
    #[must_use]
    pub fn price(&self, sku: &Sku) -> Option<Money> {
        self.prices.get(sku).copied()
    }

    /// A new order.
    pub fn place(&mut self, id: OrderId, placed: Placed) {
        self.placed.push((id, placed));
    }

    /// The change to an order that was placed in an earlier unit.
    pub fn order(&mut self, id: OrderId) -> &mut OrderChange {
        self.orders.entry(id).or_default()
    }

    /// Where the saga of an order stands now.
    pub fn saga(&mut self, id: OrderId, mut change: SagaChange) {
        // As `changes.sql` does between two units: what is still stuck keeps why and since when.
        if let Some(before) = self.sagas.get(&id).filter(|before| (before.status, change.status) == (SagaStatus::Stuck, SagaStatus::Stuck))
        {
            change.stuck_reason = change.stuck_reason.or_else(|| before.stuck_reason.clone());
            change.stuck_at = before.stuck_at;
        }
        self.sagas.insert(id, change);
    }

    /// The price of a product from now on.
    pub fn list(&mut self, sku: Sku, price: Money) {
        self.listed.insert(sku, price);
    }
}

impl Work for Rows {
    type Needs = Wanted;

    async fn load(&mut self, db: &mut PgConnection, wanted: Wanted) -> Result<(), sqlx::Error> {
        if !wanted.lines.is_empty() {
            self.lines = rebuilt::lines(&mut *db, &wanted.lines).await?;
        }
        if wanted.skus.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query("SELECT sku, price_minor, currency FROM prices WHERE sku = ANY($1)")
            .bind(wanted.skus.iter().map(Sku::as_str).collect::<Vec<_>>())
            .fetch_all(db)
            .await?;
        for row in rows {
            let sku = row.try_get::<String, _>("sku")?.try_into().map_err(unreadable)?;
            self.prices.insert(sku, amount(row.try_get("price_minor")?, row.try_get("currency")?)?);
        }
        Ok(())
    }

    async fn store(&mut self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        rebuilt::store(db, &self.rebuilt).await?;
        store_changes(db, self).await?;
        upsert_prices(db, &self.listed).await
    }
}

/// A line as stored in `orders.lines`.
#[derive(Debug, Serialize, Deserialize)]
struct LineRow {
    sku: Sku,
    quantity: values::Quantity,
    /// Minor units of the order's currency.
    unit_price: i64,
}

async fn store_changes(db: &mut PgConnection, rows: &Rows) -> Result<(), sqlx::Error> {
    let Rows { placed, orders, sagas, .. } = rows;
    if placed.is_empty() && orders.is_empty() && sagas.is_empty() {
        return Ok(());
    }
    let lines = placed.iter().map(|(_, placed)| lines_json(placed)).collect::<Result<Vec<_>, _>>()?;
    let changed: i64 = sqlx::query_scalar(include_str!("changes.sql"))
        .bind(placed.iter().map(|(id, _)| Uuid::from(*id)).collect::<Vec<_>>())
        .bind(placed.iter().map(|(_, placed)| placed.customer.as_str()).collect::<Vec<_>>())
        .bind(lines)
        .bind(placed.iter().map(|(_, placed)| placed.total.minor()).collect::<Vec<_>>())
        .bind(placed.iter().map(|(_, placed)| placed.total.currency().to_string()).collect::<Vec<_>>())
        .bind(placed.iter().map(|(_, placed)| placed.at).collect::<Vec<_>>())
        .bind(orders.keys().map(|id| Uuid::from(*id)).collect::<Vec<_>>())
        .bind(orders.values().map(|change| change.status).collect::<Vec<_>>())
        .bind(orders.values().map(|change| change.reason.map(CancelReason::as_str)).collect::<Vec<_>>())
        .bind(orders.values().map(|change| change.version).collect::<Vec<_>>())
        .bind(orders.values().map(|change| change.ended_at).collect::<Vec<_>>())
        .bind(sagas.keys().map(|id| Uuid::from(*id)).collect::<Vec<_>>())
        .bind(sagas.values().map(|saga| saga.status.as_str()).collect::<Vec<_>>())
        .bind(sagas.values().map(|saga| saga.step).collect::<Vec<_>>())
        .bind(sagas.values().map(|saga| saga.cause.as_deref()).collect::<Vec<_>>())
        .bind(sagas.values().map(|saga| saga.stuck_reason.as_deref()).collect::<Vec<_>>())
        .bind(sagas.values().map(|saga| saga.stuck_at).collect::<Vec<_>>())
        .fetch_one(db)
        .await?;
    if usize::try_from(changed) == Ok(orders.len()) {
        Ok(())
    } else {
        let wanted = orders.len();
        Err(sqlx::Error::Protocol(format!("update orders: {changed} of {wanted} rows exist; the read model and the streams have parted")))
    }
}

fn lines_json(placed: &Placed) -> Result<String, sqlx::Error> {
    let line =
        |line: &order_domain::PricedLine| LineRow { sku: line.sku.clone(), quantity: line.quantity, unit_price: line.unit_price.minor() };
    serde_json::to_string(&placed.lines.iter().map(line).collect::<Vec<_>>()).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

async fn upsert_prices(db: &mut PgConnection, prices: &BTreeMap<Sku, Money>) -> Result<(), sqlx::Error> {
    if prices.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO prices (sku, price_minor, currency)
         SELECT sku, price_minor, currency FROM unnest($1::text[], $2::bigint[], $3::text[]) AS p (sku, price_minor, currency) ORDER BY sku
         ON CONFLICT (sku) DO UPDATE SET price_minor = excluded.price_minor, currency = excluded.currency",
    )
    .bind(prices.keys().map(Sku::as_str).collect::<Vec<_>>())
    .bind(prices.values().map(Money::minor).collect::<Vec<_>>())
    .bind(prices.values().map(|price| price.currency().to_string()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

fn amount(minor: i64, currency: &str) -> Result<Money, sqlx::Error> {
    Money::try_from((minor, currency)).map_err(unreadable)
}

fn instant(micros: Micros) -> Result<jiff::Timestamp, sqlx::Error> {
    jiff::Timestamp::from_microsecond(micros).map_err(unreadable)
}

fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
