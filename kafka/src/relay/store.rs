//! What the relay asks its database. Runtime-checked SQL: the statements depend on settings of their own connection and
//! on system functions, which an offline description would say nothing about.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use super::Error;
use super::plan::Slot;
use super::position::Position;
use super::record::Row;
use crate::harm::{self, Sabotage};

/// The advisory lock of the relay in its service's database. Spells "relay".
const LOCK: i64 = 0x72_656c_6179;
/// The lock's session ends when nothing is heard of its process for this long. Source: PROTOCOLS 1.3 (L0).
const SILENCE_MS: &str = "8000";
/// Rows kept below the cursor for a rewind. Source: PROTOCOLS 1.5.
const KEEP_HOURS: i32 = 72;
/// How far the backlog is counted.
pub(crate) const PENDING_MAX: i64 = 10_000;
/// Microseconds from 1970 to 2000, where PostgreSQL's binary timestamps begin.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What one L3 statement saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) rows: Vec<Row>,
    pub(crate) xmin: u64,
    /// The database's clock before the snapshot was taken, in microseconds since 1970.
    pub(crate) read_at_micros: i64,
}

/// A connection that reads the outbox by its primary key and nothing else. A generic plan made while the outbox was empty
/// would scan it for ever (SPIKE.md), hence the planner settings.
pub(crate) async fn connect(options: &PgConnectOptions, name: &str) -> Result<PgConnection, Error> {
    let options = options.clone().application_name(name).options([
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("max_parallel_workers_per_gather", "0"),
        ("jit", "off"),
        ("statement_timeout", "5s"),
        ("lock_timeout", "200ms"),
    ]);
    PgConnection::connect_with(&options).await.map_err(Error::database("connect to the outbox's database"))
}

/// The connection that holds the lock, and what makes it end when its process is stopped or cut off. Source: PROTOCOLS 1.3 (L0).
pub(crate) async fn connect_keeper(options: &PgConnectOptions, name: &str) -> Result<PgConnection, Error> {
    let options = options.clone().options([
        ("idle_session_timeout", SILENCE_MS),
        ("tcp_user_timeout", SILENCE_MS),
        ("tcp_keepalives_idle", "2"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
    ]);
    connect(&options, name).await
}

/// Says goodbye; a connection that is broken already is dropped all the same.
pub(crate) async fn close(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "close a connection of the relay");
    }
}

/// Takes the relay's lock if it is free.
pub(crate) async fn try_lock(connection: &mut PgConnection) -> Result<bool, Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(connection)
        .await
        .map_err(Error::database("take the relay's lock"))
}

/// The database's incarnation.
pub(crate) async fn incarnation(connection: &mut PgConnection) -> Result<Uuid, Error> {
    let found = sqlx::query_scalar("SELECT incarnation FROM db_identity").fetch_optional(connection).await;
    found.map_err(Error::database("read the database's identity"))?.ok_or(Error::IdentityMissing)
}

/// Whether the database is the one that `position` speaks of: same incarnation, and the outbox row `cursor` is the very
/// message that was published under that id. Comparing with the sequence would not do: sequences jump after a crash.
pub(crate) async fn compare(connection: &mut PgConnection, position: &Position) -> Result<(), Error> {
    let database = incarnation(connection).await?;
    if harm::sabotaged(Sabotage::NoIncarnationCheck) {
        return Ok(());
    }
    if database != position.incarnation {
        return Err(Error::IncarnationMismatch { database, position: position.incarnation });
    }
    if position.cursor == 0 {
        return Ok(());
    }
    let found: Option<Uuid> = sqlx::query_scalar("SELECT message_id FROM outbox WHERE id = $1")
        .bind(position.cursor)
        .fetch_optional(connection)
        .await
        .map_err(Error::database("look up the row that the position names"))?;
    if found == Some(position.cursor_id) {
        Ok(())
    } else {
        Err(Error::DatabaseRestored { cursor: position.cursor, expected: position.cursor_id })
    }
}

/// L3: xmin, clock and rows of one snapshot. Several statements would be several snapshots (JasperFx/marten#4977).
///
/// The first row of the answer has `tx_rows` 0, which no outbox row has, and carries xmin in `id`. Its time is `now()`,
/// the start of the statement's transaction and so before its snapshot: what was committed before it, is seen.
pub(crate) async fn read(connection: &mut PgConnection, cursor: i64, limit: usize) -> Result<Seen, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sqlx::query(if harm::sabotaged(Sabotage::XidOrder) { READ_BY_XID } else { READ })
        .bind(cursor)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(Error::database("read the outbox"))?;
    seen(&rows).map_err(Error::database("decode outbox rows"))
}

const READ: &str =
    "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS id, 0 AS tx_rows, NULL::uuid AS message_id, NULL AS topic,
                NULL::int AS partition, NULL::bytea AS key, NULL::bytea AS headers, NULL::bytea AS payload, now() AS created_at
         UNION ALL
         (SELECT id, tx_rows, message_id, topic, partition, key, headers, payload, created_at
          FROM outbox WHERE id > $1 ORDER BY id LIMIT $2)";

