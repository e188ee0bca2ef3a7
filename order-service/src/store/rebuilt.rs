//! Orders as a rebuild projects them: each one whole, from all its events at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use order_domain::{CancelReason, Order, Placed, PricedLine};
use schemas::orders::Idempotency;
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use values::OrderId;

use super::{LineRow, OrderChange, PENDING, Rows, amount, lines_json, unreadable};

/// What must hold between our own tables; each statement counts what does not.
pub const CONSERVED: &[(&str, &str)] = &[
    (
        "every order has its stream and its saga",
        "SELECT count(*) FROM orders o FULL JOIN sagas s ON s.order_id = o.id
         LEFT JOIN streams t ON t.stream = 'order-' || o.id::text AND t.version = o.version
         WHERE o.id IS NULL OR s.order_id IS NULL OR t.stream IS NULL",
    ),
    (
        "an order has ended when its saga has",
        "SELECT count(*) FROM orders o JOIN sagas s ON s.order_id = o.id WHERE (o.ended_at IS NULL) = (s.status = 'ended')",
    ),
    ("every key leads to an order", "SELECT count(*) FROM idempotency k LEFT JOIN orders o ON o.id = k.order_id WHERE o.id IS NULL"),
];

/// One order and the key it was placed with.
#[derive(Debug)]
pub(super) struct Rebuilt {
    placed: Placed,
    key: Idempotency,
    change: OrderChange,
}

impl Rows {
    /// An order that was placed in its time.
    pub fn replaced(&mut self, id: OrderId, placed: Placed, key: Idempotency) {
        self.rebuilt.insert(id, Rebuilt { placed, key, change: OrderChange::default() });
    }

    /// What was decided about it then.
    pub fn redecide(&mut self, id: OrderId, order: &Order, version: i64) {
        if let Some(rebuilt) = self.rebuilt.get_mut(&id) {
            rebuilt.change.decide(order, version);
        }
    }

    /// The lines of an order that were asked for.
    #[must_use]
    pub fn lines(&self, id: OrderId) -> Option<&[PricedLine]> {
        self.lines.get(&id).map(Vec::as_slice)
    }
}

/// The lines of these orders.
pub(super) async fn lines(db: &mut PgConnection, ids: &BTreeSet<OrderId>) -> Result<HashMap<OrderId, Vec<PricedLine>>, sqlx::Error> {
    let rows = sqlx::query("SELECT id, lines::text AS lines, currency FROM orders WHERE id = ANY($1)")
        .bind(ids.iter().map(|id| Uuid::from(*id)).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let currency: String = row.try_get("currency")?;
        let lines: Vec<LineRow> = serde_json::from_str(row.try_get("lines")?).map_err(unreadable)?;
        let priced =
            |line: LineRow| Ok(PricedLine { sku: line.sku, quantity: line.quantity, unit_price: amount(line.unit_price, &currency)? });
        found.insert(row.try_get::<Uuid, _>("id")?.into(), lines.into_iter().map(priced).collect::<Result<_, sqlx::Error>>()?);
    }
    Ok(found)
}

/// Writes orders and keys. A key that was used again after a day belongs to the later order.
pub(super) async fn store(db: &mut PgConnection, rebuilt: &BTreeMap<OrderId, Rebuilt>) -> Result<(), sqlx::Error> {
    if rebuilt.is_empty() {
        return Ok(());
    }
    let all = || rebuilt.values();
    let ids = || rebuilt.keys().map(|id| Uuid::from(*id)).collect::<Vec<_>>();
    let lines = all().map(|one| lines_json(&one.placed)).collect::<Result<Vec<_>, _>>()?;
    sqlx::query(
        "WITH placed AS (
             INSERT INTO orders (id, customer_id, status, reason, lines, total_minor, currency, placed_at, version)
             SELECT id, customer_id, status, reason, lines::json, total_minor, currency, 'epoch'::timestamptz + placed_at * interval '1 microsecond', version
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[])
                  AS o (id, customer_id, status, reason, lines, total_minor, currency, placed_at, version))
         INSERT INTO idempotency (scope, key, request_hash, order_id, created_at)
         SELECT DISTINCT ON (scope, key) scope, key, request_hash, order_id, 'epoch'::timestamptz + placed_at * interval '1 microsecond'
         FROM unnest($10::text[], $11::text[], $12::bytea[], $1::uuid[], $8::bigint[]) AS k (scope, key, request_hash, order_id, placed_at)
         ORDER BY scope, key, placed_at DESC
         ON CONFLICT (scope, key) DO UPDATE SET request_hash = excluded.request_hash, order_id = excluded.order_id, created_at = excluded.created_at
         WHERE idempotency.created_at < excluded.created_at",
    )
    .bind(ids())
    .bind(all().map(|one| one.placed.customer.as_str()).collect::<Vec<_>>())
    .bind(all().map(|one| one.change.status.unwrap_or(PENDING)).collect::<Vec<_>>())
    .bind(all().map(|one| one.change.reason.map(CancelReason::as_str)).collect::<Vec<_>>())
    .bind(lines)
    .bind(all().map(|one| one.placed.total.minor()).collect::<Vec<_>>())
    .bind(all().map(|one| one.placed.total.currency().to_string()).collect::<Vec<_>>())
    .bind(all().map(|one| one.placed.at).collect::<Vec<_>>())
    .bind(all().map(|one| one.change.version.unwrap_or(1)).collect::<Vec<_>>())
    .bind(all().map(|one| one.key.scope.as_str()).collect::<Vec<_>>())
    .bind(all().map(|one| one.key.key.as_str()).collect::<Vec<_>>())
    .bind(all().map(|one| one.key.request_hash.as_slice()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
