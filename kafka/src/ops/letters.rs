//! Dead letters and what waits to be tried again: lists, one letter, decisions.

use actix_web::web::{self, Bytes, Data, Path, ReqData, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use operation::{DECIDE_MAX, Decide, Edit};
use serde::de::DeserializeOwned;

use super::admission::Bearer;
use super::desk::{Desk, Slot, answer, instant, signed};
use super::problem::Refusal;
use super::query::{FILTER, Wanted};
use crate::codec::{Codec, EditError};
use crate::message::MessageId;
use crate::retry::{self, Filter, Letter, Operator, State, Target, look};

/// Bytes of an undecodable letter that are shown.
const HEX_MAX: usize = 4_096;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .route("/ops/dlq/groups", web::get().to(groups))
        .route("/ops/dlq/letters", web::get().to(dead))
        .route("/ops/dlq/redrive", web::post().to(redrive))
        .route("/ops/dlq/skip", web::post().to(skip))
        .route("/ops/dlq/abandon", web::post().to(abandon))
        .route("/ops/letters/{id}", web::get().to(show))
        .route("/ops/letters/{id}/edit", web::post().to(edit))
        .route("/ops/retry/waiting", web::get().to(waiting))
        .route("/ops/retry/effects", web::get().to(effects));
}

/// A body of JSON, whatever its content type says: operators use curl.
pub(super) fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::body(error.to_string()))
}

fn filter(wanted: &Wanted) -> Result<Filter, Refusal> {
    let id = wanted.filter.message_id.as_deref().map(str::parse::<uuid::Uuid>).transpose();
    let asked = &wanted.filter;
    Ok(Filter {
        topic: asked.topic.clone(),
        record: asked.record.clone(),
        key: asked.key.as_ref().map(operation::Key::bytes),
        correlation: asked.correlation.clone(),
        before: asked.before.map(jiff::Timestamp::as_microsecond),
        message_id: id.map_err(|error| Refusal::query(format!("message_id: {error}")))?.map(MessageId::from),
        class: asked.class.clone(),
        code: asked.code.clone(),
        fingerprint: asked.fingerprint.clone(),
        after: wanted.number()?,
        ..Filter::default()
    })
}

async fn groups(slot: Data<Slot>, request: HttpRequest) -> HttpResponse {
    answer(&slot, |desk| {
        let filter = filter(&Wanted::read(request.query_string(), FILTER)?)?;
        Ok(async move {
            let mut db = desk.units.pool().acquire().await?;
            let now = instant(look::now(&mut db).await?);
            let found = retry::groups(&mut db, desk.service, &filter).await?;
            let data = found.into_iter().map(group).collect();
            Ok(operation::Groups { group: desk.service.to_owned(), now, data })
        })
    })
    .await
}

