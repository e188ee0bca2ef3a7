//! The databases, each in one snapshot, through a role that may only read.

use std::time::Duration;

use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Connection as _, FromRow};
use uuid::Uuid;

use super::super::message::{Line, Money};
use super::super::world::{
    EffectRow, EventRow, Hash, HoldLineRow, Inventory, LedgerRow, Log, Operation, OrderRow, Orders, OutboxRow, PaymentRow, Payments,
    PlacementKey, SagaRow, StockRow,
};
use super::Error;

/// How long a database may take to answer the first time.
const CONNECT: Duration = Duration::from_secs(10);

/// One database, inside a read-only snapshot.
struct Snapshot {
    database: &'static str,
    connection: PgConnection,
}

impl Snapshot {
    async fn open(database: &'static str, url: &str) -> Result<Self, Error> {
        let failed = |source| Error::Sql { database, what: "a connection", source };
        let options: PgConnectOptions = url.parse().map_err(failed)?;
        let connecting = PgConnection::connect_with(&options);
        let mut connection = tokio::time::timeout(CONNECT, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(failed)?;
        sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut connection).await.map_err(failed)?;
        Ok(Self { database, connection })
    }

    async fn rows<R>(&mut self, what: &'static str, sql: &'static str) -> Result<Vec<R>, Error>
    where
        R: Send + Unpin + for<'r> FromRow<'r, PgRow>,
    {
        sqlx::query_as(sql).fetch_all(&mut self.connection).await.map_err(|source| Error::Sql { database: self.database, what, source })
    }

    async fn list<R, T>(&mut self, what: &'static str, sql: &'static str, map: impl FnMut(R) -> T) -> Result<Vec<T>, Error>
    where
        R: Send + Unpin + for<'r> FromRow<'r, PgRow>,
    {
        Ok(self.rows(what, sql).await?.into_iter().map(map).collect())
    }

    async fn log(&mut self) -> Result<Log, Error> {
        let identity: Vec<(Uuid,)> = self.rows("db_identity", "SELECT incarnation FROM db_identity").await?;
        let events = self
            .list(
                "events",
                "SELECT stream, version, event_id, type, topic, causation_id, sha256(payload) FROM events ORDER BY stream, version",
                |(stream, version, event_id, full_name, topic, causation_id, hash): (String, i64, Uuid, String, String, Uuid, Vec<u8>)| {
                    EventRow {
                        stream: stream.into(),
                        version,
                        event_id,
                        full_name: full_name.into(),
                        topic: topic.into(),
                        causation_id,
                        hash: hash_of(&hash),
                    }
                },
            )
            .await?;
        let outbox = self
            .list(
                "outbox",
                "SELECT id, tx_rows, message_id, topic, partition, key, sha256(payload) FROM outbox ORDER BY id",
                |(id, tx_rows, message_id, topic, partition, key, hash): (i64, i32, Uuid, String, i32, Vec<u8>, Vec<u8>)| OutboxRow {
                    id,
                    tx_rows,
                    message_id,
                    topic: topic.into(),
                    partition,
                    key: String::from_utf8_lossy(&key).into(),
                    hash: hash_of(&hash),
                },
            )
            .await?;
        let streams = self
            .list("streams", "SELECT stream, version FROM streams", |(stream, version): (String, i64)| (stream.into(), version))
            .await?;
        let incarnation = identity.first().map(|row| row.0).unwrap_or_default();
        let all: Vec<(Uuid,)> = self.rows("incarnations", "SELECT incarnation FROM incarnations").await?;
        let earlier = all.into_iter().map(|row| row.0).filter(|one| *one != incarnation).collect();
        Ok(Log { incarnation, earlier, events, outbox, streams })
    }
}

/// A hash of another length is none that a payload has.
fn hash_of(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap_or_default()
}

fn money((minor, currency): (i64, String)) -> Money {
    Money { minor, currency: currency.into() }
}

/// A line as table `orders` keeps it.
#[derive(Deserialize)]
struct StoredLine {
    sku: Box<str>,
    quantity: i64,
    unit_price: StoredPrice,
}

/// A price as minor units, alone or with its currency.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredPrice {
    Minor(i64),
    Money { minor: i64 },
}

impl From<StoredLine> for Line {
    fn from(line: StoredLine) -> Self {
        let unit_price_minor = match line.unit_price {
            StoredPrice::Minor(minor) | StoredPrice::Money { minor } => minor,
        };
        Self { sku: line.sku, quantity: line.quantity, unit_price_minor }
    }
}

#[derive(FromRow)]
struct StoredOrder {
    id: Uuid,
    customer_id: String,
    status: String,
    reason: Option<String>,
    lines: Json<Vec<StoredLine>>,
    total_minor: i64,
    currency: String,
    ended: bool,
}

