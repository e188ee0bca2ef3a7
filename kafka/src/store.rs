//! Loading and writing units: the SQL behind [`crate::unit`]. Functions take a connection; only callers open and commit.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::postgres::PgPool;
use sqlx::{PgConnection, Postgres, Row, Transaction};
use tokio::sync::Notify;

use crate::codec::Codec;
use crate::effects::{EffectRow, LEASE, State};
use crate::failure::Failure;
use crate::hands::Hands;
use crate::retry;
use crate::topics::Partitions;
use crate::unit::{EffectChange, Needs, Slot, Unit, Work};

/// Where units come from: the pool, the codec, and the pokes that follow a commit. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Units {
    pub(crate) pool: PgPool,
    pub(crate) codec: Arc<Codec>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) relay: Arc<Notify>,
    pub(crate) worker: Arc<Notify>,
    pub(crate) hands: Arc<Hands>,
    pub(crate) retry: Arc<retry::Settings>,
}

impl Units {
    /// Units on `pool`, published by whoever waits on `relay`, their effects called by whoever waits on `worker`.
    #[must_use]
    pub fn new(pool: PgPool, codec: Arc<Codec>, partitions: Arc<Partitions>, relay: Arc<Notify>, worker: Arc<Notify>) -> Self {
        Self { pool, codec, partitions, relay, worker, hands: Arc::default(), retry: Arc::default() }
    }

    /// The same, with the consumer group whose failures are parked.
    #[must_use]
    pub fn with_retry(self, settings: retry::Settings) -> Self {
        Self { retry: Arc::new(settings), ..self }
    }

    /// The same, with another worker to wake.
    #[must_use]
    pub fn with_worker(self, worker: Arc<Notify>) -> Self {
        Self { worker, hands: Arc::default(), ..self }
    }

    /// The same, with one topic more that it may write.
    #[must_use]
    pub fn also(self, topic: &str, partitions: i32) -> Self {
        let all = self.partitions.iter().map(|(topic, count)| (topic.to_owned(), count)).chain([(topic.to_owned(), partitions)]);
        let partitions = Arc::new(Partitions::new(all));
        Self { partitions, ..self }
    }

    /// Whose failures are parked, and how.
    #[must_use]
    pub fn retry(&self) -> &retry::Settings {
        &self.retry
    }

    /// What wakes the relay.
    #[must_use]
    pub fn relay_wake(&self) -> Arc<Notify> {
        Arc::clone(&self.relay)
    }

    /// A transaction of its own.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.pool.begin().await
    }

    /// The codec, for what people read.
    #[must_use]
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The pool, for reads.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Loads and locks what `needs` names: streams in order, then effects, then the service's rows.
    ///
    /// # Errors
    /// The database does not answer, or a lock was not had in time.
    pub async fn load<W: Work>(&self, db: &mut PgConnection, needs: Needs<W>) -> Result<Unit<W>, sqlx::Error> {
        let mut names = needs.streams;
        names.extend(needs.effects.iter().cloned());
        let mut streams: HashMap<String, Slot> = HashMap::with_capacity(names.len());
        let now = lock_streams(db, &names, &mut streams).await?;
        let new: BTreeSet<String> = needs.effects.iter().filter(|stream| !streams.contains_key(*stream)).cloned().collect();
        let theirs = lock_new(db, &new).await?;
        if !theirs.is_empty() {
            lock_streams(db, &theirs, &mut streams).await?;
        }
        for name in names {
            streams.entry(name).or_default();
        }
        let mut effects: HashMap<String, Vec<EffectRow>> = needs.effects.iter().map(|stream| (stream.clone(), Vec::new())).collect();
        load_effects(db, needs.effects.into_iter().collect(), &mut effects).await?;
        let mut work = W::default();
        work.load(db, needs.work).await?;
        Ok(Unit::new(Arc::clone(&self.codec), Arc::clone(&self.partitions), now, streams, effects, work))
    }

    /// Writes a unit: events and states, effects, deadlines, the service's rows, the outbox last. The caller commits and
    /// then calls [`Units::committed`].
    ///
    /// # Errors
    /// `23505` on `events_stream_version_key`: another writer got there first, decide again. Everything else as it comes.
    pub async fn store<W: Work>(&self, db: &mut PgConnection, unit: &mut Unit<W>) -> Result<(), sqlx::Error> {
        store_events(db, unit).await?;
        unit.claimed = self.hands.claim(unit);
        store_effects(db, unit).await?;
        let given_up: Vec<(&EffectRow, &Failure)> = unit
            .effect_changes
            .iter()
            .filter_map(|change| if let EffectChange::Dead { effect, failure } = change { Some((&**effect, failure)) } else { None })
            .collect();
        if !given_up.is_empty() {
            unit.posts.extend(retry::effects::give_up(db, &self.retry, &self.partitions, unit.now(), &given_up).await?);
        }
        store_deadlines(db, unit).await?;
        unit.work.store(db).await?;
        store_outbox(db, unit).await
    }

    /// Wakes the relay, hands over the effects that are this process's to call, and wakes the effect worker when others
    /// can be claimed. Call it after every commit of a unit.
    pub fn committed<W: Work>(&self, unit: &mut Unit<W>) {
        if !unit.staged.is_empty() || !unit.posts.is_empty() {
            self.relay.notify_one();
        }
        if unit.leaves_effects() {
            self.worker.notify_one();
        }
        self.hands.take_over(std::mem::take(&mut unit.claimed));
        unit.spans.tell();
        unit.tallies.add();
    }
}

