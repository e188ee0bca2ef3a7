//! C2: one batch of records, from all partitions, in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{Postgres, Transaction};

use super::TopicPartition;
use super::assignment::{self, Move};
use super::breaker::Windows;
use super::catch_up::{Before, CatchUp, Past};
use super::chain::{self, Last, Verdict};
use super::item::{self, Fate, Item, Read, Tried};
use super::known::Known;
use super::parking::{Parked, Parking};
use super::source::Fetched;
use crate::codec::Codec;
use crate::failure::{Class, Failure};
use crate::harm;
use crate::message::MessageId;
use crate::retry::store::{TopicKey, lock_keys};
use crate::route::{Meta, Routes};
use crate::spans::{self, Place};
use crate::store::Units;
use crate::unit::{Needs, Unit, Work};

/// A record ready to be decided.
pub(super) struct Ready<'a, W: Work> {
    pub(super) record: &'a Fetched,
    pub(super) item: Item<'a, W>,
}

/// What a batch consists of: the first records of each partition's queue.
pub(super) struct Plan<'a, W: Work> {
    pub(super) moves: Vec<Move>,
    pub(super) ready: Vec<Ready<'a, W>>,
    pub(super) repeats: u64,
    /// The topics of the records that no handler wants: read, and so not failed.
    passed_over: Vec<&'a str>,
}

/// A record that cannot be handled now: its partition's part of the batch ends before it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) at: TopicPartition,
    pub(super) offset: i64,
    pub(super) failure: Failure,
    /// The handler whose breaker holds it.
    pub(super) breaker: Option<String>,
}

impl Held {
    pub(super) fn of(record: &Fetched, failure: Failure, breaker: Option<String>) -> Self {
        Self { at: record.at.clone(), offset: record.offset, failure, breaker }
    }
}

/// One partition's records offered for a batch.
pub(super) struct Offer<'a> {
    pub(super) at: &'a TopicPartition,
    pub(super) owner: &'static str,
    pub(super) epoch: i64,
    pub(super) from: i64,
    pub(super) last: &'a Last,
    pub(super) records: Vec<&'a Fetched>,
    /// The handler whose breaker holds the partition behind these records: they came before it opened.
    pub(super) breaker: Option<&'a str>,
}

/// What is known of records and handlers before a batch is planned.
pub(super) struct Notes<'a> {
    /// Records whose writes the database refused.
    pub(super) refused: &'a HashMap<(TopicPartition, i64), Failure>,
    /// Handlers whose breaker is open.
    pub(super) open: &'a HashSet<String>,
}

/// Judges, decodes and routes what is offered. Each partition's part ends before its first record that cannot be handled.
pub(super) async fn plan<'a, W: Work>(
    codec: &Codec,
    routes: &'a Routes<W>,
    offers: &[Offer<'a>],
    notes: &Notes<'_>,
) -> (Plan<'a, W>, Vec<Held>) {
    let mut plan = Plan { moves: Vec::new(), ready: Vec::new(), repeats: 0, passed_over: Vec::new() };
    let mut held = Vec::new();
    for offer in offers {
        let mut last = offer.last.clone();
        let mut links: BTreeMap<String, i64> = BTreeMap::new();
        let mut end: Option<(i64, i64)> = None;
        for record in &offer.records {
            let mut chained = true;
            match take(codec, routes, offer.owner, &last, record).await {
                Ok(Taken::Repeat) => plan.repeats += 1,
                Ok(Taken::PassedOver) => plan.passed_over.push(&record.at.topic),
                Ok(Taken::Item(mut item)) => {
                    let handler = item.handler(&record.at.topic);
                    if notes.open.contains(handler) && offer.breaker != Some(handler) {
                        let failure = Failure::infrastructure("breaker_open", format!("too many messages of {handler} fail alike"));
                        held.push(Held::of(record, failure, Some(handler.to_owned())));
                        break;
                    }
                    chained = !matches!(&item.body, Err(failure) if failure.class == Class::Foreign);
                    if !notes.refused.is_empty()
                        && let Some(failure) = notes.refused.get(&(record.at.clone(), record.offset))
                    {
                        item.body = Err(failure.clone());
                    }
                    plan.ready.push(Ready { record, item });
                }
                Err(failure) => {
                    held.push(Held::of(record, failure, None));
                    break;
                }
            }
            if let Some(link) = record.link.as_ref().filter(|_| chained) {
                let newest = last.entry(link.src.clone()).or_insert(link.seq);
                *newest = (*newest).max(link.seq);
                links.insert(link.src.clone(), *newest);
            }
            end = Some((record.offset.saturating_add(1), record.hash));
        }
        if let Some((to, hash)) = end {
            plan.moves.push(Move {
                at: offer.at.clone(),
                epoch: offer.epoch,
                from: offer.from,
                to,
                hash,
                links: links.into_iter().collect(),
            });
        }
    }
    (plan, held)
}

