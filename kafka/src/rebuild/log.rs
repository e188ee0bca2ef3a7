//! From the service's own topics into the table of events, as they are: not one is decoded.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, Source, read};
use crate::consumer::Fetched;
use crate::consumer::chain::{self, Last, Verdict};
use crate::message::{HeaderText, header};
use crate::unit::Micros;

/// What was found on the service's own topics besides events.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) events: u64,
    /// Topics with commands on them.
    pub(super) commands_on: BTreeSet<String>,
    /// Incarnations whose records are there, with the time of the first.
    pub(super) incarnations: BTreeMap<Uuid, i64>,
}

/// Reads one own topic and passes on what its owner wrote, each record once; a record that is missing ends it.
pub(super) struct Owned<'a> {
    pub(super) source: &'a Source,
    pub(super) topic: &'a str,
    pub(super) partitions: i32,
}

impl Owned<'_> {
    /// Hands the records to `take`, piece by piece.
    pub(super) async fn each(self, mut take: impl AsyncFnMut(Vec<Fetched>) -> Result<(), Error>) -> Result<(), Error> {
        let mut pieces = read::whole(&self.source.client, self.topic, self.partitions);
        let mut last: BTreeMap<i32, Last> = BTreeMap::new();
        while let Some(piece) = pieces.recv().await {
            let mut ours = Vec::new();
            for record in piece? {
                let last = last.entry(record.at.partition).or_default();
                match chain::judge(self.source.service, last, record.link.as_ref(), record.offset) {
                    Verdict::Next => {
                        if let Some(link) = &record.link {
                            last.insert(link.src.clone(), link.seq);
                        }
                        ours.push(record);
                    }
                    Verdict::Repeat => {}
                    // Whoever wrote it, it is not what happened here.
                    Verdict::Foreign => tracing::warn!(partition = %record.at, offset = record.offset, "a foreign record is left out"),
                    Verdict::Gap => {
                        let what = format!("{} at offset {}: the record before it is missing", record.at, record.offset);
                        return Err(Error::broken("chain_gap", what));
                    }
                }
            }
            take(ours).await?;
        }
        Ok(())
    }
}

/// Reads own topic `topic`: events into the table, everything else into `found`.
pub(super) async fn replay(db: &mut PgConnection, source: &Source, topic: &str, found: &mut Found) -> Result<(), Error> {
    let partitions = source.partitions_of(topic)?;
    let owned = Owned { source, topic, partitions };
    let progress = source.progress.clone();
    owned
        .each(async |records| {
            let count = u64::try_from(records.len()).unwrap_or_default();
            let mut events = Vec::with_capacity(records.len());
            for record in records {
                if let Some(incarnation) = record.link.as_ref().and_then(|link| link.src.split_once('/')?.1.parse::<Uuid>().ok()) {
                    let since = found.incarnations.entry(incarnation).or_insert(record.recorded_at_ms);
                    *since = (*since).min(record.recorded_at_ms);
                }
                match Event::of(&record)? {
                    Some(event) => events.push((event, record)),
                    None => {
                        found.commands_on.insert(topic.to_owned());
                    }
                }
            }
            store(db, topic, &events).await?;
            found.events += u64::try_from(events.len()).unwrap_or_default();
            progress.add(count);
            Ok(())
        })
        .await
}

/// What the headers of an event say.
struct Event {
    id: Uuid,
    record: String,
    cause: Uuid,
    stream: String,
    version: i64,
    at: Micros,
}

impl Event {
    /// `None`: the record has no version, it is a command.
    fn of(record: &Fetched) -> Result<Option<Self>, Error> {
        let (mut version, mut name, mut cause, mut stream, mut at) = (None, None, None, None, None);
        for (header, value) in HeaderText::parse(&record.headers) {
            match header {
                header::STREAM_VERSION => version = value.parse::<i64>().ok(),
                header::CE_TYPE => name = Some(value.to_owned()),
                header::CAUSATION_ID => cause = value.parse::<Uuid>().ok(),
                header::STREAM => stream = Some(value.to_owned()),
                header::CE_TIME => at = value.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond),
                _ => {}
            }
        }
        let Some(version) = version else { return Ok(None) };
        match (record.id, name, cause, stream, at) {
            (Some(id), Some(record), Some(cause), Some(stream), Some(at)) => {
                Ok(Some(Self { id: id.uuid(), record, cause, stream, version, at }))
            }
            _ => Err(Error::broken(
                "history_unreadable",
                format!("{} at offset {}: headers of an event are missing", record.at, record.offset),
            )),
        }
    }
}