/// Locks the rows of `names` in order and reads them into `streams`; names without a row are not there afterwards.
/// Answers the instant, by the database's clock.
async fn lock_streams(db: &mut PgConnection, names: &BTreeSet<String>, streams: &mut HashMap<String, Slot>) -> Result<i64, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT clock.now, s.stream, s.version, s.state
         FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) AS clock
         LEFT JOIN LATERAL (SELECT stream, version, state::text AS state FROM streams WHERE stream = ANY($1) ORDER BY stream FOR UPDATE) AS s ON true",
    )
    .bind(names.iter().map(String::as_str).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let mut now = 0;
    for row in rows {
        now = row.try_get("now")?;
        if let Some(stream) = row.try_get::<Option<String>, _>("stream")? {
            let slot: &mut Slot = streams.entry(stream).or_default();
            slot.version = row.try_get("version")?;
            slot.json = if slot.version == 0 { None } else { row.try_get("state")? };
        }
    }
    Ok(now)
}

/// A stream that has effects before its first event has no row to lock, and asking for an effect alone appends nothing that
/// could conflict: two writers would decide on a state that the other changes. So its row is made first, at version 0; a
/// writer that meets an uncommitted one waits here. Answers the streams that somebody else made in between, which are still
/// to be locked and read.
async fn lock_new(db: &mut PgConnection, streams: &BTreeSet<String>) -> Result<BTreeSet<String>, sqlx::Error> {
    if streams.is_empty() {
        return Ok(BTreeSet::new());
    }
    let made: Vec<String> = sqlx::query_scalar(
        "INSERT INTO streams (stream, version, state) SELECT stream, 0, 'null' FROM unnest($1::text[]) AS s (stream) ORDER BY stream
         ON CONFLICT (stream) DO NOTHING RETURNING stream",
    )
    .bind(streams.iter().map(String::as_str).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    Ok(streams.iter().filter(|stream| !made.contains(stream)).cloned().collect())
}

async fn load_effects(
    db: &mut PgConnection,
    streams: Vec<String>,
    effects: &mut HashMap<String, Vec<EffectRow>>,
) -> Result<(), sqlx::Error> {
    if streams.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(
        "SELECT stream, step, cause, correlation_id, key, request::text AS request, state, attempt, traceparent, undo_cause IS NOT NULL AS undo
         FROM effects WHERE stream = ANY($1) ORDER BY stream, pos FOR UPDATE",
    )
    .bind(streams)
    .fetch_all(db)
    .await?;
    for row in rows {
        let effect = EffectRow::from_row(&row)?;
        effects.entry(effect.stream.clone()).or_default().push(effect);
    }
    Ok(())
}

async fn store_events<W: Work>(db: &mut PgConnection, unit: &Unit<W>) -> Result<(), sqlx::Error> {
    let events: Vec<_> = unit.staged.iter().filter_map(|staged| staged.event.as_ref().map(|event| (event, staged))).collect();
    if events.is_empty() {
        return Ok(());
    }
    let mut changed: Vec<(&String, &Slot)> = unit.streams.iter().filter(|(_, slot)| slot.changed).collect();
    changed.sort_by_key(|(stream, _)| *stream);
    sqlx::query(
        "WITH stored AS (
             INSERT INTO events (stream, version, event_id, type, topic, causation_id, correlation_id, payload)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::bytea[]))
         INSERT INTO streams (stream, version, state)
         SELECT stream, version, state::json FROM unnest($9::text[], $10::bigint[], $11::text[]) AS s (stream, version, state) ORDER BY stream
         ON CONFLICT (stream) DO UPDATE SET version = excluded.version, state = excluded.state",
    )
    .bind(events.iter().map(|((stream, _), _)| stream.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|((_, version), _)| *version).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, staged)| staged.id.uuid()).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, staged)| staged.record).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, staged)| staged.topic).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, staged)| staged.cause.uuid()).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, staged)| staged.correlation.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, staged)| staged.payload.as_slice()).collect::<Vec<_>>())
    .bind(changed.iter().map(|(stream, _)| stream.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|(_, slot)| slot.version).collect::<Vec<_>>())
    .bind(changed.iter().map(|(_, slot)| slot.json.as_deref().unwrap_or("null")).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Stream, step, new state, what undid it, delay in milliseconds, tries to count.
type Changed<'a> = (&'a str, &'a str, State, Option<uuid::Uuid>, i64, i32);

async fn store_effects<W: Work>(db: &mut PgConnection, unit: &Unit<W>) -> Result<(), sqlx::Error> {
    let new = &unit.new_effects;
    if !new.is_empty() {
        sqlx::query(
            "INSERT INTO effects (stream, step, cause, correlation_id, key, request, state, lease_until, traceparent)
             SELECT stream, step, cause, correlation_id, key, request::json, CASE WHEN claimed THEN 'calling' ELSE 'pending' END,
                    CASE WHEN claimed THEN clock_timestamp() + $8 * interval '1 millisecond' END, traceparent
             FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::boolean[], $9::text[])
                  WITH ORDINALITY AS e (stream, step, cause, correlation_id, key, request, claimed, traceparent, ord)
             ORDER BY ord
             ON CONFLICT (stream, step) DO NOTHING",
        )
        .bind(new.iter().map(|e| e.stream.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|e| e.step).collect::<Vec<_>>())
        .bind(new.iter().map(|e| e.cause.uuid()).collect::<Vec<_>>())
        .bind(new.iter().map(|e| e.correlation.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|e| e.key.uuid()).collect::<Vec<_>>())
        .bind(new.iter().map(|e| e.request.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|e| unit.claimed.iter().any(|claimed| claimed.is(e))).collect::<Vec<_>>())
        .bind(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
        .bind(new.iter().map(|e| e.trace.map(|trace| trace.to_string())).collect::<Vec<_>>())
        .execute(&mut *db)
        .await?;
    }
    if unit.effect_changes.is_empty() {
        return Ok(());
    }
    let parts: Vec<Changed<'_>> = unit
        .effect_changes
        .iter()
        .map(|change| match change {
            EffectChange::Drop { stream, step } => (stream.as_str(), step.as_str(), State::Dropped, None, 0, 0),
            EffectChange::Undo { stream, step, cause } => (stream.as_str(), step.as_str(), State::Calling, Some(cause.uuid()), 0, 0),
            EffectChange::Done { stream, step } => (stream.as_str(), step.as_str(), State::Done, None, 0, 0),
            EffectChange::Again { stream, step, delay_ms } => (stream.as_str(), step.as_str(), State::Unknown, None, *delay_ms, 1),
            EffectChange::Postpone { stream, step, delay_ms } => (stream.as_str(), step.as_str(), State::Unknown, None, *delay_ms, 0),
            EffectChange::Dead { effect, .. } => (effect.stream.as_str(), effect.step.as_str(), State::Dead, None, 0, 1),
        })
        .collect();
    sqlx::query(
        "UPDATE effects e
         SET state = c.state, undo_cause = coalesce(c.undo, e.undo_cause),
             attempt = e.attempt + c.tries,
             due_at = CASE WHEN c.state = 'unknown' THEN clock_timestamp() + c.delay_ms * interval '1 millisecond' ELSE e.due_at END
         FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bigint[], $6::int[]) AS c (stream, step, state, undo, delay_ms, tries)
         WHERE e.stream = c.stream AND e.step = c.step",
    )
    .bind(parts.iter().map(|p| p.0).collect::<Vec<_>>())
    .bind(parts.iter().map(|p| p.1).collect::<Vec<_>>())
    .bind(parts.iter().map(|p| p.2.as_str()).collect::<Vec<_>>())
    .bind(parts.iter().map(|p| p.3).collect::<Vec<_>>())
    .bind(parts.iter().map(|p| p.4).collect::<Vec<_>>())
    .bind(parts.iter().map(|p| p.5).collect::<Vec<_>>())
    .execute(&mut *db)
    .await?;
    Ok(())
}

