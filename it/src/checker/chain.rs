//! I8 and I9: every record is on its topic exactly once, and only what a database committed.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::finding::{Finding, Invariant};
use super::headers::Src;
use super::message::Body;
use super::world::{Record, Service, World};
use crate::httplog::{Outcome, Request};

/// Exactly once on the topic: each (src, seq) and each message id is committed once, but for the commands of a saga that a
/// person resumed, which are sent again with their ids; from record to record of a source in
/// a partition `prev` names the one before and `seq` rises; headers are whole and say what the value says; no transaction
/// is open.
#[must_use]
pub fn i8(world: &World) -> Finding {
    let mut finding = Finding::new(Invariant::I8);
    let mut seqs: HashMap<(&Src, i64), &Record> = HashMap::new();
    let mut messages: HashMap<Uuid, &Record> = HashMap::new();
    let resumed = resumed(world);
    let mut chain: HashMap<(&Src, &str, i32), i64> = HashMap::new();
    for record in world.committed() {
        let ids = || [record.id(), record.place()];
        for fault in &record.headers.faults {
            finding.broken(ids(), fault.clone());
        }
        says_what_its_value_says(&mut finding, record);
        if let Some(id) = record.headers.id {
            let first = *messages.entry(id).or_insert(record);
            let resumed = record.body.order().is_some_and(|order| resumed.contains(&order)) && record.topic.carries_commands();
            finding.check(resumed || std::ptr::eq(first, record), ids, || format!("message is also at {}", first.place()));
        }
        let (Some(src), Some(seq), Some(prev)) = (&record.headers.src, record.headers.seq, record.headers.prev) else { continue };
        let first = *seqs.entry((src, seq)).or_insert(record);
        finding.check(std::ptr::eq(first, record), ids, || format!("seq {seq} of {src} is also at {}", first.place()));
        let before = chain.insert((src, record.topic.name(), record.partition), seq).unwrap_or_default();
        finding.check(prev == before, ids, || format!("prev is {prev}, the record before it from {src} is {before}"));
        finding.check(seq > before, ids, || format!("seq {seq} follows {before} of {src}"));
    }
    for end in &world.ends {
        finding.check(
            end.stable == end.high,
            || [format!("{}[{}]", end.topic, end.partition)],
            || format!("a transaction is open at {}, the partition ends at {}", end.stable, end.high),
        );
    }
    finding
}

/// The envelope and the value agree.
fn says_what_its_value_says(finding: &mut Finding, record: &Record) {
    let ids = || [record.id(), record.place()];
    let Some((full_name, topic)) = record.body.kind() else {
        if let Body::Unreadable(fault) = &record.body {
            finding.broken(ids(), format!("value is unreadable: {fault}"));
        }
        return;
    };
    let headers = &record.headers;
    finding.check(*headers.full_name == *full_name, ids, || format!("ce_type is {}, the value {full_name}", headers.full_name));
    finding.check(topic == record.topic, ids, || format!("{full_name} belongs on {topic}"));
    finding.check(headers.subject == record.key, ids, || format!("ce_subject is {}, the key {}", headers.subject, record.key));
    finding.check(headers.source.strip_prefix('/') == Some(record.topic.owner().name()), ids, || {
        format!("ce_source is {} on a topic of {}", headers.source, record.topic.owner())
    });
    if let Some(order) = record.body.order() {
        finding.check(*headers.correlation == *order.to_string(), ids, || {
            format!("correlation-id is {} for order {order}", headers.correlation)
        });
    }
}

