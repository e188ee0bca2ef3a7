//! Everything the bench reads by SQL, with the read-only role: facts for reports and for the conservation check, never to steer the system.
//!
//! The statements are not checked at build time: they look into four databases that belong to others.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::conservation::{Operations, Payments, Stock};
use crate::flight::Decision;
use crate::wire::Status;

/// Ids asked for by one statement.
const IDS_MAX: usize = 20_000;
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a database cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{doing} in database {database}")]
pub struct Error {
    doing: &'static str,
    database: &'static str,
    #[source]
    source: sqlx::Error,
}

/// A database, read only.
#[derive(Debug, Clone)]
pub struct Reader {
    database: &'static str,
    pool: PgPool,
}

/// How one order stands in the orders database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: Uuid,
    /// Its status there: never stuck, which only the saga knows.
    pub status: Option<Status>,
    /// Why it was cancelled.
    pub reason: Option<String>,
    /// When it was accepted.
    pub placed_at: Option<Timestamp>,
    /// When `OrderConfirmed` was stored.
    pub confirmed_at: Option<Timestamp>,
    /// When its saga ended.
    pub ended_at: Option<Timestamp>,
}

impl Reader {
    /// A connection to `url`, called `database` in errors. At most two connections are opened.
    ///
    /// # Errors
    /// [`Error`] when it cannot be reached.
    pub async fn connect(database: &'static str, url: &str) -> Result<Self, Error> {
        let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(CONNECT_TIMEOUT).connect(url).await.map_err(|source| Error {
            doing: "connect",
            database,
            source,
        })?;
        Ok(Self { database, pool })
    }

    /// Those of `ids` that are confirmed or cancelled. One lookup by primary key each.
    ///
    /// # Errors
    /// [`Error`] when the query fails.
    pub async fn decided(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, Decision)>, Error> {
        let rows: Vec<(Uuid, String)> = sqlx::query_as("SELECT id, status FROM orders WHERE id = ANY($1) AND status <> 'PENDING'")
            .bind(ids)
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("read decided orders"))?;
        Ok(rows
            .into_iter()
            .filter_map(|(id, status)| match Status::parse(&status)? {
                Status::Pending => None,
                Status::Confirmed => Some((id, Decision::Confirmed)),
                Status::Cancelled => Some((id, Decision::Cancelled)),
                Status::Stuck => Some((id, Decision::Stuck)),
            })
            .collect())
    }

    /// How many of `ids` have not ended.
    ///
    /// # Errors
    /// [`Error`] when a query fails.
    pub async fn not_ended(&self, ids: &[Uuid]) -> Result<usize, Error> {
        let mut open = ids.len();
        for some in ids.chunks(IDS_MAX) {
            let ended: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE id = ANY($1) AND ended_at IS NOT NULL")
                .bind(some)
                .fetch_one(&self.pool)
                .await
                .map_err(self.failed("count orders that have not ended"))?;
            open = open.saturating_sub(usize::try_from(ended).unwrap_or(0));
        }
        Ok(open)
    }

    /// Those of `ids` whose saga waits for a person: id, step, cause.
    ///
    /// # Errors
    /// [`Error`] when a query fails.
    pub async fn stuck(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, String)>, Error> {
        let mut stuck = Vec::new();
        for some in ids.chunks(IDS_MAX) {
            let rows: Vec<(Uuid, String)> = sqlx::query_as(
                "SELECT order_id, concat_ws(': ', step, cause) FROM sagas WHERE order_id = ANY($1) AND status = 'stuck' ORDER BY order_id",
            )
            .bind(some)
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("list stuck sagas"))?;
            stuck.extend(rows);
        }
        Ok(stuck)
    }

    /// How `ids` stand, with the server's own instants. Ids unknown there are missing from the answer.
    ///
    /// # Errors
    /// [`Error`] when a query fails.
    pub async fn rows(&self, ids: &[Uuid]) -> Result<Vec<Row>, Error> {
        type Columns = (Uuid, String, Option<String>, i64, Option<i64>, Option<i64>);
        let mut all = Vec::with_capacity(ids.len());
        for some in ids.chunks(IDS_MAX) {
            let rows: Vec<Columns> = sqlx::query_as(include_str!("reader/orders.sql"))
                .bind(some)
                .fetch_all(&self.pool)
                .await
                .map_err(self.failed("read orders"))?;
            all.extend(rows.into_iter().map(|(id, status, reason, placed, confirmed, ended)| Row {
                id,
                status: Status::parse(&status),
                reason,
                placed_at: instant(placed),
                confirmed_at: confirmed.and_then(instant),
                ended_at: ended.and_then(instant),
            }));
        }
        Ok(all)
    }

    /// Orders that have not ended, whoever placed them.
    ///
    /// # Errors
    /// [`Error`] when the query fails.
    pub async fn running(&self) -> Result<i64, Error> {
        sqlx::query_scalar("SELECT count(*) FROM orders WHERE ended_at IS NULL")
            .fetch_one(&self.pool)
            .await
            .map_err(self.failed("count running orders"))
    }

    /// Totals of confirmed orders by currency, minor units.
    ///
    /// # Errors
    /// [`Error`] when the query fails.
    pub async fn confirmed_totals(&self) -> Result<BTreeMap<String, i64>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT currency, sum(total_minor)::bigint FROM orders WHERE status = 'CONFIRMED' GROUP BY currency ORDER BY currency",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(self.failed("add up confirmed orders"))?;
        Ok(rows.into_iter().collect())
    }

    /// Units of confirmed orders by SKU.
    ///
    /// # Errors
    /// [`Error`] when the query fails.
    pub async fn confirmed_units(&self) -> Result<BTreeMap<String, i64>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(include_str!("reader/confirmed_units.sql"))
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("add up ordered units"))?;
        Ok(rows.into_iter().collect())
    }

    /// Every SKU's units, in one snapshot.
    ///
    /// # Errors
    /// [`Error`] when the query fails.
    pub async fn stock(&self) -> Result<Vec<Stock>, Error> {
        let rows: Vec<(String, i64, i64, i64, i64)> =
            sqlx::query_as(include_str!("reader/stock.sql")).fetch_all(&self.pool).await.map_err(self.failed("read stock"))?;
        Ok(rows.into_iter().map(|(sku, received, available, held, shipped)| Stock { sku, received, available, held, shipped }).collect())
    }

    /// Payments by currency, in one snapshot.
    ///
    /// # Errors
    /// [`Error`] when the query fails.
    pub async fn payments(&self) -> Result<BTreeMap<String, Payments>, Error> {
        let rows: Vec<(String, i64, i64, i64)> =
            sqlx::query_as(include_str!("reader/payments.sql")).fetch_all(&self.pool).await.map_err(self.failed("add up payments"))?;
        Ok(rows.into_iter().map(|(currency, captured, refunded, open)| (currency, Payments { captured, refunded, open })).collect())
    }

    /// The payment provider's own books by currency, in one snapshot.
    ///
    /// # Errors
    /// [`Error`] when the query fails.
    pub async fn operations(&self) -> Result<Operations, Error> {
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(include_str!("reader/operations.sql"))
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("add up provider operations"))?;
        Ok(rows.into_iter().map(|(currency, captured, refunded, open)| (currency, Payments { captured, refunded, open })).collect())
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error + use<> {
        let database = self.database;
        move |source| Error { doing, database, source }
    }
}

fn instant(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}
