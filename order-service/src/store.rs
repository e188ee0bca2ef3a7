//! All SQL of order-service: its rows in a unit of work, idempotency keys, and reads. One statement a table.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kafka::{Micros, Work};
use order_domain::{CancelReason, Order, Placed};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use values::{CustomerId, Money, OrderId, Sku};

/// What decisions of one unit need of our own tables, and what they leave to write there.
#[derive(Debug, Default)]
pub struct Rows {
    prices: HashMap<Sku, Money>,
    placed: Vec<(OrderId, Placed)>,
    orders: BTreeMap<OrderId, OrderChange>,
    sagas: BTreeMap<OrderId, SagaChange>,
    listed: BTreeMap<Sku, Money>,
}

/// What a unit wants loaded of our own tables.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Products whose prices are asked for.
    pub skus: BTreeSet<Sku>,
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
    pub fn saga(&mut self, id: OrderId, change: SagaChange) {
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
        insert_orders(db, &self.placed).await?;
        update_orders(db, &self.orders).await?;
        upsert_sagas(db, &self.sagas).await?;
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

async fn insert_orders(db: &mut PgConnection, placed: &[(OrderId, Placed)]) -> Result<(), sqlx::Error> {
    if placed.is_empty() {
        return Ok(());
    }
    let lines = placed.iter().map(|(_, placed)| lines_json(placed)).collect::<Result<Vec<_>, _>>()?;
    sqlx::query(
        "INSERT INTO orders (id, customer_id, status, lines, total_minor, currency, placed_at, version)
         SELECT id, customer_id, 'PENDING', lines::json, total_minor, currency, 'epoch'::timestamptz + placed_at * interval '1 microsecond', 1
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
              AS p (id, customer_id, lines, total_minor, currency, placed_at)",
    )
    .bind(placed.iter().map(|(id, _)| Uuid::from(*id)).collect::<Vec<_>>())
    .bind(placed.iter().map(|(_, placed)| placed.customer.as_str()).collect::<Vec<_>>())
    .bind(lines)
    .bind(placed.iter().map(|(_, placed)| placed.total.minor()).collect::<Vec<_>>())
    .bind(placed.iter().map(|(_, placed)| placed.total.currency().to_string()).collect::<Vec<_>>())
    .bind(placed.iter().map(|(_, placed)| placed.at).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

fn lines_json(placed: &Placed) -> Result<String, sqlx::Error> {
    let line =
        |line: &order_domain::PricedLine| LineRow { sku: line.sku.clone(), quantity: line.quantity, unit_price: line.unit_price.minor() };
    serde_json::to_string(&placed.lines.iter().map(line).collect::<Vec<_>>()).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// The rows are protected by the locks on their orders' streams, so any order of updates is safe.
async fn update_orders(db: &mut PgConnection, orders: &BTreeMap<OrderId, OrderChange>) -> Result<(), sqlx::Error> {
    if orders.is_empty() {
        return Ok(());
    }
    let done = sqlx::query(
        "UPDATE orders o
         SET status = coalesce(c.status, o.status), reason = coalesce(c.reason, o.reason), version = coalesce(c.version, o.version),
             ended_at = coalesce('epoch'::timestamptz + c.ended_at * interval '1 microsecond', o.ended_at)
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS c (id, status, reason, version, ended_at)
         WHERE o.id = c.id",
    )
    .bind(orders.keys().map(|id| Uuid::from(*id)).collect::<Vec<_>>())
    .bind(orders.values().map(|change| change.status).collect::<Vec<_>>())
    .bind(orders.values().map(|change| change.reason.map(CancelReason::as_str)).collect::<Vec<_>>())
    .bind(orders.values().map(|change| change.version).collect::<Vec<_>>())
    .bind(orders.values().map(|change| change.ended_at).collect::<Vec<_>>())
    .execute(db)
    .await?;
    let (hit, wanted) = (done.rows_affected(), orders.len());
    if usize::try_from(hit) == Ok(wanted) {
        Ok(())
    } else {
        Err(sqlx::Error::Protocol(format!("update orders: {hit} of {wanted} rows exist; the read model and the streams have parted")))
    }
}

async fn upsert_sagas(db: &mut PgConnection, sagas: &BTreeMap<OrderId, SagaChange>) -> Result<(), sqlx::Error> {
    if sagas.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO sagas (order_id, status, step, cause)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
         ON CONFLICT (order_id) DO UPDATE SET status = excluded.status, step = excluded.step, cause = excluded.cause, updated_at = excluded.updated_at",
    )
    .bind(sagas.keys().map(|id| Uuid::from(*id)).collect::<Vec<_>>())
    .bind(sagas.values().map(|saga| saga.status.as_str()).collect::<Vec<_>>())
    .bind(sagas.values().map(|saga| saga.step).collect::<Vec<_>>())
    .bind(sagas.values().map(|saga| saga.cause.as_deref()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
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

/// An idempotency key and the order it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct KeyRow<'a> {
    /// Whose key it is and for which operation.
    pub scope: &'a str,
    /// The key.
    pub key: &'a str,
    /// SHA-256 of the request.
    pub request_hash: &'a [u8],
    /// The order placed with it.
    pub order_id: OrderId,
}

/// Inserts the keys that nobody has, in their order, and returns their orders. A key that another open transaction has just inserted is waited for, as
/// long as `lock_timeout` allows.
///
/// # Errors
/// `55P03` when that takes too long; everything else as it comes.
pub async fn insert_keys(db: &mut PgConnection, keys: &[KeyRow<'_>]) -> Result<HashSet<OrderId>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(HashSet::new());
    }
    // Every writer inserts in this order, so that two batches cannot wait for each other.
    let inserted = sqlx::query_scalar::<_, Uuid>(
        "INSERT INTO idempotency (scope, key, request_hash, order_id)
         SELECT scope, key, request_hash, order_id
         FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[]) AS k (scope, key, request_hash, order_id)
         ORDER BY scope, key
         ON CONFLICT (scope, key) DO NOTHING
         RETURNING order_id",
    )
    .bind(keys.iter().map(|key| key.scope).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.key).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.request_hash).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| Uuid::from(key.order_id)).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    Ok(inserted.into_iter().map(OrderId::from).collect())
}

/// A key that was used before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedKey {
    /// The hash of the request it was used with.
    pub request_hash: Vec<u8>,
    /// The order as it was placed then.
    pub order: contract::Order,
}

/// Which of these keys were used, by scope and key.
///
/// # Errors
/// The database does not answer, or a row is unreadable.
pub async fn used_keys(db: &mut PgConnection, keys: &[(&str, &str)]) -> Result<HashMap<(String, String), UsedKey>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "SELECT k.scope, k.key, k.request_hash, o.id, 'PENDING' AS status, NULL AS reason, o.lines::text AS lines, o.total_minor, o.currency, false AS stuck,
                (extract(epoch FROM o.placed_at) * 1000000)::bigint AS placed_at, NULL::bigint AS ended_at
         FROM unnest($1::text[], $2::text[]) AS w (scope, key)
         JOIN idempotency k ON k.scope = w.scope AND k.key = w.key
         JOIN orders o ON o.id = k.order_id",
    )
    .bind(keys.iter().map(|(scope, _)| *scope).collect::<Vec<_>>())
    .bind(keys.iter().map(|(_, key)| *key).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let used = |row: PgRow| {
        let key = (row.try_get("scope")?, row.try_get("key")?);
        Ok((key, UsedKey { request_hash: row.try_get("request_hash")?, order: order(&row)?.shown }))
    };
    rows.into_iter().map(used).collect()
}