/// No ghost: a committed record comes from its topic's owner and is in the owner's events or outbox; a record that only
/// `read_uncommitted` shows was never the truth: its message was committed again, or is nowhere in the database; and a
/// request that was refused left nothing behind.
#[must_use]
pub fn i9(world: &World) -> Finding {
    let mut finding = Finding::new(Invariant::I9);
    let known: HashMap<Service, Known> = Service::ALL.into_iter().map(|service| (service, Known::of(world, service))).collect();
    let again: HashSet<(Option<&Src>, Option<i64>)> =
        world.committed().map(|record| (record.headers.src.as_ref(), record.headers.seq)).collect();
    for record in &world.records {
        let service = record.topic.owner();
        let ids = || [record.id(), record.place()];
        let Some(known) = known.get(&service) else { continue };
        let stored = record
            .headers
            .id
            .is_some_and(|id| known.events.contains(&id) || record.headers.seq.is_some_and(|seq| known.outbox.contains(&(id, seq))));
        if record.committed {
            let ours = record.headers.src.as_ref().is_some_and(|src| *src.service == *service.name() && known.is(src.incarnation));
            finding.check(ours, ids, || {
                format!(
                    "src is {:?}, the topic belongs to {service}/{}",
                    record.headers.src.as_ref().map(ToString::to_string),
                    known.incarnation
                )
            });
            let sent_before =
                record.topic.carries_commands() && record.headers.src.as_ref().is_some_and(|src| known.earlier.contains(&src.incarnation));
            finding.check(stored || sent_before, ids, || format!("record is neither in events nor in the outbox of {service}"));
        } else {
            // What a lost database had sent and not committed, nobody can send again.
            let lost = record.headers.src.as_ref().is_some_and(|src| known.earlier.contains(&src.incarnation));
            let redone = lost || again.contains(&(record.headers.src.as_ref(), record.headers.seq));
            finding.check(redone, ids, || {
                if stored {
                    format!("aborted record of a row of {service} was never committed again")
                } else {
                    format!("aborted record is of no row of {service}: it was sent before its transaction committed")
                }
            });
        }
    }
    refused(&mut finding, world);
    finding
}

/// Orders whose saga a person resumed.
fn resumed(world: &World) -> HashSet<Uuid> {
    let decided = |record: &Record| {
        if let Body::SagaStepRecorded { order, decided_by: Some(_), .. } = &record.body { Some(*order) } else { None }
    };
    world.committed().filter_map(decided).collect()
}

/// What one service's database knows.
struct Known {
    incarnation: Uuid,
    earlier: HashSet<Uuid>,
    /// Commands that an earlier incarnation sent are in no table any more.
    events: HashSet<Uuid>,
    /// Message id and row id: a command that is sent again has two rows.
    outbox: HashSet<(Uuid, i64)>,
}

impl Known {
    fn is(&self, incarnation: Uuid) -> bool {
        self.incarnation == incarnation || self.earlier.contains(&incarnation)
    }

    fn of(world: &World, service: Service) -> Self {
        let log = world.log(service);
        Self {
            incarnation: log.incarnation,
            earlier: log.earlier.iter().copied().collect(),
            events: log.events.iter().map(|row| row.event_id).collect(),
            outbox: log.outbox.iter().map(|row| (row.message_id, row.id)).collect(),
        }
    }
}

/// Keys that were only ever refused made no order and no receipt.
fn refused(finding: &mut Finding, world: &World) {
    let Some(http) = &world.http else { return };
    let possible: HashSet<(&str, &str)> = http
        .iter()
        .filter(|entry| entry.outcome != Outcome::Refused)
        .filter_map(|entry| Some((route(entry.request())?, entry.key.as_deref()?)))
        .collect();
    let mut orders: HashMap<(&str, &str), Uuid> = HashMap::new();
    for record in world.committed() {
        if let Body::OrderPlaced(placed) = &record.body {
            orders.insert((&placed.customer, &placed.key), placed.order);
        }
    }
    let receipts: HashSet<&str> = world.inventory.keys.iter().map(AsRef::as_ref).collect();
    for entry in http.iter().filter(|entry| entry.outcome == Outcome::Refused) {
        let (Some(key), Some(route)) = (entry.key.as_deref(), route(entry.request())) else { continue };
        if possible.contains(&(route, key)) {
            continue;
        }
        if entry.request() == Request::PlaceOrder {
            let made = orders.get(&(entry.customer.as_deref().unwrap_or_default(), key));
            finding.check(
                made.is_none(),
                || [key.to_owned(), made.copied().unwrap_or_default().to_string()],
                || "a refused request made an order".into(),
            );
        } else {
            finding.check(!receipts.contains(key), || [key.to_owned()], || format!("a refused {route} left its key behind"));
        }
    }
}

fn route(request: Request) -> Option<&'static str> {
    match request {
        Request::PlaceOrder => Some("/v1/orders"),
        Request::CreateProducts => Some("/v1/products"),
        Request::ReceiveStock => Some("/v1/stock"),
        Request::CancelOrder(_) | Request::Other => None,
    }
}
