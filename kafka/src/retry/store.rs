//! The statements behind parking. Functions take a connection; only callers open and commit. Locks are taken in one order
//! everywhere: progress rows, blocked keys by (topic, key), parked rows, streams.

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::Policy;
use super::letter::{COLUMNS, Letter, State};
use crate::failure::Failure;
use crate::message::MessageId;
use crate::unit::Micros;

/// A topic and a key: what is blocked.
pub(crate) type TopicKey = (String, Vec<u8>);

/// An outbox row that is not one of our own records: a timer, a dead letter, a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) id: Uuid,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) key: Vec<u8>,
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// Appends `posts` to the outbox. Once and last in its transaction.
pub(crate) async fn append(db: &mut PgConnection, posts: &[Post]) -> Result<(), sqlx::Error> {
    if posts.is_empty() {
        return Ok(());
    }
    sqlx::query("SELECT outbox_append($1, $2, $3, $4, $5, $6)")
        .bind(posts.iter().map(|p| p.id).collect::<Vec<_>>())
        .bind(posts.iter().map(|p| p.topic.as_str()).collect::<Vec<_>>())
        .bind(posts.iter().map(|p| p.partition).collect::<Vec<_>>())
        .bind(posts.iter().map(|p| p.key.as_slice()).collect::<Vec<_>>())
        .bind(posts.iter().map(|p| p.headers.as_slice()).collect::<Vec<_>>())
        .bind(posts.iter().map(|p| p.payload.as_slice()).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(())
}

fn split(keys: &[TopicKey]) -> (Vec<&str>, Vec<&[u8]>) {
    keys.iter().map(|(topic, key)| (topic.as_str(), key.as_slice())).unzip()
}

fn topic_keys(rows: &[sqlx::postgres::PgRow]) -> Result<Vec<TopicKey>, sqlx::Error> {
    rows.iter().map(|row| Ok((row.try_get("topic")?, row.try_get("key")?))).collect()
}

/// Locks those of `keys` that are blocked, and the keys under which messages of `stories` that perform a step are parked;
/// answers which are blocked. In (topic, key) order.
pub(crate) async fn lock_keys(
    db: &mut PgConnection,
    group: &str,
    keys: &[TopicKey],
    stories: &[&str],
) -> Result<Vec<TopicKey>, sqlx::Error> {
    let (topics, bytes) = split(keys);
    let rows = sqlx::query(
        "SELECT b.topic, b.key FROM blocked_key b
         WHERE b.consumer_group = $1 AND (b.topic, b.key) IN (
             SELECT topic, key FROM unnest($2::text[], $3::bytea[]) AS k (topic, key)
             UNION SELECT p.topic, p.key FROM parked p WHERE p.consumer_group = $1 AND p.correlation_id = ANY($4) AND p.step IS NOT NULL)
         ORDER BY b.topic, b.key FOR UPDATE",
    )
    .bind(group)
    .bind(topics)
    .bind(bytes)
    .bind(stories)
    .fetch_all(db)
    .await?;
    topic_keys(&rows)
}

/// Gives every one of `keys` that has no head any more its next follower as head, due at once, or frees it. Their rows in
/// `blocked_key` must be locked.
pub(crate) async fn settle_keys(db: &mut PgConnection, group: &str, keys: &[TopicKey]) -> Result<Settled, sqlx::Error> {
    if keys.is_empty() {
        return Ok(Settled::default());
    }
    let (topics, bytes) = split(keys);
    let rows = sqlx::query(
        "WITH headless AS (
             SELECT b.topic, b.key FROM blocked_key b
             JOIN (SELECT DISTINCT topic, key FROM unnest($2::text[], $3::bytea[]) AS k (topic, key)) AS k ON k.topic = b.topic AND k.key = b.key
             WHERE b.consumer_group = $1
               AND NOT EXISTS (SELECT 1 FROM parked p WHERE p.consumer_group = $1 AND p.topic = b.topic AND p.key = b.key
                               AND NOT p.alone AND p.state IN ('head', 'dead'))),
         next AS (
             SELECT h.topic, h.key, (SELECT p.pos FROM parked p WHERE p.consumer_group = $1 AND p.topic = h.topic AND p.key = h.key
                                     AND NOT p.alone AND p.state = 'follower' ORDER BY p.pos LIMIT 1) AS pos FROM headless h),
         promoted AS (
             UPDATE parked p SET state = 'head', due_at = clock_timestamp(), timed = false FROM next n WHERE p.pos = n.pos RETURNING p.topic, p.key),
         freed AS (
             DELETE FROM blocked_key b USING next n
             WHERE n.pos IS NULL AND b.consumer_group = $1 AND b.topic = n.topic AND b.key = n.key RETURNING b.topic, b.key)
         SELECT topic, key, true AS freed FROM freed UNION ALL SELECT topic, key, false FROM promoted",
    )
    .bind(group)
    .bind(topics)
    .bind(bytes)
    .fetch_all(db)
    .await?;
    let (freed, promoted): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.try_get("freed").unwrap_or(false));
    Ok(Settled { freed: topic_keys(&freed)?, promoted: promoted.len() })
}

