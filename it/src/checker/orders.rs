//! I1, I2 and I5: what clients were told about their orders is true, and every order ends.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::finding::{Finding, Invariant};
use super::story::{End, stories, stuck};
use super::world::{OrderRow, World};
use crate::httplog::{Entry, Outcome, Request};

const NO_LOG: &str = "no HTTP log was given: what clients were told is not judged";

/// Nothing acknowledged is lost: every order answered with 2xx is on `orders.events` and in SQL, for the customer who
/// asked; an acknowledged cancel did cancel, a refused one (409) met a confirmed order; an acknowledged key of a receipt or
/// of products is known to inventory.
#[must_use]
pub fn i1(world: &World) -> Finding {
    let mut finding = Finding::new(Invariant::I1);
    let Some(http) = &world.http else {
        finding.note = Some(NO_LOG.into());
        return finding;
    };
    let stories = stories(world);
    let rows: HashMap<Uuid, &OrderRow> = world.orders.orders.iter().map(|row| (row.id, row)).collect();
    let receipts: HashSet<&str> = world.inventory.keys.iter().map(AsRef::as_ref).collect();
    for entry in http {
        match (entry.request(), entry.outcome) {
            (Request::PlaceOrder, Outcome::Ok) => {
                let Some(id) = entry.order_id else {
                    finding.broken([key_of(entry)], "an order was acknowledged without its id".into());
                    continue;
                };
                let placed = stories.get(&id).is_some_and(|story| !story.placed.is_empty());
                finding.check(placed, || [id.to_string(), key_of(entry)], || "acknowledged order is not on orders.events".into());
                match rows.get(&id) {
                    None => finding.broken([id.to_string(), key_of(entry)], "acknowledged order is not in SQL".into()),
                    Some(row) => finding.check(
                        entry.customer.as_deref().is_none_or(|customer| customer == row.customer.as_ref()),
                        || [id.to_string(), key_of(entry)],
                        || format!("order of {:?} belongs to {}", entry.customer, row.customer),
                    ),
                }
            }
            (Request::CancelOrder(id), outcome) => {
                let Some(row) = rows.get(&id) else {
                    if outcome == Outcome::Ok {
                        finding.broken([id.to_string()], "acknowledged cancel of an order that is not in SQL".into());
                    }
                    continue;
                };
                let confirmed = row.status.as_ref() == "CONFIRMED";
                match (outcome, entry.status) {
                    (Outcome::Ok, _) => {
                        finding.check(!confirmed, || [id.to_string()], || "its cancel was acknowledged, yet it was confirmed".into());
                    }
                    (Outcome::Refused, Some(409)) => {
                        finding.check(
                            confirmed,
                            || [id.to_string()],
                            || format!("its cancel was refused with 409, yet it is {}", row.status),
                        );
                    }
                    (Outcome::Refused | Outcome::Unknown, _) => {}
                }
            }
            (Request::ReceiveStock | Request::CreateProducts, Outcome::Ok) => {
                let known = entry.key.as_deref().is_some_and(|key| receipts.contains(key));
                finding.check(known, || [key_of(entry)], || format!("acknowledged {} is unknown to inventory", entry.path));
            }
            (Request::PlaceOrder | Request::ReceiveStock | Request::CreateProducts | Request::Other, _) => {}
        }
    }
    finding
}

/// One order per customer and key: on the topic, in SQL and in what repeats were answered; a key used for two bodies
/// was accepted for one of them only.
#[must_use]
pub fn i2(world: &World) -> Finding {
    let mut finding = Finding::new(Invariant::I2);
    let mut placed: HashMap<(&str, &str), (Uuid, &[u8])> = HashMap::new();
    for (order, story) in &stories(world) {
        for (index, event) in story.placed.iter().enumerate() {
            finding.check(index == 0, || [order.to_string()], || "order was placed twice".into());
            if index > 0 {
                continue;
            }
            let first = placed.entry((&event.scope, &event.key)).or_insert((*order, &event.request_hash));
            finding.check(
                first.0 == *order,
                || [order.to_string(), first.0.to_string(), event.key.to_string()],
                || format!("two orders for one key of {}", event.scope),
            );
        }
    }
    let mut stored: HashSet<(&str, &str)> = HashSet::new();
    for row in &world.orders.keys {
        stored.insert((&row.scope, &row.key));
        let same = placed
            .get(&(row.scope.as_ref(), row.key.as_ref()))
            .is_some_and(|(order, hash)| *order == row.order && *hash == row.request_hash);
        finding.check(
            same,
            || [row.order.to_string(), row.key.to_string()],
            || format!("key of {} is stored for an order or request that orders.events does not tell", row.scope),
        );
    }
    for ((scope, key), (order, _)) in &placed {
        finding.check(
            stored.contains(&(*scope, *key)),
            || [order.to_string(), (*key).to_owned()],
            || format!("key of {scope} is not stored: a repeat would make another order"),
        );
    }
    match &world.http {
        None => finding.note = Some(NO_LOG.into()),
        Some(http) => repeats(&mut finding, http, &placed),
    }
    finding
}

