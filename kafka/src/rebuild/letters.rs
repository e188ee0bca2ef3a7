//! Dead letters and what operators decided about them, from their topics: a letter that is still dead is dead again, one
//! that was sent back waits to be tried, one that was skipped is not handled when its topic is read again.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::log::Owned;
use super::{Error, Source};
use crate::consumer::{Fetched, TopicPartition};
use crate::message::{HeaderText, MessageId, header};
use crate::retry::{self, EFFECT_TOPIC, Policy, headers as name};
use crate::route::{Found, Routes};
use crate::unit::{Micros, Work};

/// A message by where it came from. Letters of effects come from nowhere that has offsets: their place is made of their cause.
pub(crate) type Place = (TopicPartition, i64);

/// What is left to be known of letters while topics are read again.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Messages that count as handled because a person said so.
    pub(super) ended: HashSet<Place>,
    /// Letters that are dead again, or wait to be tried again.
    pub(super) parked: usize,
}

/// The last record of a letter on the dead-letter topic.
struct Death {
    redrive_no: i32,
    record: Fetched,
}

/// A record of the decisions topic.
#[derive(Debug, Clone, Deserialize)]
struct Noted {
    message_id: Uuid,
    topic: String,
    partition: i32,
    offset: i64,
    redrive_no: i32,
    decision: String,
    bytes: Option<String>,
    who: String,
    why: String,
    at: jiff::Timestamp,
}

/// Where a letter stands after all that was published about it: a pure decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Dead,
    /// Sent back, so often by now.
    Again(i32),
    Skipped,
    Abandoned,
}

/// `death` is the `redrive_no` of its last death, `decided` the last decision and the `redrive_no` it was made at.
fn standing(death: Option<i32>, decided: Option<(&str, i32)>) -> Standing {
    match (death, decided) {
        (Some(death), Some((_, at))) if death > at => Standing::Dead,
        (_, Some(("skipped", _))) => Standing::Skipped,
        (_, Some(("abandoned", _))) => Standing::Abandoned,
        (_, Some((_, at))) => Standing::Again(at.saturating_add(1)),
        (Some(_) | None, None) => Standing::Dead,
    }
}

/// Reads both topics and writes what follows from them.
pub(super) async fn replay<W: Work>(db: &mut PgConnection, source: &Source, routes: &Routes<W>) -> Result<Letters, Error> {
    let decisions = decisions(source).await?;
    note(db, source.service, &decisions).await?;
    let mut last: HashMap<Place, &Noted> = HashMap::new();
    for noted in &decisions {
        let newest = last.entry(place_of(noted)).or_insert(noted);
        if noted.redrive_no >= newest.redrive_no {
            *newest = noted;
        }
    }
    let mut letters = Letters::default();
    let deaths = deaths(source).await?;
    // Numbers of letters are the order of their keys.
    let mut ordered: Vec<(&Place, &Death)> = deaths.iter().collect();
    ordered.sort_by_key(|(place, _)| *place);
    for (place, death) in ordered {
        let noted = last.get(place);
        match standing(Some(death.redrive_no), noted.map(|noted| (noted.decision.as_str(), noted.redrive_no))) {
            Standing::Dead => park(db, source, routes, place, death, None).await?,
            Standing::Again(redrive_no) => {
                let edited = noted.and_then(|noted| noted.bytes.as_deref()).map(hex::decode).transpose();
                let edited = edited.map_err(|error| Error::broken("history_unreadable", format!("bytes of a decision: {error}")))?;
                park(db, source, routes, place, death, Some((redrive_no, edited))).await?;
            }
            Standing::Skipped | Standing::Abandoned => continue,
        }
        letters.parked += 1;
    }
    for (place, noted) in &last {
        let death = deaths.get(place).map(|death| death.redrive_no);
        let outcome = match standing(death, Some((noted.decision.as_str(), noted.redrive_no))) {
            Standing::Skipped => "skipped",
            Standing::Abandoned => "abandoned",
            Standing::Dead | Standing::Again(_) => continue,
        };
        letters.ended.insert(place.clone());
        sqlx::query("INSERT INTO inbox (consumer_group, message_id, outcome) VALUES ($1, $2, $3) ON CONFLICT (consumer_group, message_id) DO NOTHING")
            .bind(source.service)
            .bind(noted.message_id)
            .bind(outcome)
            .execute(&mut *db)
            .await
            .map_err(Error::database("write what was decided about letters"))?;
    }
    Ok(letters)
}

async fn decisions(source: &Source) -> Result<Vec<Noted>, Error> {
    let topic = retry::decisions_topic(source.service);
    let mut decisions: Vec<Noted> = Vec::new();
    let owned = Owned { source, topic: &topic, partitions: source.partitions_of(&topic)? };
    owned
        .each(async |records| {
            for record in records {
                let noted = serde_json::from_slice(record.value.as_deref().unwrap_or_default()).map_err(|error| {
                    Error::broken("history_unreadable", format!("decision at offset {} of {}: {error}", record.offset, record.at))
                })?;
                decisions.push(noted);
            }
            Ok(())
        })
        .await?;
    Ok(decisions)
}

