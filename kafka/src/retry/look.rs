//! What operators are shown besides the letters themselves, and what a decision about them would do.

use sqlx::{PgConnection, Row};

use super::decide::{Decided, Decision, Target, judge};
use super::letter::{COLUMNS, Letter};
use crate::effects::EffectRow;
use crate::unit::Micros;

/// One decision about a letter, as it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// When.
    pub at: Micros,
    /// How often the letter had been sent back then.
    pub redrive_no: i32,
    /// What was decided.
    pub decision: String,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What was decided about a letter so far, oldest first, at most 100.
///
/// # Errors
/// The database does not answer.
pub async fn decisions_of(db: &mut PgConnection, group: &str, letter: &Letter) -> Result<Vec<Noted>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT (extract(epoch FROM at) * 1000000)::bigint AS at, redrive_no, decision, who, why FROM decisions
         WHERE consumer_group = $1 AND message_id = $2 AND topic = $3 AND partition = $4 AND record_offset = $5
         ORDER BY pos LIMIT 100",
    )
    .bind(group)
    .bind(letter.message_id.uuid())
    .bind(&letter.topic)
    .bind(letter.partition)
    .bind(letter.offset)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Noted {
                at: row.try_get("at")?,
                redrive_no: row.try_get("redrive_no")?,
                decision: row.try_get("decision")?,
                who: row.try_get("who")?,
                why: row.try_get("why")?,
            })
        })
        .collect()
}

/// How many messages of its key wait behind a letter.
///
/// # Errors
/// The database does not answer.
pub async fn waiting_behind(db: &mut PgConnection, group: &str, letter: &Letter) -> Result<i64, sqlx::Error> {
    if letter.alone {
        return Ok(0);
    }
    sqlx::query_scalar(
        "SELECT count(*) FROM parked WHERE consumer_group = $1 AND topic = $2 AND key = $3 AND pos > $4 AND state = 'follower' AND NOT alone",
    )
    .bind(group)
    .bind(&letter.topic)
    .bind(&letter.key)
    .bind(letter.pos)
    .fetch_one(db)
    .await
}

/// What deciding `decision` about `targets` would do right now, in their order. Changes nothing.
///
/// # Errors
/// The database does not answer.
pub async fn foresee(db: &mut PgConnection, group: &str, targets: &[Target], decision: &Decision) -> Result<Vec<Decided>, sqlx::Error> {
    let numbers: Vec<i64> = targets.iter().map(|target| target.pos).collect();
    let statement = format!("SELECT {COLUMNS} FROM parked p WHERE p.pos = ANY($2) AND p.consumer_group = $1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(group).bind(numbers).fetch_all(db).await?;
    let letters: Vec<Letter> = rows.iter().map(Letter::from_row).collect::<Result<_, _>>()?;
    let letter = |target: &Target| letters.iter().find(|letter| letter.pos == target.pos);
    Ok(targets.iter().map(|target| letter(target).map_or(Decided::Gone, |letter| judge(letter, *target, decision))).collect())
}

/// A call to the outside as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its number; the order in which calls were asked for.
    pub pos: i64,
    /// The call.
    pub effect: EffectRow,
    /// When it is due, if it is open.
    pub due_at: Micros,
}

const CALL: &str = "pos, stream, step, cause, correlation_id, key, request::text AS request, state, attempt, traceparent,
                    undo_cause IS NOT NULL AS undo,
                    (extract(epoch FROM due_at) * 1000000)::bigint AS due_at";

/// Calls that failed and wait to be made again, behind number `after`.
///
/// # Errors
/// The database does not answer.
pub async fn calls_waiting(db: &mut PgConnection, after: i64, limit: i64) -> Result<Vec<Call>, sqlx::Error> {
    // The partial index holds the open ones.
    let statement = format!(
        "SELECT {CALL} FROM effects
         WHERE state IN ('pending', 'calling', 'unknown') AND attempt > 0 AND pos > $1 ORDER BY pos LIMIT $2"
    );
    calls(sqlx::query(sqlx::AssertSqlSafe(statement)).bind(after).bind(limit).fetch_all(db).await?)
}

/// The calls of some streams, at most 100.
///
/// # Errors
/// The database does not answer.
pub async fn calls_of(db: &mut PgConnection, streams: &[String]) -> Result<Vec<Call>, sqlx::Error> {
    let statement = format!("SELECT {CALL} FROM effects WHERE stream = ANY($1) ORDER BY pos LIMIT 100");
    calls(sqlx::query(sqlx::AssertSqlSafe(statement)).bind(streams).fetch_all(db).await?)
}

fn calls(rows: Vec<sqlx::postgres::PgRow>) -> Result<Vec<Call>, sqlx::Error> {
    rows.iter()
        .map(|row| Ok(Call { pos: row.try_get("pos")?, effect: EffectRow::from_row(row)?, due_at: row.try_get("due_at")? }))
        .collect()
}

/// One recorded event, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its stream.
    pub stream: String,
    /// Its version there.
    pub version: i64,
    /// Record type.
    pub record: String,
    /// Its id.
    pub id: uuid::Uuid,
    /// What caused it.
    pub cause: uuid::Uuid,
    /// When it was recorded.
    pub at: Micros,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The events of some streams in the order in which they were recorded, at most 500.
///
/// # Errors
/// The database does not answer.
pub async fn events_of(db: &mut PgConnection, streams: &[String]) -> Result<Vec<Recorded>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT stream, version, type, event_id, causation_id, (extract(epoch FROM recorded_at) * 1000000)::bigint AS at, payload
         FROM events WHERE stream = ANY($1) ORDER BY recorded_at, stream, version LIMIT 500",
    )
    .bind(streams)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Recorded {
                stream: row.try_get("stream")?,
                version: row.try_get("version")?,
                record: row.try_get("type")?,
                id: row.try_get("event_id")?,
                cause: row.try_get("causation_id")?,
                at: row.try_get("at")?,
                payload: row.try_get("payload")?,
            })
        })
        .collect()
}

/// Now, by the database's clock.
///
/// # Errors
/// The database does not answer.
pub async fn now(db: &mut PgConnection) -> Result<Micros, sqlx::Error> {
    super::store::clock(db).await
}