enum Taken<'a, W: Work> {
    Item(Item<'a, W>),
    Repeat,
    PassedOver,
}

/// An item, or why the partition must stop before it.
async fn take<'a, W: Work>(
    codec: &Codec,
    routes: &'a Routes<W>,
    owner: &str,
    last: &Last,
    record: &Fetched,
) -> Result<Taken<'a, W>, Failure> {
    let foreign = match chain::judge(owner, last, record.link.as_ref(), record.offset) {
        Verdict::Next => None,
        Verdict::Repeat => return Ok(Taken::Repeat),
        Verdict::Gap => {
            let seen = record.link.as_ref().map(|l| (l.prev, last.get(&l.src).copied()));
            return Err(Failure::infrastructure(
                "chain_gap",
                format!("record does not follow the last one of its source: (prev, last seen) = {seen:?}"),
            ));
        }
        Verdict::Foreign => {
            Some(Failure::new(Class::Foreign, "foreign", format!("record was not written by {owner}, the owner of its topic")))
        }
    };
    let (route, body) = match foreign {
        Some(failure) => (None, Err(failure)),
        None => match item::read(codec, routes, &record.at.topic, (record.id.is_some(), &record.headers, record.value.as_deref())).await {
            Read::Item(route, body) => (route, body),
            Read::Ignored => return Ok(Taken::PassedOver),
            Read::Hold(failure) => return Err(failure),
        },
    };
    let id = record.id.unwrap_or_else(|| MessageId::of_place(&record.at.topic, record.at.partition, record.offset));
    let created = spans::created(&record.headers);
    let meta = Meta {
        id,
        correlation: record.correlation.clone(),
        key: String::from_utf8_lossy(&record.key).into_owned(),
        trace: trace::begin(created),
    };
    Ok(Taken::Item(Item { route, meta, body, created }))
}

/// How one try of a batch ended.
pub(super) enum Outcome<W: Work> {
    /// Everything is written; COMMIT is next.
    Written(Box<Written<W>>),
    /// A partition is another's.
    Fenced,
    /// The batch must be offered again without this record and what follows it in its partition.
    Hold(Held),
}

/// A batch ready to be committed.
pub(super) struct Written<W: Work> {
    pub(super) tx: Transaction<'static, Postgres>,
    pub(super) unit: Unit<W>,
    pub(super) parked: Parked,
    pub(super) windows: Windows,
}

/// What earlier tries of the same batch taught, by the record's number.
#[derive(Default)]
struct Learnt {
    /// These fail, and leave the unit torn when they are tried.
    failed: BTreeMap<usize, Failure>,
    /// Nobody can be told of their end.
    untold: HashSet<usize>,
}

/// Claims the progress rows, loads, decides in order and writes. Nothing is committed. A message that fails is an outcome of
/// its own: what the others decided stands, or is decided again when the service's own rows were touched.
pub(super) async fn attempt<W: Work>(
    units: &Units,
    group: &str,
    plan: &Plan<'_, W>,
    (known, catch_up): (&Known, Option<&CatchUp>),
    windows: &Windows,
) -> Result<Outcome<W>, sqlx::Error> {
    let mut learnt = Learnt::default();
    loop {
        if let Some(outcome) = decide(units, group, plan, (known, catch_up), windows.clone(), &mut learnt).await? {
            return Ok(outcome);
        }
    }
}