/// What settling keys did.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Keys that nothing blocks any more.
    pub(crate) freed: Vec<TopicKey>,
    /// Followers that are heads now.
    pub(crate) promoted: usize,
}

/// How a parked message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Handled,
    Skipped,
    Abandoned,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Skipped => "skipped",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Takes messages out and notes how they ended. Answers how many there were.
pub(crate) async fn finish(db: &mut PgConnection, group: &str, numbers: &[i64], end: End) -> Result<u64, sqlx::Error> {
    if numbers.is_empty() {
        return Ok(0);
    }
    let count: i64 = sqlx::query_scalar(
        "WITH gone AS (DELETE FROM parked WHERE pos = ANY($2) AND consumer_group = $1 RETURNING message_id),
         noted AS (INSERT INTO inbox (consumer_group, message_id, outcome) SELECT DISTINCT $1, message_id, $3 FROM gone
                   ON CONFLICT (consumer_group, message_id) DO NOTHING)
         SELECT count(*) FROM gone",
    )
    .bind(group)
    .bind(numbers)
    .bind(end.as_str())
    .fetch_one(db)
    .await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Takes out every parked message of `(story, step)`, under every topic and in every state. Answers the keys they were
/// under; those must be locked before (see [`lock_keys`]) and settled after.
pub(crate) async fn undo(db: &mut PgConnection, group: &str, undone: &[(String, &'static str)]) -> Result<Vec<TopicKey>, sqlx::Error> {
    if undone.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "WITH gone AS (
             DELETE FROM parked p USING (SELECT DISTINCT story, step FROM unnest($2::text[], $3::text[]) AS u (story, step)) AS u
             WHERE p.consumer_group = $1 AND p.correlation_id = u.story AND p.step = u.step
             RETURNING p.topic, p.key, p.message_id),
         noted AS (INSERT INTO inbox (consumer_group, message_id, outcome) SELECT DISTINCT $1, message_id, 'undone' FROM gone
                   ON CONFLICT (consumer_group, message_id) DO NOTHING)
         SELECT DISTINCT topic, key FROM gone",
    )
    .bind(group)
    .bind(undone.iter().map(|(story, _)| story.as_str()).collect::<Vec<_>>())
    .bind(undone.iter().map(|(_, step)| *step).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    topic_keys(&rows)
}

/// What a try left of a message: where it stands from now on.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) state: State,
    pub(crate) alone: bool,
    pub(crate) attempt: i32,
    pub(crate) timed: bool,
    pub(crate) delay_ms: i64,
    pub(crate) due_at: Option<Micros>,
    pub(crate) failure: Option<(Failure, String)>,
}

/// A message that leaves the main stream.
#[derive(Debug, Clone)]
pub(crate) struct NewLetter {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) message_id: MessageId,
    pub(crate) record: Option<String>,
    pub(crate) step: Option<&'static str>,
    pub(crate) correlation: String,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<u8>,
    pub(crate) recorded_at_ms: i64,
    pub(crate) policy: Policy,
    pub(crate) standing: Standing,
}