async fn note(db: &mut PgConnection, group: &str, decisions: &[Noted]) -> Result<(), Error> {
    for noted in decisions {
        let bytes = noted.bytes.as_deref().map(hex::decode).transpose();
        let bytes = bytes.map_err(|error| Error::broken("history_unreadable", format!("bytes of a decision: {error}")))?;
        sqlx::query(
            "INSERT INTO decisions (consumer_group, message_id, topic, partition, record_offset, redrive_no, decision, value, who, why, at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, to_timestamp($11 / 1000000.0))
             ON CONFLICT (consumer_group, topic, partition, record_offset, redrive_no) DO NOTHING",
        )
        .bind(group)
        .bind(noted.message_id)
        .bind(&noted.topic)
        .bind(noted.partition)
        .bind(place_of(noted).1)
        .bind(noted.redrive_no)
        .bind(&noted.decision)
        .bind(bytes)
        .bind(&noted.who)
        .bind(&noted.why)
        .bind(noted.at.as_microsecond())
        .execute(&mut *db)
        .await
        .map_err(Error::database("write what was decided about letters"))?;
    }
    Ok(())
}

/// A letter of an effect was numbered by a table that is gone; its cause tells it from the others of its step. Below zero, where
/// no effect that is given up from now on is.
fn effect_offset(cause: Uuid) -> i64 {
    let (high, _) = cause.as_u64_pair();
    -1 - i64::try_from(high >> 1).unwrap_or_default()
}

fn place_of(noted: &Noted) -> Place {
    let at = TopicPartition { topic: noted.topic.clone(), partition: noted.partition };
    (at, if noted.topic.starts_with(EFFECT_TOPIC) { effect_offset(noted.message_id) } else { noted.offset })
}

async fn deaths(source: &Source) -> Result<HashMap<Place, Death>, Error> {
    let topic = retry::dlq_topic(source.service);
    let mut deaths: HashMap<Place, Death> = HashMap::new();
    let owned = Owned { source, topic: &topic, partitions: source.partitions_of(&topic)? };
    owned
        .each(async |records| {
            for record in records {
                let (place, redrive_no) = origin(&record).ok_or_else(|| {
                    Error::broken("history_unreadable", format!("{} at offset {} is no dead letter", record.at, record.offset))
                })?;
                if deaths.get(&place).is_none_or(|death| death.redrive_no <= redrive_no) {
                    deaths.insert(place, Death { redrive_no, record });
                }
            }
            Ok(())
        })
        .await?;
    Ok(deaths)
}

fn text<'a>(record: &'a Fetched, wanted: &str) -> Option<&'a str> {
    HeaderText::parse(&record.headers).find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// Where a dead letter came from, and how often it had been sent back.
fn origin(record: &Fetched) -> Option<(Place, i32)> {
    let topic = text(record, name::ORIG_TOPIC)?.to_owned();
    let redrive_no = text(record, name::REDRIVE_NO)?.parse().ok()?;
    if topic.starts_with(EFFECT_TOPIC) {
        let cause = text(record, name::ORIG_ID)?.parse().ok()?;
        return Some(((TopicPartition { topic, partition: 0 }, effect_offset(cause)), redrive_no));
    }
    let partition = text(record, name::ORIG_PARTITION)?.parse().ok()?;
    Some(((TopicPartition { topic, partition }, text(record, name::ORIG_OFFSET)?.parse().ok()?), redrive_no))
}

/// The headers the message came with, as far as its letter still tells; they are put right when its topic is read again.
fn original(record: &Fetched) -> Vec<u8> {
    let mut headers = HeaderText::default();
    for (name, value) in HeaderText::parse(&record.headers) {
        let relays = [header::CE_SOURCE, header::CE_SPECVERSION, header::SRC, header::SEQ, header::PREV].contains(&name);
        if !relays && !name::ALL.contains(&name) && name != header::CE_ID {
            headers.push(name, value);
        }
    }
    for (header, kept) in [(header::CE_ID, name::ORIG_ID), (header::SRC, name::ORIG_SRC), (header::SEQ, name::ORIG_SEQ)] {
        if let Some(value) = text(record, kept) {
            headers.push(header, value);
        }
    }
    headers.into_bytes()
}

/// Lets the heads be tried: from here on it is known which of them were handled before the database was lost.
pub(super) async fn release(db: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("UPDATE parked SET due_at = clock_timestamp() WHERE state = 'head' AND due_at > clock_timestamp() + interval '1 month'")
        .execute(db)
        .await
        .map(drop)
        .map_err(Error::database("let parked messages be tried"))
}

