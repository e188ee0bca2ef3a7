//! What only a rebuild writes: figures that add up over many streams, and answers to requests.

use std::collections::BTreeMap;

use inventory_domain::product::Entry;
use kafka::{Micros, Recorded};
use schemas::inventory::Idempotency;
use sqlx::PgConnection;
use uuid::Uuid;
use values::Sku;

use super::{Rows, currency};

/// What must hold between our own tables; each statement counts what does not.
pub(crate) const CONSERVED: &[(&str, &str)] = &[
    (
        "received = available + held + shipped",
        "SELECT count(*) FROM stock s
         LEFT JOIN (SELECT l.sku, sum(l.quantity) AS bound FROM hold_lines l JOIN holds h ON h.order_id = l.order_id
                    WHERE h.state IN ('held', 'committed') GROUP BY l.sku) AS b ON b.sku = s.sku
         WHERE s.received <> s.available + coalesce(b.bound, 0) OR s.available < 0",
    ),
    (
        "every product has its stock and its stream",
        "SELECT count(*) FROM products p FULL JOIN stock s ON s.sku = p.sku LEFT JOIN streams t ON t.stream = 'sku-' || p.sku
         WHERE p.sku IS NULL OR s.sku IS NULL OR t.stream IS NULL",
    ),
    ("no line without its hold", "SELECT count(*) FROM hold_lines l LEFT JOIN holds h ON h.order_id = l.order_id WHERE h.order_id IS NULL"),
];

/// Rows of one transaction of a rebuild.
#[derive(Debug, Default)]
pub(super) struct Rebuilt {
    /// Units more (or fewer) received and available.
    counts: BTreeMap<Sku, (i64, i64)>,
    products: BTreeMap<Sku, Entry>,
    /// Requests by what they caused, with their time.
    answered: BTreeMap<Uuid, (Idempotency, Micros)>,
}

impl Rows {
    /// Adds to the figures of a product.
    pub(crate) fn recount(&mut self, sku: Sku, received: i64, available: i64) {
        let counts = self.rebuilt.counts.entry(sku).or_default();
        counts.0 = counts.0.saturating_add(received);
        counts.1 = counts.1.saturating_add(available);
    }

    /// A catalogue entry as its product's last event left it.
    pub(crate) fn relist(&mut self, sku: &Sku, entry: Entry) {
        self.rebuilt.products.insert(sku.clone(), entry);
    }

    /// The request with this key caused the event.
    pub(crate) fn answered(&mut self, key: Idempotency, event: &Recorded) {
        self.rebuilt.answered.insert(event.cause().uuid(), (key, event.at()));
    }
}

pub(super) async fn store(rebuilt: &Rebuilt, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    if !rebuilt.counts.is_empty() || !rebuilt.products.is_empty() {
        store_counts(rebuilt, &mut *db).await?;
    }
    if !rebuilt.answered.is_empty() {
        store_answers(&rebuilt.answered, db).await?;
    }
    Ok(())
}

async fn store_counts(rebuilt: &Rebuilt, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    let Rebuilt { counts, products, .. } = rebuilt;
    // A product is inserted with all that was received, then holds take from it: never a row that says less than nothing.
    let (new, known): (Vec<_>, Vec<_>) = counts.iter().partition(|(sku, _)| products.contains_key(*sku));
    let changed: i64 = sqlx::query_scalar(
        "WITH listed AS (
             INSERT INTO products (sku, name, category, brand, price_minor, currency)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])),
         counted AS (
             INSERT INTO stock (sku, received, available) SELECT * FROM unnest($7::text[], $8::bigint[], $9::bigint[])),
         changed AS (
             UPDATE stock s SET received = s.received + c.received, available = s.available + c.available
             FROM unnest($10::text[], $11::bigint[], $12::bigint[]) AS c (sku, received, available) WHERE s.sku = c.sku RETURNING 1)
         SELECT count(*) FROM changed",
    )
    .bind(products.keys().map(AsRef::as_ref).collect::<Vec<&str>>())
    .bind(products.values().map(|entry| entry.name.as_ref()).collect::<Vec<&str>>())
    .bind(products.values().map(|entry| entry.category.as_ref()).collect::<Vec<&str>>())
    .bind(products.values().map(|entry| entry.brand.as_ref()).collect::<Vec<&str>>())
    .bind(products.values().map(|entry| entry.price.minor()).collect::<Vec<_>>())
    .bind(products.values().map(|entry| currency(entry.price)).collect::<Vec<_>>())
    .bind(new.iter().map(|(sku, _)| sku.as_ref()).collect::<Vec<&str>>())
    .bind(new.iter().map(|(_, (received, _))| *received).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, (_, available))| *available).collect::<Vec<_>>())
    .bind(known.iter().map(|(sku, _)| sku.as_ref()).collect::<Vec<&str>>())
    .bind(known.iter().map(|(_, (received, _))| *received).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, (_, available))| *available).collect::<Vec<_>>())
    .fetch_one(db)
    .await?;
    // Units of a product that was never listed cannot be held.
    if usize::try_from(changed) == Ok(known.len()) { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}

/// The answer of a request is how many products it listed first, or how many receipts it made: it is counted over what it
/// caused. A key that was used again after a day belongs to the later request.
async fn store_answers(answered: &BTreeMap<Uuid, (Idempotency, Micros)>, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO idempotency (scope, key, request_hash, response, created_at)
         SELECT DISTINCT ON (scope, key) scope, key, request_hash,
                CASE WHEN scope LIKE '%POST /v1/stock'
                     THEN format('{\"received\":%s}', (SELECT count(*) FROM events e WHERE e.causation_id = a.cause AND e.type = 'inventory.StockReceived'))
                     ELSE format('{\"created\":%s}', (SELECT count(*) FROM events e WHERE e.causation_id = a.cause AND e.type = 'inventory.ProductListed' AND e.version = 1))
                END::json,
                'epoch'::timestamptz + at * interval '1 microsecond'
         FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[], $5::bigint[]) AS a (scope, key, request_hash, cause, at)
         ORDER BY scope, key, at DESC
         ON CONFLICT (scope, key) DO UPDATE SET request_hash = excluded.request_hash, response = excluded.response, created_at = excluded.created_at
         WHERE idempotency.created_at < excluded.created_at",
    )
    .bind(answered.values().map(|(key, _)| key.scope.as_str()).collect::<Vec<_>>())
    .bind(answered.values().map(|(key, _)| key.key.as_str()).collect::<Vec<_>>())
    .bind(answered.values().map(|(key, _)| key.request_hash.as_slice()).collect::<Vec<_>>())
    .bind(answered.keys().copied().collect::<Vec<_>>())
    .bind(answered.values().map(|(_, at)| *at).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