/// One pass; `None` when it taught something and must be made again.
async fn decide<W: Work>(
    units: &Units,
    group: &str,
    plan: &Plan<'_, W>,
    (known, catch_up): (&Known, Option<&CatchUp>),
    mut windows: Windows,
    learnt: &mut Learnt,
) -> Result<Option<Outcome<W>>, sqlx::Error> {
    let mut tx = units.begin().await?;
    if !assignment::advance(&mut tx, group, &plan.moves).await? {
        tx.rollback().await?;
        return Ok(Some(Outcome::Fenced));
    }
    harm::point_async("C2.claimed").await;
    let past = Past::look(&mut tx, group, catch_up, &plan.ready).await?;
    let (keys, stories) = suspects(plan, known);
    let blocked = if keys.is_empty() && stories.is_empty() { Vec::new() } else { lock_keys(&mut tx, group, &keys, &stories).await? };
    let mut needs = Needs::default();
    for ready in &plan.ready {
        if let (Some(route), Ok(body), Before::Decide) = (ready.item.route, &ready.item.body, past.before(ready)) {
            (route.ask)(body.as_ref(), &mut needs);
        }
    }
    let mut unit = units.load(&mut tx, needs).await?;
    let mut parking = Parking::new(unit.now(), blocked);
    plan.passed_over.iter().for_each(|topic| windows.passed(topic));
    for (index, ready) in plan.ready.iter().enumerate() {
        let Ready { record, item } = ready;
        let steps = item.compensates();
        match past.before(ready) {
            Before::Decide => {}
            Before::Settled => continue,
            Before::PassOver => {
                parking.undo(&item.meta.correlation, steps);
                continue;
            }
        }
        let foreign = matches!(&item.body, Err(failure) if failure.class == Class::Foreign);
        if steps.is_empty() && !foreign && parking.blocks_record(record) && (parking.failed_here(record) || !past.precedes_block(record)) {
            parking.follow(record, item);
            continue;
        }
        let handler = item.handler(&record.at.topic);
        let failure = match learnt.failed.get(&index).map_or_else(|| item.decide(&mut unit), |failure| Tried::Failed(failure.clone())) {
            Tried::Handled => {
                unit.spans.process(&item.meta, &place(group, record, item), None);
                windows.passed(handler);
                windows.passed(&record.at.topic);
                parking.undo(&item.meta.correlation, steps);
                continue;
            }
            Tried::Failed(failure) => failure,
            Tried::Hold(failure) => {
                tx.rollback().await?;
                return Ok(Some(Outcome::Hold(Held::of(record, failure, None))));
            }
            Tried::Torn(failure) => {
                learnt.failed.insert(index, failure);
                tx.rollback().await?;
                return Ok(None);
            }
        };
        if failure.class != Class::Foreign && windows.failed(handler, failure.code) {
            tx.rollback().await?;
            return Ok(Some(Outcome::Hold(Held::of(record, failure, Some(handler.to_owned())))));
        }
        tracing::warn!(partition = %record.at, offset = record.offset, message.id = %item.meta.id, code = failure.code, class = failure.class.as_str(), error = %failure, "a message failed");
        unit.spans.process(&item.meta, &place(group, record, item), Some(&failure));
        let fate = parking.fail(units, record, item, failure.clone());
        if fate == Fate::Dead && !learnt.untold.contains(&index) && !item.give_up(&mut unit, &failure) {
            learnt.untold.insert(index);
            tx.rollback().await?;
            return Ok(None);
        }
    }
    let mut parked = Parked::default();
    if !parking.is_empty() {
        let posts;
        (parked, posts) = parking.write(&mut tx, units, !stories.is_empty()).await?;
        unit.posts = posts;
    }
    parked.freed.extend(past.freed);
    parked.promoted |= past.promoted;
    if harm::point_async("C2.decided").await {
        return Err(sqlx::Error::Protocol("the write fails on purpose".to_owned()));
    }
    units.store(&mut tx, &mut unit).await?;
    harm::point_async("C2.written").await;
    if parked.retried > 0 || parked.dead > 0 {
        harm::point_async("R1.parked").await;
    }
    Ok(Some(Outcome::Written(Box::new(Written { tx, unit, parked, windows }))))
}

fn place<'a, W: Work>(group: &'a str, record: &'a Fetched, item: &Item<'_, W>) -> Place<'a> {
    Place { group, topic: &record.at.topic, partition: record.at.partition, offset: record.offset, created: item.created, attempt: 0 }
}

/// Keys and stories of the batch of which something may be parked.
fn suspects<'p, W: Work>(plan: &'p Plan<'_, W>, known: &Known) -> (Vec<TopicKey>, Vec<&'p str>) {
    if known.nothing() {
        return (Vec::new(), Vec::new());
    }
    let keys = plan.ready.iter().map(|ready| (ready.record.at.topic.clone(), ready.record.key.clone()));
    let keys: HashSet<TopicKey> = keys.filter(|key| known.maybe_blocked(key)).collect();
    let undoing = plan.ready.iter().filter(|ready| !ready.item.compensates().is_empty());
    let stories: HashSet<&str> =
        undoing.map(|ready| ready.item.meta.correlation.as_str()).filter(|story| known.maybe_parked(story)).collect();
    (keys.into_iter().collect(), stories.into_iter().collect())
}