/// Repeats of one key were answered alike, and with the order that the topic tells.
fn repeats(finding: &mut Finding, http: &[Entry], placed: &HashMap<(&str, &str), (Uuid, &[u8])>) {
    let mut first: HashMap<(&str, &str, &str), &Entry> = HashMap::new();
    for entry in http.iter().filter(|entry| entry.outcome == Outcome::Ok) {
        let Some(key) = entry.key.as_deref() else { continue };
        let customer = entry.customer.as_deref().unwrap_or_default();
        let request = entry.request();
        let route = match request {
            Request::PlaceOrder => "/v1/orders",
            Request::CreateProducts => "/v1/products",
            Request::ReceiveStock => "/v1/stock",
            Request::CancelOrder(_) | Request::Other => continue,
        };
        if request == Request::PlaceOrder {
            let scope = format!("{customer}:POST /v1/orders");
            let told = placed.get(&(scope.as_str(), key)).map(|(order, _)| *order);
            finding.check(
                told.is_none() || told == entry.order_id,
                || [entry.order_id.unwrap_or_default().to_string(), told.unwrap_or_default().to_string(), key.to_owned()],
                || format!("the answer to a key of {customer} names another order than orders.events"),
            );
        }
        let earlier = *first.entry((customer, key, route)).or_insert(entry);
        if std::ptr::eq(earlier, entry) {
            continue;
        }
        let ids = || [key.to_owned(), entry.order_id.unwrap_or_default().to_string(), earlier.order_id.unwrap_or_default().to_string()];
        finding.check(entry.order_id == earlier.order_id, ids, || format!("repeat by {customer} was answered with another order"));
        finding.check(entry.body_hash == earlier.body_hash, ids, || format!("one key of {customer} was accepted for two bodies"));
        finding.check(
            entry.response_hash == earlier.response_hash
                || entry.body_hash != earlier.body_hash
                || request == Request::CreateProducts && entry.status != earlier.status,
            ids,
            || format!("repeat by {customer} was answered with another body"),
        );
    }
}

/// Every order ends: confirmed or cancelled once, its saga ended with that outcome, SQL saying the same; or its saga is
/// listed as stuck.
#[must_use]
pub fn i5(world: &World) -> Finding {
    let mut finding = Finding::new(Invariant::I5);
    let stories = stories(world);
    let stuck = stuck(world);
    let rows: HashMap<Uuid, &OrderRow> = world.orders.orders.iter().map(|row| (row.id, row)).collect();
    let sagas: HashMap<Uuid, &str> = world.orders.sagas.iter().map(|saga| (saga.order, saga.status.as_ref())).collect();
    for (order, story) in stories.iter().filter(|(_, story)| !story.placed.is_empty()) {
        let ids = || [order.to_string()];
        let ends = story.confirmed + story.cancelled.len();
        finding.check(ends <= 1, ids, || format!("order ended {ends} times"));
        finding.check(story.saga_ended.len() <= 1, ids, || format!("saga ended {} times", story.saga_ended.len()));
        let told = if story.confirmed > 0 {
            "CONFIRMED"
        } else if story.cancelled.is_empty() {
            "PENDING"
        } else {
            "CANCELLED"
        };
        if let Some(row) = rows.get(order) {
            finding.check(row.status.as_ref() == told, ids, || format!("order is {} in SQL and {told} on orders.events", row.status));
            let reason = story.cancelled.first().copied();
            finding.check(row.reason.as_deref() == reason, ids, || {
                format!("order's reason is {:?} in SQL and {reason:?} on orders.events", row.reason)
            });
            finding.check(row.ended != story.saga_ended.is_empty(), ids, || {
                format!("order's ended_at is set: {}, its saga ended: {}", row.ended, !story.saga_ended.is_empty())
            });
        }
        if stuck.contains(order) {
            continue;
        }
        finding.check(ends > 0, ids, || "order is neither confirmed nor cancelled, and its saga is not listed as stuck".into());
        finding.check(!story.saga_ended.is_empty(), ids, || "saga has not ended and is not listed as stuck".into());
        if let (Some(outcome), true) = (story.saga_ended.first(), ends == 1) {
            finding.check(outcome.eq_ignore_ascii_case(told), ids, || format!("saga ended {outcome}, order {told}"));
        }
        if story.end() != End::Open {
            let saga = sagas.get(order).copied();
            finding.check(saga == Some("ended"), ids, || format!("saga of an ended order is listed as {saga:?}"));
        }
    }
    for row in &world.orders.orders {
        let placed = stories.get(&row.id).is_some_and(|story| !story.placed.is_empty());
        finding.check(placed, || [row.id.to_string()], || "order in SQL was never placed on orders.events".into());
    }
    finding
}
fn key_of(entry: &Entry) -> String {
    entry.key.clone().unwrap_or_else(|| format!("{} {} at {}", entry.method, entry.path, entry.at_ms))
}
