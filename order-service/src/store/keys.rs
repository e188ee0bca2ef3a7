//! Idempotency keys.

use std::collections::{HashMap, HashSet};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use values::OrderId;

use super::read::order;

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
        "SELECT k.scope, k.key, k.request_hash, o.id, 'PENDING' AS status, NULL AS reason, o.lines::text AS lines, o.total_minor, o.currency, 1::bigint AS version, false AS stuck,
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

/// Deletes at most `most` keys that are older than a day, oldest first, and says how many.
///
/// # Errors
/// The database does not answer.
pub async fn delete_old_keys(db: &mut PgConnection, most: i64) -> Result<u64, sqlx::Error> {
    // Another instance's are stepped over.
    let deleted = sqlx::query(
        "DELETE FROM idempotency WHERE (scope, key) IN (
             SELECT scope, key FROM idempotency WHERE created_at < now() - interval '24 hours' LIMIT $1 FOR UPDATE SKIP LOCKED)",
    )
    .bind(most)
    .execute(db)
    .await?;
    Ok(deleted.rows_affected())
}
