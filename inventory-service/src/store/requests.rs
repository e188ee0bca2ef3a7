//! Requests by idempotency key.

use sqlx::postgres::PgPool;
use sqlx::{PgConnection, Row as _};

/// A request that must not happen twice.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// User, method and path.
    pub(crate) scope: String,
    pub(crate) key: String,
    pub(crate) hash: Vec<u8>,
    /// Where in which trace it was asked for.
    pub(crate) trace: Option<trace::Context>,
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) hash: Vec<u8>,
    /// JSON.
    pub(crate) response: String,
}

/// Claims the key within the transaction; false when the key was answered before. While another transaction holds the same
/// key it is waited for, 500 ms at most.
///
/// # Errors
/// `55P03`: the other transaction has not ended in time. Everything else as it comes.
pub(crate) async fn claim(db: &mut PgConnection, request: &Request) -> Result<bool, sqlx::Error> {
    sqlx::query("SET LOCAL lock_timeout = '500ms'").execute(&mut *db).await?;
    let claimed = sqlx::query(
        "INSERT INTO idempotency (scope, key, request_hash, response) VALUES ($1, $2, $3, 'null') ON CONFLICT (scope, key) DO NOTHING",
    )
    .bind(&request.scope)
    .bind(&request.key)
    .bind(&request.hash)
    .execute(db)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// Stores the answer of a claimed request, in the same transaction.
///
/// # Errors
/// The request is not claimed, or the database does not answer.
pub(crate) async fn answer(db: &mut PgConnection, request: &Request, response: &str) -> Result<(), sqlx::Error> {
    let stored = sqlx::query("UPDATE idempotency SET response = $3::json WHERE scope = $1 AND key = $2")
        .bind(&request.scope)
        .bind(&request.key)
        .bind(response)
        .execute(db)
        .await?;
    if stored.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}

/// The answer of an earlier request with this key, if there was one.
///
/// # Errors
/// The database does not answer.
pub(crate) async fn find(pool: &PgPool, request: &Request) -> Result<Option<Answered>, sqlx::Error> {
    let row = sqlx::query("SELECT request_hash, response::text AS response FROM idempotency WHERE scope = $1 AND key = $2")
        .bind(&request.scope)
        .bind(&request.key)
        .fetch_optional(pool)
        .await?;
    row.map(|row| Ok(Answered { hash: row.try_get("request_hash")?, response: row.try_get("response")? })).transpose()
}

/// Deletes at most `most` requests that are older than a day, and says how many.
///
/// # Errors
/// The database does not answer.
pub(crate) async fn delete_old(pool: &PgPool, most: i64) -> Result<u64, sqlx::Error> {
    // Another instance's are stepped over.
    let deleted = sqlx::query(
        "DELETE FROM idempotency WHERE (scope, key) IN (
             SELECT scope, key FROM idempotency WHERE created_at < now() - interval '24 hours' LIMIT $1 FOR UPDATE SKIP LOCKED)",
    )
    .bind(most)
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}