/// Parks one letter: dead, or a head when it was sent back, so often and perhaps with other bytes. A head is not due before its own topic
/// was read again, which tells whether it was handled ([`release`]).
async fn park<W: Work>(
    db: &mut PgConnection,
    source: &Source,
    routes: &Routes<W>,
    (at, offset): &Place,
    death: &Death,
    again: Option<(i32, Option<Vec<u8>>)>,
) -> Result<(), Error> {
    let record = &death.record;
    let is_effect = at.topic.starts_with(EFFECT_TOPIC);
    let named = text(record, header::CE_TYPE).filter(|_| !is_effect);
    let route = named.and_then(|named| match routes.find(&at.topic, named) {
        Found::Route(route) => Some(route),
        Found::Ignored | Found::Unknown => None,
    });
    let policy = if text(record, name::POLICY) == Some(Policy::Release.as_str()) { Policy::Release } else { Policy::Hold };
    let attempt: i32 = text(record, name::ATTEMPT).and_then(|attempt| attempt.parse().ok()).unwrap_or(1);
    // A compensation that failed for a while stood beside its key's queue; one that was given up at once stands in it.
    let alone = policy == Policy::Release || (attempt > 1 && route.is_some_and(|route| !route.compensates.is_empty()));
    let step = if is_effect { text(record, name::EFFECT_STEP) } else { route.and_then(|route| route.performs) };
    let (state, redrive_no, edited) = match again {
        None => ("dead", death.redrive_no, None),
        Some((redrive_no, edited)) => ("head", redrive_no, edited),
    };
    let value = edited.or_else(|| record.value.clone().filter(|_| text(record, name::ORIG_VALUE) != Some("null")));
    let instant = |wanted| text(record, wanted).and_then(|at| at.parse::<jiff::Timestamp>().ok()).map(jiff::Timestamp::as_microsecond);
    let (first, last): (Option<Micros>, Option<Micros>) = (instant(name::FIRST_FAILURE_AT), instant(name::LAST_FAILURE_AT));
    let id: Uuid = text(record, name::ORIG_ID)
        .and_then(|id| id.parse().ok())
        .unwrap_or_else(|| MessageId::of_place(&at.topic, at.partition, *offset).uuid());
    let failed = || Error::database("write dead letters");
    sqlx::query(
        "INSERT INTO parked (consumer_group, topic, partition, record_offset, key, message_id, record, step, correlation_id, value, headers,
                             recorded_at_ms, policy, state, alone, attempt, redrive_no, due_at, first_failure_at, last_failure_at,
                             error_class, error_code, error, fingerprint)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, CASE WHEN $14 = 'head' THEN clock_timestamp() + interval '1 year' END,
                 to_timestamp($18 / 1000000.0), to_timestamp($19 / 1000000.0), $20, $21, $22, $23)",
    )
    .bind(source.service)
    .bind(&at.topic)
    .bind(at.partition)
    .bind(offset)
    .bind(&record.key)
    .bind(id)
    .bind(route.map(|route| route.record))
    .bind(step)
    .bind(&record.correlation)
    .bind(value)
    .bind(if is_effect { record.headers.clone() } else { original(record) })
    .bind(text(record, name::ORIG_TIMESTAMP).and_then(|at| at.parse::<i64>().ok()).unwrap_or(record.recorded_at_ms))
    .bind(policy.as_str())
    .bind(state)
    .bind(alone)
    .bind(if state == "head" { 0 } else { attempt })
    .bind(redrive_no)
    .bind(first.or(last))
    .bind(last)
    .bind(text(record, name::ERROR_CLASS))
    .bind(text(record, name::ERROR_CODE))
    .bind(text(record, name::ERROR))
    .bind(text(record, name::FINGERPRINT))
    .execute(&mut *db)
    .await
    .map_err(failed())?;
    if !alone {
        sqlx::query(
            "INSERT INTO blocked_key (consumer_group, topic, key, partition) VALUES ($1, $2, $3, $4)
             ON CONFLICT (consumer_group, topic, key) DO NOTHING",
        )
        .bind(source.service)
        .bind(&at.topic)
        .bind(&record.key)
        .bind(at.partition)
        .execute(db)
        .await
        .map_err(failed())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_a_letter_counts() {
        assert_eq!(standing(Some(0), None), Standing::Dead);
        assert_eq!(standing(Some(0), Some(("redriven", 0))), Standing::Again(1));
        assert_eq!(standing(Some(1), Some(("redriven", 0))), Standing::Dead);
        assert_eq!(standing(Some(0), Some(("skipped", 0))), Standing::Skipped);
        // sent back, and skipped before it died again
        assert_eq!(standing(Some(0), Some(("skipped", 1))), Standing::Skipped);
        // skipped while it waited for its next try: it never died
        assert_eq!(standing(None, Some(("abandoned", 0))), Standing::Abandoned);
        assert_eq!(standing(Some(2), Some(("edited", 2))), Standing::Again(3));
    }
}
