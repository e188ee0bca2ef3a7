//! Reads of sagas for operators.

use kafka::Micros;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use values::OrderId;

/// A saga as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaRow {
    /// Its order.
    pub id: OrderId,
    /// `running`, `stuck` or `ended`.
    pub status: String,
    /// The step awaited, or the last one answered.
    pub step: String,
    /// Why it turned back, if it did.
    pub cause: Option<String>,
    /// Why it is stuck.
    pub stuck_reason: Option<String>,
    /// Since when.
    pub stuck_at: Option<Micros>,
    /// When the awaited answer is overdue.
    pub due_at: Option<Micros>,
    /// When it last changed.
    pub updated_at: Micros,
}

macro_rules! saga_columns {
    () => {
        "s.order_id, s.status, s.step, s.cause, s.stuck_reason, (extract(epoch FROM s.stuck_at) * 1000000)::bigint AS stuck_at,
         (extract(epoch FROM d.due_at) * 1000000)::bigint AS due_at, (extract(epoch FROM s.updated_at) * 1000000)::bigint AS updated_at"
    };
}

/// Sagas that are stuck, by order, behind `after`.
///
/// # Errors
/// The database does not answer.
pub async fn stuck_sagas(db: &mut PgConnection, after: Option<OrderId>, limit: i64) -> Result<Vec<SagaRow>, sqlx::Error> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        saga_columns!(),
        " FROM sagas s LEFT JOIN deadlines d ON d.saga = 'saga-' || s.order_id::text
         WHERE s.status = 'stuck' AND s.order_id > $1 ORDER BY s.order_id LIMIT $2"
    ))
    .bind(after.map_or(Uuid::nil(), Uuid::from))
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(saga).collect()
}

/// How many sagas are stuck.
///
/// # Errors
/// The database does not answer.
pub async fn count_stuck(db: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM sagas WHERE status = 'stuck'").fetch_one(db).await
}

/// Sagas that await something, by order, behind `after`: each has a deadline armed, and there are few of those.
///
/// # Errors
/// The database does not answer.
pub async fn running_sagas(db: &mut PgConnection, after: Option<OrderId>, limit: i64) -> Result<Vec<SagaRow>, sqlx::Error> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        saga_columns!(),
        " FROM deadlines d JOIN sagas s ON s.order_id = substr(d.saga, 6)::uuid
         WHERE d.saga > 'saga-' || $1::text AND s.status = 'running' ORDER BY d.saga LIMIT $2"
    ))
    .bind(after.map_or(Uuid::nil(), Uuid::from).to_string())
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(saga).collect()
}

/// The saga of an order.
///
/// # Errors
/// The database does not answer.
pub async fn find_saga(db: &mut PgConnection, id: OrderId) -> Result<Option<SagaRow>, sqlx::Error> {
    let row = sqlx::query(concat!(
        "SELECT ",
        saga_columns!(),
        " FROM sagas s LEFT JOIN deadlines d ON d.saga = 'saga-' || s.order_id::text WHERE s.order_id = $1"
    ))
    .bind(Uuid::from(id))
    .fetch_optional(db)
    .await?;
    row.as_ref().map(saga).transpose()
}

fn saga(row: &PgRow) -> Result<SagaRow, sqlx::Error> {
    Ok(SagaRow {
        id: row.try_get::<Uuid, _>("order_id")?.into(),
        status: row.try_get("status")?,
        step: row.try_get("step")?,
        cause: row.try_get("cause")?,
        stuck_reason: row.try_get("stuck_reason")?,
        stuck_at: row.try_get("stuck_at")?,
        due_at: row.try_get("due_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
