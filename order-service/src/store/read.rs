//! Reads for the HTTP face.

use order_domain::{CancelReason, Placed};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use values::{CustomerId, OrderId, Sku};

use super::{CANCELLED, CONFIRMED, LineRow, PENDING, amount, instant, unreadable};

/// An order as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// As customers see it: `STUCK` overrides.
    pub shown: contract::Order,
    /// What is decided about it, whatever its saga does.
    pub decided: contract::OrderStatus,
    /// Version of the order's stream that it shows.
    pub version: i64,
}

impl Read {
    /// The entity tag, quotes included: another one whenever the order is shown differently. The version of the stream says what is
    /// decided; what its saga adds stands behind it.
    #[must_use]
    pub fn tag(&self) -> String {
        let stuck = if self.shown.status == contract::OrderStatus::Stuck { ".stuck" } else { "" };
        let ended = if self.shown.ended_at.is_some() { ".ended" } else { "" };
        format!("\"{}{stuck}{ended}\"", self.version)
    }
}

/// The customer's order `id`; none if there is no such order or it is another customer's.
///
/// # Errors
/// The database does not answer, or the row is unreadable.
pub async fn find_order(db: &mut PgConnection, customer: &CustomerId, id: OrderId) -> Result<Option<Read>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT o.id, o.status, o.reason, o.lines::text AS lines, o.total_minor, o.currency, o.version, coalesce(s.status = 'stuck', false) AS stuck,
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
        "SELECT o.id, o.status, o.reason, o.lines::text AS lines, o.total_minor, o.currency, o.version, coalesce(s.status = 'stuck', false) AS stuck,
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

/// How many of the customer's newest `looked_at` orders are not decided, counted up to all of them.
///
/// # Errors
/// The database does not answer.
pub async fn count_open(db: &mut PgConnection, customer: &CustomerId, looked_at: i64) -> Result<u32, sqlx::Error> {
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT status FROM orders WHERE customer_id = $1 ORDER BY placed_at DESC, id DESC LIMIT $2) AS newest
         WHERE status = 'PENDING'",
    )
    .bind(customer.as_str())
    .bind(looked_at)
    .fetch_one(db)
    .await?;
    u32::try_from(open).map_err(unreadable)
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

pub(super) fn order(row: &PgRow) -> Result<Read, sqlx::Error> {
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
        contact: None,
    };
    Ok(Read { shown, decided, version: row.try_get("version")? })
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
        contact: None,
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