/// An order as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// As customers see it: `STUCK` overrides.
    pub shown: contract::Order,
    /// What is decided about it, whatever its saga does.
    pub decided: contract::OrderStatus,
}

/// The customer's order `id`; none if there is no such order or it is another customer's.
///
/// # Errors
/// The database does not answer, or the row is unreadable.
pub async fn find_order(db: &mut PgConnection, customer: &CustomerId, id: OrderId) -> Result<Option<Read>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT o.id, o.status, o.reason, o.lines::text AS lines, o.total_minor, o.currency, coalesce(s.status = 'stuck', false) AS stuck,
                (extract(epoch FROM o.placed_at) * 1000000)::bigint AS placed_at, (extract(epoch FROM o.ended_at) * 1000000)::bigint AS ended_at
         FROM orders o LEFT JOIN sagas s ON s.order_id = o.id
         WHERE o.id = $1 AND o.customer_id = $2",
    )
    .bind(Uuid::from(id))
    .bind(customer.as_str())
    .fetch_optional(db)
    .await?;
    row.map(|row| order(&row)).transpose()
}

/// At most `limit` of the customer's orders, newest first, behind the cursor `after`.
///
/// # Errors
/// The database does not answer, or a row is unreadable.
pub async fn list_orders(
    db: &mut PgConnection,
    customer: &CustomerId,
    after: Option<contract::OrderCursor>,
    limit: i64,
) -> Result<Vec<contract::Order>, sqlx::Error> {
    // Without a cursor the page starts behind the end of time.
    let rows = sqlx::query(
        "SELECT o.id, o.status, o.reason, o.lines::text AS lines, o.total_minor, o.currency, coalesce(s.status = 'stuck', false) AS stuck,
                (extract(epoch FROM o.placed_at) * 1000000)::bigint AS placed_at, (extract(epoch FROM o.ended_at) * 1000000)::bigint AS ended_at
         FROM orders o LEFT JOIN sagas s ON s.order_id = o.id
         WHERE o.customer_id = $1
           AND (o.placed_at, o.id) < (coalesce('epoch'::timestamptz + $2::bigint * interval '1 microsecond', 'infinity'), $3)
         ORDER BY o.placed_at DESC, o.id DESC
         LIMIT $4",
    )
    .bind(customer.as_str())
    .bind(after.map(|cursor| cursor.placed_at.as_microsecond()))
    .bind(after.map_or(Uuid::max(), |cursor| cursor.id.into()))
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| order(row).map(|read| read.shown)).collect()
}

