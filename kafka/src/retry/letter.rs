//! One parked message as operators see it, and the questions they ask about all of them.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::Policy;
use crate::message::{HeaderText, MessageId};
use crate::unit::Micros;

/// Where a parked message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for the messages of its key before it.
    Follower,
    /// Is tried again when it is due.
    Head,
    /// Given up: waits for a person.
    Dead,
}

impl State {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Head => "head",
            Self::Dead => "dead",
        }
    }

    fn parse(text: &str) -> Result<Self, sqlx::Error> {
        [Self::Follower, Self::Head, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| sqlx::Error::Decode(format!("parked state {text}").into()))
    }
}

/// A message that left the main stream and is not handled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its number in this database; the order of its key's messages.
    pub pos: i64,
    /// Where it came from.
    pub topic: String,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its own id; derived from its place when it is foreign or cannot be read.
    pub message_id: MessageId,
    /// Its record type, when that is known.
    pub record: Option<String>,
    /// The saga step it performs, if any.
    pub step: Option<String>,
    /// The story it belongs to.
    pub correlation: String,
    /// Its bytes, as they are tried: the original ones unless it was edited. `None`: the record had no value.
    pub value: Option<Vec<u8>>,
    /// Its original headers, as stored.
    pub headers: Vec<u8>,
    /// Its record's timestamp, Unix milliseconds.
    pub recorded_at_ms: i64,
    /// What its followers do once it is given up.
    pub policy: Policy,
    /// Where it stands.
    pub state: State,
    /// Neither blocks its key nor waits for it.
    pub alone: bool,
    /// Failed tries since it was parked or last sent back.
    pub attempt: i32,
    /// How often it was sent back.
    pub redrive_no: i32,
    /// When it is due.
    pub due_at: Option<Micros>,
    /// When it first failed.
    pub first_failure_at: Option<Micros>,
    /// When it last failed.
    pub last_failure_at: Option<Micros>,
    /// Class of its last failure.
    pub class: Option<String>,
    /// Code of its last failure.
    pub code: Option<String>,
    /// What its last failure said.
    pub error: Option<String>,
    /// What it has in common with others that failed alike.
    pub fingerprint: Option<String>,
    pub(crate) timer_no: i32,
}

/// The columns of [`Letter::from_row`], of a table or alias `p`.
pub(crate) const COLUMNS: &str = "p.pos, p.topic, p.partition, p.record_offset, p.key, p.message_id, p.record, p.step, p.correlation_id,
    p.value, p.headers, p.recorded_at_ms, p.policy, p.state, p.alone, p.attempt, p.redrive_no, p.timer_no,
    (extract(epoch FROM p.due_at) * 1000000)::bigint AS due_at,
    (extract(epoch FROM p.first_failure_at) * 1000000)::bigint AS first_failure_at,
    (extract(epoch FROM p.last_failure_at) * 1000000)::bigint AS last_failure_at,
    p.error_class, p.error_code, p.error, p.fingerprint";

impl Letter {
    pub(crate) fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let policy: &str = row.try_get("policy")?;
        Ok(Self {
            pos: row.try_get("pos")?,
            topic: row.try_get("topic")?,
            partition: row.try_get("partition")?,
            offset: row.try_get("record_offset")?,
            key: row.try_get("key")?,
            message_id: MessageId::from(row.try_get::<Uuid, _>("message_id")?),
            record: row.try_get("record")?,
            step: row.try_get("step")?,
            correlation: row.try_get("correlation_id")?,
            value: row.try_get("value")?,
            headers: row.try_get("headers")?,
            recorded_at_ms: row.try_get("recorded_at_ms")?,
            policy: if policy == Policy::Release.as_str() { Policy::Release } else { Policy::Hold },
            state: State::parse(row.try_get("state")?)?,
            alone: row.try_get("alone")?,
            attempt: row.try_get("attempt")?,
            redrive_no: row.try_get("redrive_no")?,
            due_at: row.try_get("due_at")?,
            first_failure_at: row.try_get("first_failure_at")?,
            last_failure_at: row.try_get("last_failure_at")?,
            class: row.try_get("error_class")?,
            code: row.try_get("error_code")?,
            error: row.try_get("error")?,
            fingerprint: row.try_get("fingerprint")?,
            timer_no: row.try_get("timer_no")?,
        })
    }

    /// Its original headers, in order.
    pub fn header_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        HeaderText::parse(&self.headers)
    }
}

/// Which parked messages; everything that is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Where they stand.
    pub state: Option<State>,
    /// Not those that are given up.
    pub not_dead: bool,
    /// Where they came from.
    pub topic: Option<String>,
    /// Their record type.
    pub record: Option<String>,
    /// Their key.
    pub key: Option<Vec<u8>>,
    /// The story they belong to.
    pub correlation: Option<String>,
    /// Only those that failed last before this instant.
    pub before: Option<Micros>,
    /// Their id.
    pub message_id: Option<MessageId>,
    /// Class of their last failure.
    pub class: Option<String>,
    /// Code of their last failure.
    pub code: Option<String>,
    /// What they have in common.
    pub fingerprint: Option<String>,
    /// Only those behind this number: the last one of the page before.
    pub after: i64,
}

/// Letters of one answer at most.
const PAGE: i64 = 1_000;