/// The orders database.
///
/// # Errors
/// [`Error::Sql`].
pub(super) async fn orders(url: &str) -> Result<Orders, Error> {
    let mut db = Snapshot::open("orders", url).await?;
    Ok(Orders {
        log: db.log().await?,
        orders: db
            .list(
                "orders",
                "SELECT id, customer_id, status, reason, lines, total_minor, currency, ended_at IS NOT NULL AS ended FROM orders ORDER BY id",
                |row: StoredOrder| OrderRow {
                    id: row.id,
                    customer: row.customer_id.into(),
                    status: row.status.into(),
                    reason: row.reason.map(Into::into),
                    lines: row.lines.0.into_iter().map(Into::into).collect(),
                    total: money((row.total_minor, row.currency)),
                    ended: row.ended,
                },
            )
            .await?,
        keys: db
            .list(
                "idempotency",
                "SELECT scope, key, request_hash, order_id FROM idempotency",
                |(scope, key, request_hash, order): (String, String, Vec<u8>, Uuid)| PlacementKey {
                    scope: scope.into(),
                    key: key.into(),
                    request_hash,
                    order,
                },
            )
            .await?,
        sagas: db.list("sagas", "SELECT order_id, status FROM sagas", |(order, status): (Uuid, String)| SagaRow { order, status: status.into() }).await?,
        prices: db
            .list("prices", "SELECT sku, price_minor, currency FROM prices", |(sku, minor, currency): (String, i64, String)| {
                (sku.into(), money((minor, currency)))
            })
            .await?,
    })
}

/// The inventory database.
///
/// # Errors
/// [`Error::Sql`].
pub(super) async fn inventory(url: &str) -> Result<Inventory, Error> {
    let mut db = Snapshot::open("inventory", url).await?;
    Ok(Inventory {
        log: db.log().await?,
        stock: db
            .list("stock", "SELECT sku, received, available FROM stock ORDER BY sku", |(sku, received, available): (String, i64, i64)| {
                StockRow { sku: sku.into(), received, available }
            })
            .await?,
        holds: db.list("holds", "SELECT order_id, state FROM holds", |(order, state): (Uuid, String)| (order, state.into())).await?,
        hold_lines: db
            .list("hold_lines", "SELECT order_id, sku, quantity FROM hold_lines", |(order, sku, quantity): (Uuid, String, i64)| {
                HoldLineRow { order, sku: sku.into(), quantity }
            })
            .await?,
        products: db
            .list("products", "SELECT sku, price_minor, currency FROM products", |(sku, minor, currency): (String, i64, String)| {
                (sku.into(), money((minor, currency)))
            })
            .await?,
        demand: db.list("demand", "SELECT sku, units FROM demand", |(sku, units): (String, i64)| (sku.into(), units)).await?,
        keys: db.list("idempotency", "SELECT key FROM idempotency", |(key,): (String,)| key.into()).await?,
    })
}

/// The payments database.
///
/// # Errors
/// [`Error::Sql`].
pub(super) async fn payments(url: &str) -> Result<Payments, Error> {
    let mut db = Snapshot::open("payments", url).await?;
    Ok(Payments {
        log: db.log().await?,
        payments: db
            .list(
                "payments",
                "SELECT order_id, state, captured_minor, refunded_minor, currency FROM payments ORDER BY order_id",
                |(order, state, captured_minor, refunded_minor, currency): (Uuid, String, i64, i64, String)| PaymentRow {
                    order,
                    state: state.into(),
                    captured_minor,
                    refunded_minor,
                    currency: currency.into(),
                },
            )
            .await?,
        ledger: db
            .list(
                "ledger",
                "SELECT order_id, version, account, amount_minor, currency FROM ledger ORDER BY order_id, version",
                |(order, version, account, amount_minor, currency): (Uuid, i64, String, i64, String)| LedgerRow {
                    order,
                    version,
                    account: account.into(),
                    amount_minor,
                    currency: currency.into(),
                },
            )
            .await?,
        effects: db
            .list(
                "effects",
                "SELECT stream, step, key, state FROM effects ORDER BY pos",
                |(stream, step, key, state): (String, String, Uuid, String)| EffectRow {
                    stream: stream.into(),
                    step: step.into(),
                    key,
                    state: state.into(),
                },
            )
            .await?,
    })
}

/// The payment provider's database.
///
/// # Errors
/// [`Error::Sql`].
pub(super) async fn operations(url: &str) -> Result<Vec<Operation>, Error> {
    let mut db = Snapshot::open("provider", url).await?;
    db.list(
        "operations",
        "SELECT auth_key, state, captured_minor, refunded_minor, currency FROM operations",
        |(auth_key, state, captured_minor, refunded_minor, currency): (Uuid, String, i64, i64, Option<String>)| Operation {
            auth_key,
            state: state.into(),
            captured_minor,
            refunded_minor,
            currency: currency.unwrap_or_default().into(),
        },
    )
    .await
}
