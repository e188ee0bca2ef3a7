//! The story of an order: the events of its own stream and of its saga's, as one sequence.

use std::collections::HashMap;

use contract::OrderEvent;
use kafka::codec::Codec;
use kafka::seal::Sealed;
use kafka::{Failure, Micros};
use schemas::orders;
use schemas::record::Record;
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use values::OrderId;

use super::instant;
use crate::steer::{order_stream, saga_stream};

/// Why a story cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The database does not answer.
    #[error("read the events of an order")]
    Database(#[from] sqlx::Error),
    /// A stored event does not decode.
    #[error("read the events of an order")]
    Event(#[from] Failure),
}

/// One stored event, before it has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    cause: Uuid,
    event: OrderEvent,
}

/// Everything that happened to the order, counted from 1 without gaps. What is added later is added at the end.
///
/// # Errors
/// [`Unreadable`].
pub async fn order_events(db: &mut PgConnection, codec: &Codec, id: OrderId) -> Result<Vec<OrderEvent>, Unreadable> {
    let order_stream = order_stream(id);
    let rows = sqlx::query("SELECT stream, causation_id, payload FROM events WHERE stream = ANY($1) ORDER BY stream, version")
        .bind(vec![order_stream.clone(), saga_stream(id)])
        .fetch_all(db)
        .await?;
    let (mut order, mut saga) = (Vec::new(), Vec::new());
    for row in &rows {
        let event = read(codec, row.try_get("payload")?).await?;
        let told = Told { cause: row.try_get("causation_id")?, event };
        let stream: &str = row.try_get("stream")?;
        if stream == order_stream { order.push(told) } else { saga.push(told) }
    }
    Ok(merge(saga, order))
}

/// What the order's first event says of a person, sealed; none when it says nothing, or there is no such order.
///
/// # Errors
/// [`Unreadable`].
pub async fn sealed_contact(db: &mut PgConnection, codec: &Codec, id: OrderId) -> Result<Option<Sealed>, Unreadable> {
    let found =
        sqlx::query("SELECT payload FROM events WHERE stream = $1 AND version = 1").bind(order_stream(id)).fetch_optional(db).await?;
    let Some(row) = found else { return Ok(None) };
    let (schema, datum) = Codec::split(Some(row.try_get("payload")?))?;
    codec.full_name(schema).await?; // has the schema fetched
    let placed: orders::OrderPlaced = codec.decode(schema, &datum)?;
    Ok(placed.contact.map(|sealed| Sealed { key_id: sealed.key_id, nonce: sealed.nonce, bytes: sealed.bytes }))
}

/// Every event of an order was decided together with events of its saga and has their cause: it stands behind them. Both streams only
/// grow, and what is decided together becomes visible together, so a place, once told, never changes.
fn merge(saga: Vec<Told>, order: Vec<Told>) -> Vec<OrderEvent> {
    let mut decided: HashMap<Uuid, Vec<OrderEvent>> = HashMap::new();
    for told in order {
        decided.entry(told.cause).or_default().push(told.event);
    }
    let mut story = Vec::new();
    let mut saga = saga.into_iter().peekable();
    while let Some(Told { cause, event }) = saga.next() {
        story.push(event);
        if saga.peek().is_none_or(|next| next.cause != cause) {
            story.extend(decided.remove(&cause).unwrap_or_default());
        }
    }
    for (sequence, event) in (1..).zip(&mut story) {
        event.sequence = sequence;
    }
    story
}

async fn read(codec: &Codec, payload: &[u8]) -> Result<OrderEvent, Unreadable> {
    let (id, datum) = Codec::split(Some(payload))?;
    let name = codec.full_name(id).await?;
    let told = match name.as_str() {
        orders::OrderPlaced::FULL_NAME => {
            let placed: orders::OrderPlaced = codec.decode(id, &datum)?;
            plain("OrderPlaced", placed.placed_at)?
        }
        orders::OrderConfirmed::FULL_NAME => {
            let confirmed: orders::OrderConfirmed = codec.decode(id, &datum)?;
            plain("OrderConfirmed", confirmed.confirmed_at)?
        }
        orders::OrderCancelled::FULL_NAME => {
            let cancelled: orders::OrderCancelled = codec.decode(id, &datum)?;
            OrderEvent { reason: Some(cancelled.reason), ..plain("OrderCancelled", cancelled.cancelled_at)? }
        }
        orders::SagaStarted::FULL_NAME => {
            let started: orders::SagaStarted = codec.decode(id, &datum)?;
            OrderEvent { step: Some(started.step), ..plain("SagaStarted", started.started_at)? }
        }
        orders::SagaStepRecorded::FULL_NAME => {
            let step: orders::SagaStepRecorded = codec.decode(id, &datum)?;
            OrderEvent {
                step: Some(step.step),
                state: Some(step.state),
                reason: step.reason,
                ..plain("SagaStepRecorded", step.recorded_at)?
            }
        }
        orders::SagaEnded::FULL_NAME => {
            let ended: orders::SagaEnded = codec.decode(id, &datum)?;
            OrderEvent { state: Some(ended.outcome), ..plain("SagaEnded", ended.ended_at)? }
        }
        other => return Err(Failure::permanent("wrong_record_type", format!("{other} in the streams of an order")).into()),
    };
    Ok(told)
}

fn plain(kind: &str, at: Micros) -> Result<OrderEvent, sqlx::Error> {
    Ok(OrderEvent { sequence: 0, kind: kind.to_owned(), at: instant(at)?, step: None, state: None, reason: None })
}

/// The versions of these orders' sagas, of those that have one. A saga moves with everything that happens to its order.
///
/// # Errors
/// The database does not answer.
pub async fn saga_versions(db: &mut PgConnection, ids: &[OrderId]) -> Result<HashMap<OrderId, i64>, sqlx::Error> {
    let streams: HashMap<String, OrderId> = ids.iter().map(|id| (saga_stream(*id), *id)).collect();
    let rows = sqlx::query("SELECT stream, version FROM streams WHERE stream = ANY($1)")
        .bind(streams.keys().cloned().collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    let mut versions = HashMap::with_capacity(rows.len());
    for row in rows {
        let (stream, version): (String, i64) = (row.try_get("stream")?, row.try_get("version")?);
        if let Some(id) = streams.get(&stream) {
            versions.insert(*id, version);
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cause: u128, kind: &str) -> Told {
        Told { cause: Uuid::from_u128(cause), event: plain(kind, 0).unwrap() }
    }

    #[test]
    fn an_orders_events_stand_behind_those_they_were_decided_with_and_keep_their_places() {
        let saga = [told(1, "started"), told(2, "held"), told(2, "capture"), told(3, "captured"), told(3, "commit"), told(4, "ended")];
        let order = [told(1, "placed"), told(3, "confirmed")];
        let names = |story: &[OrderEvent]| story.iter().map(|event| format!("{} {}", event.sequence, event.kind)).collect::<Vec<_>>();
        let whole = names(&merge(saga.to_vec(), order.to_vec()));
        let expected = ["1 started", "2 placed", "3 held", "4 capture", "5 captured", "6 commit", "7 confirmed", "8 ended"];
        assert_eq!(whole, expected);
        // As it was told after each decision: always a beginning of the whole.
        for (saga_events, order_events) in [(1, 1), (3, 1), (5, 2), (6, 2)] {
            let part = names(&merge(saga[..saga_events].to_vec(), order[..order_events].to_vec()));
            assert_eq!(part, expected[..part.len()]);
        }
    }
}