async fn store_deadlines<W: Work>(db: &mut PgConnection, unit: &Unit<W>) -> Result<(), sqlx::Error> {
    if unit.deadlines.is_empty() {
        return Ok(());
    }
    let armed: Vec<(&str, &str, i64, Option<String>)> = unit
        .deadlines
        .iter()
        .filter_map(|(saga, armed)| {
            let (step, due, trace) = armed.as_ref()?;
            Some((saga.as_str(), step.as_str(), *due, trace.map(|trace| trace.to_string())))
        })
        .collect();
    let disarmed: Vec<&str> = unit.deadlines.iter().filter(|(_, armed)| armed.is_none()).map(|(saga, _)| saga.as_str()).collect();
    sqlx::query(
        "WITH gone AS (DELETE FROM deadlines WHERE saga = ANY($1))
         INSERT INTO deadlines (saga, step, due_at, traceparent)
         SELECT saga, step, to_timestamp(due / 1000000.0), traceparent
         FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[]) AS d (saga, step, due, traceparent) ORDER BY saga
         ON CONFLICT (saga) DO UPDATE SET step = excluded.step, due_at = excluded.due_at, traceparent = excluded.traceparent, created_at = clock_timestamp()",
    )
    .bind(disarmed)
    .bind(armed.iter().map(|a| a.0).collect::<Vec<_>>())
    .bind(armed.iter().map(|a| a.1).collect::<Vec<_>>())
    .bind(armed.iter().map(|a| a.2).collect::<Vec<_>>())
    .bind(armed.iter().map(|a| a.3.as_deref()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

async fn store_outbox<W: Work>(db: &mut PgConnection, unit: &Unit<W>) -> Result<(), sqlx::Error> {
    let (staged, posts) = (&unit.staged, &unit.posts);
    if staged.is_empty() && posts.is_empty() {
        return Ok(());
    }
    sqlx::query("SELECT outbox_append($1, $2, $3, $4, $5, $6)")
        .bind(staged.iter().map(|s| s.id.uuid()).chain(posts.iter().map(|p| p.id)).collect::<Vec<_>>())
        .bind(staged.iter().map(|s| s.topic).chain(posts.iter().map(|p| p.topic.as_str())).collect::<Vec<_>>())
        .bind(staged.iter().map(|s| s.partition).chain(posts.iter().map(|p| p.partition)).collect::<Vec<_>>())
        .bind(staged.iter().map(|s| s.key.as_bytes()).chain(posts.iter().map(|p| p.key.as_slice())).collect::<Vec<_>>())
        .bind(staged.iter().map(|s| s.headers.as_slice()).chain(posts.iter().map(|p| p.headers.as_slice())).collect::<Vec<_>>())
        .bind(staged.iter().map(|s| s.payload.as_slice()).chain(posts.iter().map(|p| p.payload.as_slice())).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(())
}

/// What a failed transaction means for the same work done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same work again, with back-off: connection, resource, serialization, shutdown, a concurrent append.
    Same,
    /// Some row of the work is at fault: halve it until the row is found.
    Halve,
    /// A defect: doing it again does not help.
    No,
}

/// Classifies by SQLSTATE and constraint name, never by text. Source: PROTOCOLS C3; `PostgreSQL` appendix A.
#[must_use]
pub fn retry_of(error: &sqlx::Error) -> Retry {
    let Some(database) = error.as_database_error() else { return Retry::Same };
    let code = database.code().unwrap_or_default();
    match code.get(..2).unwrap_or_default() {
        "08" | "25" | "40" | "53" | "55" | "57" | "58" => Retry::Same,
        "23" if code == "23505" && database.constraint().is_some_and(|name| name.ends_with("events_stream_version_key")) => Retry::Same,
        "22" | "23" => Retry::Halve,
        _ => Retry::No,
    }
}