fn group(group: retry::Group) -> operation::Group {
    operation::Group {
        topic: group.topic,
        record: group.record,
        class: group.class,
        code: group.code,
        fingerprint: group.fingerprint,
        error: group.error,
        letters: count(group.count),
        keys: count(group.keys),
        waiting: count(group.followers),
        oldest_at: instant(group.oldest),
        newest_at: instant(group.newest),
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

async fn dead(slot: Data<Slot>, request: HttpRequest) -> HttpResponse {
    answer(&slot, |desk| {
        let wanted = Wanted::read(request.query_string(), &[FILTER, &["after", "limit"]].concat())?;
        let filter = Filter { state: Some(State::Dead), ..filter(&wanted)? };
        Ok(page(desk, filter, wanted.limit))
    })
    .await
}

async fn waiting(slot: Data<Slot>, request: HttpRequest) -> HttpResponse {
    answer(&slot, |desk| {
        let wanted = Wanted::read(request.query_string(), &[FILTER, &["state", "after", "limit"]].concat())?;
        let state = match wanted.state.as_deref() {
            None => None,
            Some("head") => Some(State::Head),
            Some("follower") => Some(State::Follower),
            Some(other) => return Err(Refusal::query(format!("state {other} is neither head nor follower"))),
        };
        let filter = Filter { state, not_dead: true, ..filter(&wanted)? };
        Ok(page(desk, filter, wanted.limit))
    })
    .await
}

async fn page(desk: Desk, filter: Filter, limit: u32) -> Result<operation::Letters, Refusal> {
    let mut db = desk.units.pool().acquire().await?;
    let now = instant(look::now(&mut db).await?);
    // One more than the page tells whether there is a next one.
    let mut letters = retry::list(&mut db, desk.service, &filter, i64::from(limit).saturating_add(1)).await?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = letters.len() > size;
    letters.truncate(size);
    let next = letters.last().filter(|_| more).map(|letter| letter.pos);
    Ok(operation::Letters { group: desk.service.to_owned(), now, data: letters.iter().map(summary).collect(), next })
}

/// A letter without its bytes.
pub(super) fn summary(letter: &Letter) -> operation::Letter {
    operation::Letter {
        id: letter.pos,
        topic: letter.topic.clone(),
        partition: letter.partition,
        offset: letter.offset,
        key: operation::Key::of(&letter.key),
        message_id: letter.message_id.to_string(),
        record: letter.record.clone(),
        step: letter.step.clone(),
        correlation: letter.correlation.clone(),
        state: letter.state.as_str().to_owned(),
        policy: letter.policy.as_str().to_owned(),
        attempt: letter.attempt,
        redrive_no: letter.redrive_no,
        due_at: letter.due_at.filter(|_| letter.state == State::Head).map(instant),
        first_failure_at: letter.first_failure_at.map(instant),
        last_failure_at: letter.last_failure_at.map(instant),
        class: letter.class.clone(),
        code: letter.code.clone(),
        error: letter.error.clone(),
        fingerprint: letter.fingerprint.clone(),
    }
}

async fn show(slot: Data<Slot>, id: Path<String>) -> HttpResponse {
    answer(&slot, |desk| {
        let id = number(&id)?;
        Ok(async move {
            let mut db = desk.units.pool().acquire().await?;
            let letter = retry::show(&mut db, desk.service, id).await?.ok_or_else(|| Refusal::no_letter(id))?;
            let waiting = count(look::waiting_behind(&mut db, desk.service, &letter).await?);
            let noted = look::decisions_of(&mut db, desk.service, &letter).await?;
            drop(db);
            let decision = |noted: look::Noted| operation::Decision {
                at: instant(noted.at),
                redrive_no: noted.redrive_no,
                decision: noted.decision,
                who: noted.who,
                why: noted.why,
            };
            let header = |(name, value): (&str, &str)| operation::Header { name: name.to_owned(), value: value.to_owned() };
            Ok(operation::LetterDetail {
                group: desk.service.to_owned(),
                letter: summary(&letter),
                waiting,
                headers: letter.header_pairs().map(header).collect(),
                body: body(desk.units.codec(), &letter).await,
                decisions: noted.into_iter().map(decision).collect(),
            })
        })
    })
    .await
}

fn number(id: &str) -> Result<i64, Refusal> {
    id.parse().map_err(|_no_number: std::num::ParseIntError| Refusal::nothing_here())
}

/// The letter's bytes as a person can read them; whatever they are, they are shown.
async fn body(codec: &Codec, letter: &Letter) -> operation::Body {
    let Some(value) = &letter.value else { return operation::Body::Null };
    let undecodable = |reason: String| operation::Body::Undecodable {
        hex: hex::encode(value.get(..HEX_MAX).unwrap_or(value)),
        bytes: u64::try_from(value.len()).unwrap_or(u64::MAX),
        reason,
    };
    if letter.topic.starts_with(retry::EFFECT_TOPIC) {
        return match serde_json::from_slice(value) {
            Ok(json) => operation::Body::Request { json },
            Err(error) => undecodable(error.to_string()),
        };
    }
    match codec.show(Some(value)).await {
        Ok((schema_id, record, json)) => operation::Body::Decoded { schema_id, record, json },
        Err(failure) => undecodable(format!("{}: {failure}", failure.code)),
    }
}

#[derive(Debug, Clone, Copy)]
enum Bulk {
    Redrive,
    Skip,
    Abandon,
}

async fn redrive(slot: Data<Slot>, bearer: ReqData<Bearer>, body: Bytes) -> HttpResponse {
    decide(&slot, &bearer, &body, Bulk::Redrive).await
}

async fn skip(slot: Data<Slot>, bearer: ReqData<Bearer>, body: Bytes) -> HttpResponse {
    decide(&slot, &bearer, &body, Bulk::Skip).await
}

async fn abandon(slot: Data<Slot>, bearer: ReqData<Bearer>, body: Bytes) -> HttpResponse {
    decide(&slot, &bearer, &body, Bulk::Abandon).await
}

async fn decide(slot: &Slot, bearer: &Bearer, body: &Bytes, bulk: Bulk) -> HttpResponse {
    answer(slot, |desk| {
        let asked: Decide = json(body)?;
        let who = signed(bearer, &asked.who, &asked.why)?;
        if asked.letters.is_empty() || asked.letters.len() > DECIDE_MAX {
            return Err(Refusal::body(format!("letters has 1 to {DECIDE_MAX} entries")));
        }
        Ok(async move {
            let by = Operator { who, why: asked.why };
            let targets: Vec<Target> =
                asked.letters.iter().map(|target| Target { pos: target.id, redrive_no: target.redrive_no }).collect();
            let decided = match (asked.execute, bulk) {
                (false, bulk) => {
                    let decision = match bulk {
                        Bulk::Redrive => retry::Decision::Redriven,
                        Bulk::Skip => retry::Decision::Skipped,
                        Bulk::Abandon => retry::Decision::Abandoned,
                    };
                    look::foresee(&mut *desk.units.pool().acquire().await?, desk.service, &targets, &decision).await?
                }
                (true, Bulk::Redrive) => retry::redrive(&desk.units, &targets, &by).await.map_err(refused)?,
                (true, Bulk::Skip) => retry::skip(&desk.units, &targets, &by).await.map_err(refused)?,
                (true, Bulk::Abandon) => retry::abandon(&desk.units, &targets, &by).await.map_err(refused)?,
            };
            let result =
                |(target, decided): (&Target, &retry::Decided)| operation::Outcome { id: target.pos, outcome: decided.as_str().to_owned() };
            Ok(operation::Decided { executed: asked.execute, results: targets.iter().zip(&decided).map(result).collect() })
        })
    })
    .await
}

fn refused(error: retry::Error) -> Refusal {
    match error {
        retry::Error::Database(error) => Refusal::Database(error),
        retry::Error::Topics(_) | retry::Error::TooMany(_) => Refusal::Defect(Box::new(error)),
    }
}

async fn edit(slot: Data<Slot>, bearer: ReqData<Bearer>, id: Path<String>, body: Bytes) -> HttpResponse {
    answer(&slot, |desk| {
        let id = number(&id)?;
        let mut asked: Edit = json(&body)?;
        asked.who = signed(&bearer, &asked.who, &asked.why)?;
        Ok(edited(desk, id, asked))
    })
    .await
}

/// Validates the new body against the schema the letter was written with, before anything else; then decides.
async fn edited(desk: Desk, id: i64, asked: Edit) -> Result<operation::Edited, Refusal> {
    let letter = {
        let mut db = desk.units.pool().acquire().await?;
        retry::show(&mut db, desk.service, id).await?.ok_or_else(|| Refusal::no_letter(id))?
    };
    let codec = desk.units.codec();
    let shown = codec.show(letter.value.as_deref()).await.ok();
    let asked_for = asked.record.as_deref().or(letter.record.as_deref());
    let schema = match (&shown, asked_for) {
        (Some((schema, _, _)), None) => Some(*schema),
        (Some((schema, name, _)), Some(asked)) if name == asked => Some(*schema),
        (_, Some(record)) => codec.id_of(record),
        (None, None) => None,
    };
    let schema = schema.ok_or_else(|| {
        Refusal::no_schema(match asked_for {
            Some(record) => format!("no schema of {record} is known here"),
            None => "the letter's bytes do not tell; name the record type".to_owned(),
        })
    })?;
    let value = codec.write(schema, &asked.body).await.map_err(|error| match error {
        EditError::Faults(faults) => Refusal::unfit(faults),
        EditError::Schema(failure) => Refusal::no_schema(failure.to_string()),
    })?;
    let target = Target { pos: id, redrive_no: asked.redrive_no };
    let by = Operator { who: asked.who, why: asked.why };
    let decided = if asked.execute {
        retry::edit(&desk.units, target, value, &by).await.map_err(refused)?
    } else {
        let edited = retry::Decision::Edited(Vec::new());
        let foreseen = look::foresee(&mut *desk.units.pool().acquire().await?, desk.service, &[target], &edited).await?;
        foreseen.into_iter().next().unwrap_or(retry::Decided::Gone)
    };
    Ok(operation::Edited {
        executed: asked.execute,
        outcome: decided.as_str().to_owned(),
        before: shown.map(|(_, _, json)| json).unwrap_or_default(),
        after: asked.body,
    })
}

async fn effects(slot: Data<Slot>, request: HttpRequest) -> HttpResponse {
    answer(&slot, |desk| {
        let wanted = Wanted::read(request.query_string(), &["after", "limit"])?;
        let after = wanted.number()?;
        Ok(async move {
            let mut db = desk.units.pool().acquire().await?;
            let now = instant(look::now(&mut db).await?);
            let mut calls = look::calls_waiting(&mut db, after, i64::from(wanted.limit).saturating_add(1)).await?;
            let size = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
            let more = calls.len() > size;
            calls.truncate(size);
            let next = calls.last().filter(|_| more).map(|call| call.pos);
            Ok(operation::Effects { now, data: calls.into_iter().map(effect).collect(), next })
        })
    })
    .await
}

/// A call without its request.
pub(super) fn effect(call: look::Call) -> operation::Effect {
    operation::Effect {
        id: call.pos,
        stream: call.effect.stream,
        step: call.effect.step,
        correlation: call.effect.correlation,
        state: call.effect.state.as_str().to_owned(),
        attempt: call.effect.attempt,
        due_at: instant(call.due_at),
    }
}