/// How many of these products have a price.
///
/// # Errors
/// The database does not answer.
pub async fn count_prices(db: &mut PgConnection, skus: &[Sku]) -> Result<u64, sqlx::Error> {
    let known: i64 = sqlx::query_scalar("SELECT count(*) FROM prices WHERE sku = ANY($1)")
        .bind(skus.iter().map(Sku::as_str).collect::<Vec<_>>())
        .fetch_one(db)
        .await?;
    u64::try_from(known).map_err(unreadable)
}

fn order(row: &PgRow) -> Result<Read, sqlx::Error> {
    let currency: String = row.try_get("currency")?;
    let lines: Vec<LineRow> = serde_json::from_str(row.try_get("lines")?).map_err(unreadable)?;
    let line = |line: LineRow| {
        Ok(contract::PricedLine { sku: line.sku, quantity: line.quantity, unit_price: amount(line.unit_price, &currency)? })
    };
    let decided = match row.try_get("status")? {
        PENDING => contract::OrderStatus::Pending,
        CONFIRMED => contract::OrderStatus::Confirmed,
        CANCELLED => contract::OrderStatus::Cancelled,
        other => return Err(unreadable(format!("order status {other}"))),
    };
    let stuck: bool = row.try_get("stuck")?;
    let reason: Option<&str> = row.try_get("reason")?;
    let shown = contract::Order {
        id: row.try_get::<Uuid, _>("id")?.into(),
        status: if stuck { contract::OrderStatus::Stuck } else { decided },
        reason: reason.map(|reason| reason.parse().map(shown_reason).map_err(unreadable)).transpose()?,
        lines: lines.into_iter().map(line).collect::<Result<_, sqlx::Error>>()?,
        total: amount(row.try_get("total_minor")?, &currency)?,
        placed_at: instant(row.try_get("placed_at")?)?,
        ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(instant).transpose()?,
    };
    Ok(Read { shown, decided })
}

/// The order as it is shown right after it was placed.
///
/// # Errors
/// The instant is out of range.
pub fn shown(id: OrderId, placed: &Placed) -> Result<contract::Order, sqlx::Error> {
    let line = |line: &order_domain::PricedLine| contract::PricedLine {
        sku: line.sku.clone(),
        quantity: line.quantity,
        unit_price: line.unit_price,
    };
    Ok(contract::Order {
        id,
        status: contract::OrderStatus::Pending,
        reason: None,
        lines: placed.lines.iter().map(line).collect(),
        total: placed.total,
        placed_at: instant(placed.at)?,
        ended_at: None,
    })
}

fn shown_reason(reason: CancelReason) -> contract::CancelReason {
    match reason {
        CancelReason::OutOfStock => contract::CancelReason::OutOfStock,
        CancelReason::PaymentDeclined => contract::CancelReason::PaymentDeclined,
        CancelReason::Deadline => contract::CancelReason::Deadline,
        CancelReason::CancelledByCustomer => contract::CancelReason::CancelledByCustomer,
        CancelReason::Failed => contract::CancelReason::Failed,
    }
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
