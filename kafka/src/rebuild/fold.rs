//! From the table of events to states and rows, one stream after the other: memory holds a few thousand events, however
//! many there are.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{Error, Source};
use crate::codec::Codec;
use crate::message::MessageId;
use crate::replay::{History, Recorded, Replay};
use crate::service::Service;
use crate::unit::{Micros, Work as _};

/// Events of one transaction, but for the rest of its last stream.
const EVENTS: usize = 5_000;

/// What one transaction writes.
struct Batch<S: Service> {
    work: S::Work,
    /// Stream, version, state.
    streams: Vec<(String, i64, String)>,
    deadlines: Vec<(String, String, Micros)>,
    events: usize,
}

impl<S: Service> Default for Batch<S> {
    fn default() -> Self {
        Self { work: S::Work::default(), streams: Vec::new(), deadlines: Vec::new(), events: 0 }
    }
}

/// Folds every stream, reading by `from` and writing by `to`. Answers the streams whose sagas await something.
pub(super) async fn streams<S: Service>(
    service: &S,
    source: &Source,
    codec: &Arc<Codec>,
    (from, to): (&mut PgConnection, &mut PgConnection),
) -> Result<Vec<String>, Error> {
    let mut awaiting = Vec::new();
    for kind in S::STREAMS {
        let mut batch = Batch::<S>::default();
        let mut rows = sqlx::query(
            "SELECT stream, version, type, causation_id, (extract(epoch FROM recorded_at) * 1000000)::bigint AS at, payload
             FROM events WHERE starts_with(stream, $1) ORDER BY stream, version",
        )
        .bind(*kind)
        .fetch(&mut *from);
        let (mut stream, mut events) = (String::new(), Vec::new());
        while let Some(row) = rows.try_next().await.map_err(Error::database("read events"))? {
            let (of, event) = recorded(codec, &row).await?;
            if of != stream {
                fold(service, codec, &stream, &events, &mut batch, &mut awaiting)?;
                events.clear();
                stream = of;
                if batch.events >= EVENTS {
                    write(to, source, std::mem::take(&mut batch)).await?;
                }
            }
            events.push(event);
        }
        fold(service, codec, &stream, &events, &mut batch, &mut awaiting)?;
        write(to, source, batch).await?;
    }
    Ok(awaiting)
}

async fn recorded(codec: &Codec, row: &PgRow) -> Result<(String, Recorded), Error> {
    let failed = || Error::database("read events");
    let stream: String = row.try_get("stream").map_err(failed())?;
    let record: String = row.try_get("type").map_err(failed())?;
    let version: i64 = row.try_get("version").map_err(failed())?;
    let payload: &[u8] = row.try_get("payload").map_err(failed())?;
    let (schema, datum) = Codec::split(Some(payload))?;
    let written = codec.full_name(schema).await?;
    if written != record {
        return Err(Error::broken(
            "history_unreadable",
            format!("stream {stream}, version {version}: a {written} that says it is a {record}"),
        ));
    }
    let event = Recorded {
        version,
        record,
        cause: MessageId::from(row.try_get::<Uuid, _>("causation_id").map_err(failed())?),
        at: row.try_get("at").map_err(failed())?,
        schema,
        datum,
    };
    Ok((stream, event))
}

fn fold<S: Service>(
    service: &S,
    codec: &Codec,
    stream: &str,
    events: &[Recorded],
    batch: &mut Batch<S>,
    awaiting: &mut Vec<String>,
) -> Result<(), Error> {
    let Some(last) = events.last() else { return Ok(()) };
    if let Some((due, event)) = (1..).zip(events).find(|(due, event)| event.version != *due) {
        return Err(Error::broken("events_missing", format!("stream {stream}: version {due} is not on the topics, {} is", event.version)));
    }
    let mut replay = Replay::new(&mut batch.work);
    service.replay(&History { stream, events, codec }, &mut replay)?;
    let Replay { state, deadline, awaits, .. } = replay;
    let state = state.ok_or_else(|| Error::broken("history_unreadable", format!("stream {stream} was folded to no state")))?;
    batch.streams.push((stream.to_owned(), last.version, state));
    batch.deadlines.extend(deadline.map(|(step, due)| (stream.to_owned(), step, due)));
    batch.events += events.len();
    if awaits {
        awaiting.push(stream.to_owned());
    }
    Ok(())
}

async fn write<S: Service>(db: &mut PgConnection, source: &Source, batch: Batch<S>) -> Result<(), Error> {
    use sqlx::Connection as _;
    if batch.streams.is_empty() {
        return Ok(());
    }
    let failed = || Error::database("write what was folded");
    let Batch { mut work, streams, deadlines, events } = batch;
    let mut tx = db.begin().await.map_err(failed())?;
    sqlx::query(
        "WITH armed AS (
             INSERT INTO deadlines (saga, step, due_at)
             SELECT saga, step, to_timestamp(due / 1000000.0) FROM unnest($4::text[], $5::text[], $6::bigint[]) AS d (saga, step, due))
         INSERT INTO streams (stream, version, state)
         SELECT stream, version, state::json FROM unnest($1::text[], $2::bigint[], $3::text[]) AS s (stream, version, state)",
    )
    .bind(streams.iter().map(|(stream, _, _)| stream.as_str()).collect::<Vec<_>>())
    .bind(streams.iter().map(|(_, version, _)| *version).collect::<Vec<_>>())
    .bind(streams.iter().map(|(_, _, state)| state.as_str()).collect::<Vec<_>>())
    .bind(deadlines.iter().map(|(saga, _, _)| saga.as_str()).collect::<Vec<_>>())
    .bind(deadlines.iter().map(|(_, step, _)| step.as_str()).collect::<Vec<_>>())
    .bind(deadlines.iter().map(|(_, _, due)| *due).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await
    .map_err(failed())?;
    work.store(&mut tx).await.map_err(failed())?;
    tx.commit().await.map_err(failed())?;
    source.progress.add(u64::try_from(events).unwrap_or_default());
    Ok(())
}