/// Parked messages in the order of their numbers, at most `limit` (1,000 at most) behind `filter.after`.
///
/// # Errors
/// The database does not answer.
pub async fn list(db: &mut PgConnection, group: &str, filter: &Filter, limit: i64) -> Result<Vec<Letter>, sqlx::Error> {
    let statement = format!(
        "SELECT {COLUMNS} FROM parked p
         WHERE p.consumer_group = $1 AND p.pos > $2
           AND ($3::text IS NULL OR p.state = $3) AND ($4::text IS NULL OR p.topic = $4) AND ($5::bytea IS NULL OR p.key = $5)
           AND ($6::uuid IS NULL OR p.message_id = $6) AND ($7::text IS NULL OR p.error_class = $7)
           AND ($8::text IS NULL OR p.error_code = $8) AND ($9::text IS NULL OR p.fingerprint = $9)
           AND ($10::text IS NULL OR p.record = $10) AND ($11::text IS NULL OR p.correlation_id = $11)
           AND ($12::bigint IS NULL OR p.last_failure_at < to_timestamp($12 / 1000000.0)) AND NOT ($13 AND p.state = 'dead')
         ORDER BY p.pos LIMIT $14"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(group)
        .bind(filter.after)
        .bind(filter.state.map(State::as_str))
        .bind(filter.topic.as_deref())
        .bind(filter.key.as_deref())
        .bind(filter.message_id.map(MessageId::uuid))
        .bind(filter.class.as_deref())
        .bind(filter.code.as_deref())
        .bind(filter.fingerprint.as_deref())
        .bind(filter.record.as_deref())
        .bind(filter.correlation.as_deref())
        .bind(filter.before)
        .bind(filter.not_dead)
        .bind(limit.clamp(1, PAGE))
        .fetch_all(db)
        .await?;
    rows.iter().map(Letter::from_row).collect()
}

/// One parked message by its number; `None` once it is handled, undone or skipped.
///
/// # Errors
/// The database does not answer.
pub async fn show(db: &mut PgConnection, group: &str, pos: i64) -> Result<Option<Letter>, sqlx::Error> {
    let statement = format!("SELECT {COLUMNS} FROM parked p WHERE p.consumer_group = $1 AND p.pos = $2");
    let row = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(group).bind(pos).fetch_optional(db).await?;
    row.as_ref().map(Letter::from_row).transpose()
}

/// Dead letters that failed alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Where they came from.
    pub topic: String,
    /// Their record type.
    pub record: Option<String>,
    /// Class of their failure.
    pub class: String,
    /// Its code.
    pub code: String,
    /// What they have in common.
    pub fingerprint: String,
    /// What the newest of them said.
    pub error: String,
    /// How many.
    pub count: i64,
    /// How many different keys.
    pub keys: i64,
    /// Messages that wait behind them.
    pub followers: i64,
    /// When the oldest failed last.
    pub oldest: Micros,
    /// When the newest did.
    pub newest: Micros,
    /// Now, by the same clock.
    pub now: Micros,
}

/// Those dead letters that `filter` wants, by what they have in common, the largest groups first, at most 200.
///
/// # Errors
/// The database does not answer.
pub async fn groups(db: &mut PgConnection, group: &str, filter: &Filter) -> Result<Vec<Group>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT p.topic, p.record, coalesce(p.error_class, '') AS class, coalesce(p.error_code, '') AS code, coalesce(p.fingerprint, '') AS fingerprint,
                coalesce((array_agg(p.error ORDER BY p.last_failure_at DESC))[1], '') AS error, count(*) AS count, count(DISTINCT p.key) AS keys,
                (extract(epoch FROM min(p.last_failure_at)) * 1000000)::bigint AS oldest,
                (extract(epoch FROM max(p.last_failure_at)) * 1000000)::bigint AS newest,
                (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now,
                sum((SELECT count(*) FROM parked f WHERE NOT p.alone AND f.consumer_group = p.consumer_group AND f.topic = p.topic AND f.key = p.key AND f.state = 'follower'))::bigint AS followers
         FROM parked p
         WHERE p.consumer_group = $1 AND p.state = 'dead'
           AND ($2::text IS NULL OR p.topic = $2) AND ($3::bytea IS NULL OR p.key = $3) AND ($4::uuid IS NULL OR p.message_id = $4)
           AND ($5::text IS NULL OR p.error_class = $5) AND ($6::text IS NULL OR p.error_code = $6) AND ($7::text IS NULL OR p.fingerprint = $7)
           AND ($8::text IS NULL OR p.record = $8) AND ($9::text IS NULL OR p.correlation_id = $9)
           AND ($10::bigint IS NULL OR p.last_failure_at < to_timestamp($10 / 1000000.0))
         GROUP BY p.topic, p.record, 3, 4, 5 ORDER BY count(*) DESC, p.topic LIMIT 200",
    )
    .bind(group)
    .bind(filter.topic.as_deref())
    .bind(filter.key.as_deref())
    .bind(filter.message_id.map(MessageId::uuid))
    .bind(filter.class.as_deref())
    .bind(filter.code.as_deref())
    .bind(filter.fingerprint.as_deref())
    .bind(filter.record.as_deref())
    .bind(filter.correlation.as_deref())
    .bind(filter.before)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Group {
                topic: row.try_get("topic")?,
                record: row.try_get("record")?,
                class: row.try_get("class")?,
                code: row.try_get("code")?,
                fingerprint: row.try_get("fingerprint")?,
                error: row.try_get("error")?,
                count: row.try_get("count")?,
                keys: row.try_get("keys")?,
                followers: row.try_get("followers")?,
                oldest: row.try_get("oldest")?,
                newest: row.try_get("newest")?,
                now: row.try_get("now")?,
            })
        })
        .collect()
}