async fn store(db: &mut PgConnection, topic: &str, events: &[(Event, Fetched)]) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let failed = || Error::database("write events");
    let stored = sqlx::query(
        "INSERT INTO events (stream, version, event_id, type, topic, causation_id, correlation_id, payload, recorded_at)
         SELECT stream, version, id, type, $1, cause, correlation, payload, 'epoch'::timestamptz + at * interval '1 microsecond'
         FROM unnest($2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::bytea[], $9::bigint[])
              AS e (stream, version, id, type, cause, correlation, payload, at)
         ON CONFLICT (stream, version) DO NOTHING",
    )
    .bind(topic)
    .bind(events.iter().map(|(event, _)| event.stream.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|(event, _)| event.version).collect::<Vec<_>>())
    .bind(events.iter().map(|(event, _)| event.id).collect::<Vec<_>>())
    .bind(events.iter().map(|(event, _)| event.record.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|(event, _)| event.cause).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, record)| record.correlation.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, record)| record.value.as_deref().unwrap_or_default()).collect::<Vec<_>>())
    .bind(events.iter().map(|(event, _)| event.at).collect::<Vec<_>>())
    .execute(&mut *db)
    .await
    .map_err(failed())?;
    if usize::try_from(stored.rows_affected()) == Ok(events.len()) {
        return Ok(());
    }
    // An event that is published twice under one id is one event; two of one version are two histories.
    let forked: Option<String> = sqlx::query_scalar(
        "SELECT format('%s at version %s', n.stream, n.version) FROM unnest($1::text[], $2::bigint[], $3::uuid[]) AS n (stream, version, id)
         JOIN events e ON e.stream = n.stream AND e.version = n.version WHERE e.event_id <> n.id LIMIT 1",
    )
    .bind(events.iter().map(|(event, _)| event.stream.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|(event, _)| event.version).collect::<Vec<_>>())
    .bind(events.iter().map(|(event, _)| event.id).collect::<Vec<_>>())
    .fetch_optional(db)
    .await
    .map_err(failed())?;
    match forked {
        None => Ok(()),
        Some(at) => Err(Error::broken("history_forked", format!("two different events of stream {at} are on {topic}"))),
    }
}

/// Which of `wanted` are not among the commands on `topics`.
pub(super) async fn unsent(source: &Source, topics: &BTreeSet<String>, mut wanted: HashSet<Uuid>) -> Result<HashSet<Uuid>, Error> {
    for topic in topics {
        if wanted.is_empty() {
            break;
        }
        let owned = Owned { source, topic, partitions: source.partitions_of(topic)? };
        owned
            .each(async |records| {
                for id in records.iter().filter_map(|record| record.id) {
                    wanted.remove(&id.uuid());
                }
                Ok(())
            })
            .await?;
    }
    Ok(wanted)
}

/// Notes the incarnations whose records are on the topics, `own` left out: it is there already.
pub(super) async fn note_incarnations(db: &mut PgConnection, found: &Found) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO incarnations (incarnation, since, because)
         SELECT incarnation, to_timestamp(since / 1000.0), 'found on the topics' FROM unnest($1::uuid[], $2::bigint[]) AS i (incarnation, since)
         ON CONFLICT (incarnation) DO NOTHING",
    )
    .bind(found.incarnations.keys().copied().collect::<Vec<_>>())
    .bind(found.incarnations.values().copied().collect::<Vec<_>>())
    .execute(db)
    .await
    .map(drop)
    .map_err(Error::database("note whose records are on the topics"))
}