/// Sabotage: what many outboxes do.
const READ_BY_XID: &str =
    "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS id, 0 AS tx_rows, NULL::uuid AS message_id, NULL AS topic,
                NULL::int AS partition, NULL::bytea AS key, NULL::bytea AS headers, NULL::bytea AS payload, now() AS created_at
         UNION ALL
         (SELECT id, tx_rows, message_id, topic, partition, key, headers, payload, created_at
          FROM outbox
          WHERE xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
            AND (xmin::text::bigint, id) > (coalesce((SELECT o.xmin::text::bigint FROM outbox AS o WHERE o.id = $1), 0), $1)
          ORDER BY xmin::text::bigint, id LIMIT $2)";

fn seen(rows: &[PgRow]) -> Result<Seen, sqlx::Error> {
    let mut seen = Seen { rows: Vec::with_capacity(rows.len()), xmin: 0, read_at_micros: 0 };
    for row in rows {
        let slot = Slot { id: row.try_get(0)?, tx_rows: row.try_get(1)? };
        if slot.tx_rows == 0 {
            seen.xmin = u64::try_from(slot.id).unwrap_or(0);
            seen.read_at_micros = micros(row)?;
            continue;
        }
        seen.rows.push(Row {
            slot,
            message_id: row.try_get(2)?,
            topic: row.try_get(3)?,
            partition: row.try_get(4)?,
            key: row.try_get(5)?,
            headers: row.try_get(6)?,
            payload: row.try_get(7)?,
            created_at_micros: micros(row)?,
        });
    }
    Ok(seen)
}

/// Column 8, a binary `timestamptz`, in microseconds since 1970. Source: PostgreSQL `timestamptz_send`.
fn micros(row: &PgRow) -> Result<i64, sqlx::Error> {
    let bytes = row.try_get_raw(8)?.as_bytes().map_err(sqlx::Error::Decode)?;
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|wrong| sqlx::Error::Decode(Box::new(wrong)))?;
    Ok(i64::from_be_bytes(bytes).saturating_add(EPOCH_MICROS))
}

/// A published row, and the id of the row before it in its topic partition (0 if that is gone): what was sent last there.
pub(crate) async fn published(connection: &mut PgConnection, id: i64) -> Result<Option<(Row, i64)>, Error> {
    let rows = sqlx::query("SELECT id, tx_rows, message_id, topic, partition, key, headers, payload, created_at FROM outbox WHERE id = $1")
        .bind(id)
        .fetch_all(&mut *connection)
        .await
        .map_err(Error::database("read a published row"))?;
    let Some(row) = seen(&rows).map_err(Error::database("decode a published row"))?.rows.pop() else { return Ok(None) };
    let before: Option<i64> =
        sqlx::query_scalar("SELECT id FROM outbox WHERE id < $1 AND topic = $2 AND partition = $3 ORDER BY id DESC LIMIT 1")
            .bind(id)
            .bind(&row.topic)
            .bind(row.partition)
            .fetch_optional(connection)
            .await
            .map_err(Error::database("read the row before a published one"))?;
    Ok(Some((row, before.unwrap_or(0))))
}

/// Draws an xid of our own: every transaction that already had one has a lower one.
pub(crate) async fn draw_xid(connection: &mut PgConnection) -> Result<u64, Error> {
    let draw = if harm::sabotaged(Sabotage::XmaxBarrier) {
        "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    } else {
        "SELECT pg_current_xact_id()::text::bigint"
    };
    let xid: i64 = sqlx::query_scalar(draw).fetch_one(connection).await.map_err(Error::database("draw a barrier xid"))?;
    Ok(u64::try_from(xid).unwrap_or(0))
}

/// The writer that holds xmin back, of any database of the server, in words for a log line.
pub(crate) async fn oldest_writer(connection: &mut PgConnection) -> Result<Option<String>, Error> {
    sqlx::query_scalar(
        "SELECT format('pid %s, database %s, role %s, application %s, %s for %s ms', pid, datname, usename, application_name, state,
                       (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::bigint)
         FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY age(backend_xid) DESC LIMIT 1",
    )
    .fetch_optional(connection)
    .await
    .map_err(Error::database("look for the oldest writer"))
}

/// Whether the outbox holds any row.
pub(crate) async fn outbox_has_rows(connection: &mut PgConnection) -> Result<bool, Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM outbox)")
        .fetch_one(connection)
        .await
        .map_err(Error::database("look whether the outbox is empty"))
}

/// Rows above `cursor`, counted up to [`PENDING_MAX`], and the age of the oldest.
pub(crate) async fn pending(connection: &mut PgConnection, cursor: i64) -> Result<(i64, Duration), Error> {
    let (rows, age_micros): (i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce((extract(epoch FROM clock_timestamp() - min(created_at)) * 1000000)::bigint, 0)
         FROM (SELECT created_at FROM outbox WHERE id > $1 ORDER BY id LIMIT $2) AS unsent",
    )
    .bind(cursor)
    .bind(PENDING_MAX)
    .fetch_one(connection)
    .await
    .map_err(Error::database("count unsent rows"))?;
    Ok((rows, Duration::from_micros(u64::try_from(age_micros).unwrap_or(0))))
}

/// Adds partitions ahead of the sequence and drops those that are published and older than 72 hours. Gives up after
/// 200 ms behind a lock (`lock_timeout`), because writers queue behind it.
pub(crate) async fn maintain(connection: &mut PgConnection, cursor: i64) -> Result<i32, Error> {
    sqlx::query_scalar("SELECT outbox_maintain($1, make_interval(hours => $2))")
        .bind(cursor)
        .bind(KEEP_HOURS)
        .fetch_one(connection)
        .await
        .map_err(Error::database("maintain the outbox's partitions"))
}