/// Parks `letters` in their order, failed at `now` where they failed, and blocks `keys` (with their partitions).
pub(crate) async fn park(
    db: &mut PgConnection,
    group: &str,
    now: Micros,
    letters: &[NewLetter],
    keys: &[(TopicKey, i32)],
) -> Result<(), sqlx::Error> {
    if !keys.is_empty() {
        sqlx::query(
            "INSERT INTO blocked_key (consumer_group, topic, key, partition)
             SELECT $1, topic, key, partition FROM unnest($2::text[], $3::bytea[], $4::int[]) AS k (topic, key, partition) ORDER BY topic, key
             ON CONFLICT (consumer_group, topic, key) DO NOTHING",
        )
        .bind(group)
        .bind(keys.iter().map(|((topic, _), _)| topic.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|((_, key), _)| key.as_slice()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, partition)| *partition).collect::<Vec<_>>())
        .execute(&mut *db)
        .await?;
    }
    if letters.is_empty() {
        return Ok(());
    }
    let failures: Vec<Option<&(Failure, String)>> = letters.iter().map(|l| l.standing.failure.as_ref()).collect();
    sqlx::query(
        "INSERT INTO parked (consumer_group, topic, partition, record_offset, key, message_id, record, step, correlation_id, value, headers,
                             recorded_at_ms, policy, state, alone, attempt, timed, delay_ms, due_at, error_class, error_code, error, fingerprint,
                             first_failure_at, last_failure_at)
         SELECT $1, topic, partition, record_offset, key, message_id, record, step, correlation_id, value, headers, recorded_at_ms, policy, state,
                alone, attempt, timed, delay_ms, to_timestamp(due / 1000000.0), class, code, error, fingerprint,
                CASE WHEN class IS NOT NULL THEN to_timestamp($2 / 1000000.0) END, CASE WHEN class IS NOT NULL THEN to_timestamp($2 / 1000000.0) END
         FROM unnest($3::text[], $4::int[], $5::bigint[], $6::bytea[], $7::uuid[], $8::text[], $9::text[], $10::text[], $11::bytea[], $12::bytea[],
                     $13::bigint[], $14::text[], $15::text[], $16::bool[], $17::int[], $18::bool[], $19::bigint[], $20::bigint[], $21::text[],
                     $22::text[], $23::text[], $24::text[])
              WITH ORDINALITY AS l (topic, partition, record_offset, key, message_id, record, step, correlation_id, value, headers,
                     recorded_at_ms, policy, state, alone, attempt, timed, delay_ms, due, class, code, error, fingerprint, ord)
         ORDER BY ord",
    )
    .bind(group)
    .bind(now)
    .bind(letters.iter().map(|l| l.topic.as_str()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.partition).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.offset).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.key.as_slice()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.message_id.uuid()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.record.as_deref()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.step).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.correlation.as_str()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.value.as_deref()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.headers.as_slice()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.recorded_at_ms).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.policy.as_str()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.standing.state.as_str()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.standing.alone).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.standing.attempt).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.standing.timed).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.standing.delay_ms).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.standing.due_at).collect::<Vec<_>>())
    .bind(failures.iter().map(|f| f.map(|(f, _)| f.class.as_str())).collect::<Vec<_>>())
    .bind(failures.iter().map(|f| f.map(|(f, _)| f.code)).collect::<Vec<_>>())
    .bind(failures.iter().map(|f| f.map(|(f, _)| text(&f.message))).collect::<Vec<_>>())
    .bind(failures.iter().map(|f| f.map(|(_, fingerprint)| fingerprint.as_str())).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// `PostgreSQL` text holds no NUL; a letter's error is for people and has an end.
fn text(message: &str) -> String {
    message.chars().filter(|c| *c != '\0').take(2_000).collect()
}

/// Notes where parked messages stand after a try at `now` that did not handle them.
pub(crate) async fn stand(db: &mut PgConnection, group: &str, now: Micros, standings: &[(i64, Standing)]) -> Result<(), sqlx::Error> {
    if standings.is_empty() {
        return Ok(());
    }
    let failures: Vec<Option<&(Failure, String)>> = standings.iter().map(|(_, s)| s.failure.as_ref()).collect();
    sqlx::query(
        "UPDATE parked p
         SET state = s.state, alone = s.alone, attempt = s.attempt, timed = s.timed, delay_ms = s.delay_ms, timer_no = 0,
             due_at = to_timestamp(s.due / 1000000.0),
             error_class = coalesce(s.class, p.error_class), error_code = coalesce(s.code, p.error_code), error = coalesce(s.error, p.error),
             fingerprint = coalesce(s.fingerprint, p.fingerprint),
             first_failure_at = coalesce(p.first_failure_at, CASE WHEN s.class IS NOT NULL THEN to_timestamp($2 / 1000000.0) END),
             last_failure_at = CASE WHEN s.class IS NOT NULL THEN to_timestamp($2 / 1000000.0) ELSE p.last_failure_at END
         FROM unnest($3::bigint[], $4::text[], $5::bool[], $6::int[], $7::bool[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[])
              AS s (pos, state, alone, attempt, timed, delay_ms, due, class, code, error, fingerprint)
         WHERE p.pos = s.pos AND p.consumer_group = $1",
    )
    .bind(group)
    .bind(now)
    .bind(standings.iter().map(|(pos, _)| *pos).collect::<Vec<_>>())
    .bind(standings.iter().map(|(_, s)| s.state.as_str()).collect::<Vec<_>>())
    .bind(standings.iter().map(|(_, s)| s.alone).collect::<Vec<_>>())
    .bind(standings.iter().map(|(_, s)| s.attempt).collect::<Vec<_>>())
    .bind(standings.iter().map(|(_, s)| s.timed).collect::<Vec<_>>())
    .bind(standings.iter().map(|(_, s)| s.delay_ms).collect::<Vec<_>>())
    .bind(standings.iter().map(|(_, s)| s.due_at).collect::<Vec<_>>())
    .bind(failures.iter().map(|f| f.map(|(f, _)| f.class.as_str())).collect::<Vec<_>>())
    .bind(failures.iter().map(|f| f.map(|(f, _)| f.code)).collect::<Vec<_>>())
    .bind(failures.iter().map(|f| f.map(|(f, _)| text(&f.message))).collect::<Vec<_>>())
    .bind(failures.iter().map(|f| f.map(|(_, fingerprint)| fingerprint.as_str())).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Locks and reads messages by their numbers, with the database's clock. In the order of their numbers.
pub(crate) async fn lock_letters(db: &mut PgConnection, group: &str, numbers: &[i64]) -> Result<Vec<Letter>, sqlx::Error> {
    let statement = format!("SELECT {COLUMNS} FROM parked p WHERE p.pos = ANY($2) AND p.consumer_group = $1 ORDER BY p.pos FOR UPDATE");
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(group).bind(numbers).fetch_all(db).await?;
    rows.iter().map(Letter::from_row).collect()
}

/// Locks and reads the first `most` followers of the locked `keys`, in the order of their numbers.
pub(crate) async fn lock_followers(db: &mut PgConnection, group: &str, keys: &[TopicKey], most: i64) -> Result<Vec<Letter>, sqlx::Error> {
    if keys.is_empty() || most <= 0 {
        return Ok(Vec::new());
    }
    let (topics, bytes) = split(keys);
    let statement = format!(
        "SELECT {COLUMNS} FROM (SELECT DISTINCT topic, key FROM unnest($2::text[], $3::bytea[]) AS k (topic, key)) AS k
         JOIN parked p ON p.consumer_group = $1 AND p.topic = k.topic AND p.key = k.key
         WHERE NOT p.alone AND p.state = 'follower' ORDER BY p.pos LIMIT $4 FOR UPDATE OF p"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(group).bind(topics).bind(bytes).bind(most).fetch_all(db).await?;
    rows.iter().map(Letter::from_row).collect()
}

/// The database's clock.
pub(crate) async fn clock(db: &mut PgConnection) -> Result<Micros, sqlx::Error> {
    sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetch_one(db).await
}
