//! C2: one batch of records, from all partitions, in one transaction.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sqlx::{Postgres, Transaction};

use super::TopicPartition;
use super::assignment::{self, Move};
use super::chain::{self, Last, Verdict};
use super::source::Fetched;
use crate::codec::Codec;
use crate::failure::{Class, Failure};
use crate::harm;
use crate::message::MessageId;
use crate::route::{Found, Meta, Route, Routes};
use crate::store::Units;
use crate::unit::{Needs, Unit, Work};

/// A record ready to be decided.
pub(super) struct Ready<'a, W: Work> {
    route: &'a Route<W>,
    meta: Meta,
    body: Box<dyn std::any::Any + Send + Sync>,
    /// Its number among the records taken, over all partitions in order.
    index: usize,
}

/// What a batch consists of: the first `counts[at]` records of each partition's queue.
pub(super) struct Plan<'a, W: Work> {
    pub(super) moves: Vec<Move>,
    ready: Vec<Ready<'a, W>>,
    pub(super) repeats: u64,
}

/// A record that cannot be handled now: its partition's part of the batch ends before it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) at: TopicPartition,
    pub(super) offset: i64,
    pub(super) failure: Failure,
}

/// One partition's records offered for a batch.
pub(super) struct Offer<'a> {
    pub(super) at: &'a TopicPartition,
    pub(super) owner: &'static str,
    pub(super) epoch: i64,
    pub(super) from: i64,
    pub(super) last: &'a Last,
    pub(super) records: Vec<&'a Fetched>,
}

/// Judges, decodes and routes what is offered. Each partition's part ends before its first record that cannot be handled.
pub(super) async fn plan<'a, W: Work>(codec: &Codec, routes: &'a Routes<W>, offers: &[Offer<'_>]) -> (Plan<'a, W>, Vec<Held>) {
    let mut plan = Plan { moves: Vec::new(), ready: Vec::new(), repeats: 0 };
    let mut held = Vec::new();
    let mut index = 0;
    for offer in offers {
        let mut last = offer.last.clone();
        let mut links: BTreeMap<String, i64> = BTreeMap::new();
        let mut end: Option<(i64, i64)> = None;
        for record in &offer.records {
            match take(codec, routes, offer.owner, &last, record).await {
                Ok(Taken::Repeat) => plan.repeats += 1,
                Ok(Taken::PassedOver) => {}
                Ok(Taken::Route(route, meta, body)) => plan.ready.push(Ready { route, meta, body, index }),
                Err(failure) => {
                    held.push(Held { at: offer.at.clone(), offset: record.offset, failure });
                    break;
                }
            }
            if let Some(link) = &record.link {
                let newest = last.entry(link.src.clone()).or_insert(link.seq);
                *newest = (*newest).max(link.seq);
                links.insert(link.src.clone(), *newest);
            }
            end = Some((record.offset.saturating_add(1), record.hash));
            index += 1;
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
    Route(&'a Route<W>, Meta, Box<dyn std::any::Any + Send + Sync>),
    Repeat,
    PassedOver,
}

async fn take<'a, W: Work>(
    codec: &Codec,
    routes: &'a Routes<W>,
    owner: &str,
    last: &Last,
    record: &Fetched,
) -> Result<Taken<'a, W>, Failure> {
    match chain::judge(owner, last, record.link.as_ref(), record.offset) {
        Verdict::Next => {}
        Verdict::Repeat => return Ok(Taken::Repeat),
        Verdict::Gap => {
            let seen = record.link.as_ref().map(|l| (l.prev, last.get(&l.src).copied()));
            return Err(Failure::infrastructure(
                "chain_gap",
                format!("record does not follow the last one of its source: (prev, last seen) = {seen:?}"),
            ));
        }
        Verdict::Foreign => {
            return Err(Failure::new(Class::Foreign, "foreign", format!("record was not written by {owner}, the owner of its topic")));
        }
    }
    let (schema, datum) = Codec::split(record.value.as_deref())?;
    let name = codec.full_name(schema).await?;
    let route = match routes.find(&record.at.topic, &name) {
        Found::Route(route) => route,
        Found::Ignored => return Ok(Taken::PassedOver),
        Found::Unknown => return Err(Failure::permanent("wrong_record_type", format!("no route for {name} on {}", record.at.topic))),
    };
    let id: MessageId = record.id.ok_or_else(|| Failure::permanent("header_missing", "the record has no ce_id"))?;
    let body = (route.decode)(codec, schema, &datum)?;
    Ok(Taken::Route(route, Meta { id, correlation: record.correlation.clone(), key: record.key.clone() }, body))
}

/// How one try of a batch ended.
pub(super) enum Outcome<W: Work> {
    /// Everything is written; COMMIT is next.
    Written(Transaction<'static, Postgres>, Box<Unit<W>>),
    /// A partition is another's.
    Fenced,
    /// A handler failed: the batch must be offered again without this record and what follows it in its partition.
    Failed(usize, Failure),
}

/// Claims the progress rows, loads, decides in order and writes. Nothing is committed.
pub(super) async fn attempt<W: Work>(units: &Units, group: &str, plan: &Plan<'_, W>) -> Result<Outcome<W>, sqlx::Error> {
    let mut tx = units.begin().await?;
    if !assignment::advance(&mut tx, group, &plan.moves).await? {
        tx.rollback().await?;
        return Ok(Outcome::Fenced);
    }
    harm::point_async("C2.claimed").await;
    let mut needs = Needs::default();
    for ready in &plan.ready {
        (ready.route.ask)(ready.body.as_ref(), &mut needs);
    }
    let mut unit = units.load(&mut tx, needs).await?;
    for ready in &plan.ready {
        unit.because(ready.meta.cause());
        // A panic is an outcome of its message. The half-decided unit is thrown away, so its state cannot be seen.
        let handled = catch_unwind(AssertUnwindSafe(|| (ready.route.handle)(&mut unit, &ready.meta, ready.body.as_ref())));
        let handled = handled.unwrap_or_else(|_panic| {
            Err(Failure::permanent("handler_panicked", format!("the handler of {} panicked", ready.route.record)))
        });
        if let Err(failure) = handled {
            tx.rollback().await?;
            return Ok(Outcome::Failed(ready.index, failure));
        }
    }
    if harm::point_async("C2.decided").await {
        return Err(sqlx::Error::Protocol("the write fails on purpose".to_owned()));
    }
    units.store(&mut tx, &mut unit).await?;
    harm::point_async("C2.written").await;
    Ok(Outcome::Written(tx, Box::new(unit)))
}
