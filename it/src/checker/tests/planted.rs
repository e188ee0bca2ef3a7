//! F25 in small: one corruption at a time, planted into a clean world.

use uuid::Uuid;

use super::builder::{Builder, Shape};
use crate::checker::message::{Body, Money};
use crate::checker::world::{Operation, Record, Service, Topic, World};
use crate::checker::{Invariant, check};
use crate::httplog::{Entry, Outcome};

/// A corruption: the invariant that must name it, what it does, and the id that must be named.
struct Planted {
    name: &'static str,
    invariant: Invariant,
    plant: fn(&mut World) -> String,
}

const fn planted(name: &'static str, invariant: Invariant, plant: fn(&mut World) -> String) -> Planted {
    Planted { name, invariant, plant }
}

/// Index of the first committed record that `wanted` accepts.
fn at(world: &World, wanted: impl Fn(&Body) -> bool) -> usize {
    world.records.iter().position(|record| record.committed && wanted(&record.body)).unwrap()
}

/// An order that ended confirmed, and one that ended cancelled with a refund.
fn confirmed(world: &World) -> Uuid {
    world.records[at(world, |body| matches!(body, Body::SagaEnded { outcome, .. } if outcome.as_ref() == "confirmed"))]
        .body
        .order()
        .unwrap()
}

fn refunded(world: &World) -> Uuid {
    world.records[at(world, |body| matches!(body, Body::PaymentRefunded { .. }))].body.order().unwrap()
}

/// Index of the committed record of `order` that `wanted` accepts.
fn of(world: &World, order: Uuid, wanted: impl Fn(&Body) -> bool) -> usize {
    at(world, |body| body.order() == Some(order) && wanted(body))
}

fn remove(world: &mut World, index: usize) -> Record {
    world.records.remove(index)
}

/// Puts a record at the end of its partition, where a marker was, and keeps the records sorted.
fn append(world: &mut World, mut record: Record) -> String {
    let end = world.ends.iter_mut().find(|end| (end.topic, end.partition) == (record.topic, record.partition)).unwrap();
    record.offset = end.high;
    end.high += 1;
    end.stable += 1;
    let id = record.id();
    world.records.push(record);
    world.records.sort_by_key(|record| (record.topic, record.partition, record.offset));
    id
}

fn operation(world: &mut World, order: Uuid) -> &mut Operation {
    let key = Uuid::new_v5(&order, b"authorize");
    world.operations.iter_mut().find(|row| row.auth_key == key).unwrap()
}

fn http(world: &mut World) -> &mut Vec<Entry> {
    world.http.as_mut().unwrap()
}

fn acknowledged(world: &mut World) -> &mut Entry {
    http(world).iter_mut().find(|entry| entry.order_id.is_some() && entry.outcome == Outcome::Ok).unwrap()
}

/// A repeat of an acknowledged placement, changed.
fn repeat(world: &mut World, change: impl FnOnce(&mut Entry)) -> String {
    let mut entry = acknowledged(world).clone();
    let key = entry.key.clone().unwrap();
    change(&mut entry);
    http(world).push(entry);
    key
}

fn set_headers(world: &mut World, index: usize, change: impl FnOnce(&mut Record)) -> String {
    change(&mut world.records[index]);
    world.records[index].id()
}

const ALL: [Planted; 59] = [
    planted("an acknowledged order is not on the topic", Invariant::I1, |world| {
        let order = acknowledged(world).order_id.unwrap();
        let index = of(world, order, |body| matches!(body, Body::OrderPlaced(_)));
        remove(world, index);
        order.to_string()
    }),
    planted("an acknowledged order is not in SQL", Invariant::I1, |world| {
        let order = acknowledged(world).order_id.unwrap();
        world.orders.orders.retain(|row| row.id != order);
        order.to_string()
    }),
    planted("an acknowledged order belongs to somebody else", Invariant::I1, |world| {
        let order = acknowledged(world).order_id.unwrap();
        world.orders.orders.iter_mut().find(|row| row.id == order).unwrap().customer = "thief".into();
        order.to_string()
    }),
    planted("an order was acknowledged that never was", Invariant::I1, |world| {
        repeat(world, |entry| {
            entry.key = Some("another".into());
            entry.order_id = Some(Uuid::max());
        });
        Uuid::max().to_string()
    }),
    planted("an acknowledged cancel did not cancel", Invariant::I1, |world| {
        let order = confirmed(world);
        repeat(world, |entry| entry.path = format!("/v1/orders/{order}/cancel"));
        order.to_string()
    }),
    planted("a cancel was refused though nothing was confirmed", Invariant::I1, |world| {
        let order = refunded(world);
        repeat(world, |entry| {
            entry.path = format!("/v1/orders/{order}/cancel");
            entry.status = Some(409);
            entry.outcome = Outcome::Refused;
        });
        order.to_string()
    }),
    planted("an acknowledged receipt is unknown", Invariant::I1, |world| {
        world.inventory.keys.clear();
        "catalogue".into()
    }),
    planted("one key made two orders", Invariant::I2, |world| {
        let index = at(world, |body| matches!(body, Body::OrderPlaced(_)));
        let mut record = world.records[index].clone();
        let Body::OrderPlaced(placed) = &mut record.body else { panic!() };
        placed.order = Uuid::max();
        append(world, record);
        Uuid::max().to_string()
    }),
    planted("one order was placed twice", Invariant::I2, |world| {
        let index = at(world, |body| matches!(body, Body::OrderPlaced(_)));
        let record = world.records[index].clone();
        let order = record.body.order().unwrap();
        append(world, record);
        order.to_string()
    }),
    planted("a repeat named another order", Invariant::I2, |world| {
        let other = refunded(world);
        repeat(world, |entry| entry.order_id = Some(other))
    }),
    planted("a repeat was answered with another body", Invariant::I2, |world| {
        repeat(world, |entry| entry.response_hash = Some("x".into()))
    }),
    planted("a key was accepted for two bodies", Invariant::I2, |world| repeat(world, |entry| entry.body_hash = Some("x".into()))),
    planted("a key was not stored", Invariant::I2, |world| world.orders.keys.pop().unwrap().order.to_string()),
    planted("a key is stored for another request", Invariant::I2, |world| {
        world.orders.keys[0].request_hash.push(1);
        world.orders.keys[0].order.to_string()
    }),
    planted("a unit appeared", Invariant::I3, |world| {
        world.inventory.stock[0].available += 1;
        world.inventory.stock[0].sku.to_string()
    }),
    planted("units were received that nobody sent", Invariant::I3, |world| {
        world.inventory.stock[1].available += 5;
        world.inventory.stock[1].received += 5;
        world.inventory.stock[1].sku.to_string()
    }),
    planted("a SKU was oversold for a while", Invariant::I3, |world| {
        let index = at(world, |body| matches!(body, Body::InventoryReserved { .. }));
        let Body::InventoryReserved { lines, .. } = &mut world.records[index].body else { panic!() };
        lines[0].1 += 1_000;
        lines[0].0.to_string()
    }),
    planted("a hold was released in SQL only", Invariant::I3, |world| {
        let order = confirmed(world);
        world.inventory.holds.iter_mut().find(|(id, _)| *id == order).unwrap().1 = "released".into();
        order.to_string()
    }),
    planted("a release gave back too much", Invariant::I3, |world| {
        let index = at(world, |body| matches!(body, Body::InventoryHoldReleased { lines, .. } if !lines.is_empty()));
        let Body::InventoryHoldReleased { lines, order } = &mut world.records[index].body else { panic!() };
        lines[0].1 += 1;
        order.to_string()
    }),
    planted("a hold line vanished", Invariant::I3, |world| {
        let order = confirmed(world);
        let index = world.inventory.hold_lines.iter().position(|line| line.order == order).unwrap();
        world.inventory.hold_lines.remove(index);
        order.to_string()
    }),
    planted("a confirmed order was never shipped", Invariant::I3, |world| {
        let order = confirmed(world);
        let index = of(world, order, |body| matches!(body, Body::InventoryHoldCommitted { .. }));
        remove(world, index);
        order.to_string()
    }),
    planted("a payment was captured twice", Invariant::I4, |world| {
        let index = at(world, |body| matches!(body, Body::PaymentCaptured { .. }));
        let record = world.records[index].clone();
        let order = record.body.order().unwrap();
        append(world, record);
        order.to_string()
    }),
    planted("the provider captured twice under two keys", Invariant::I4, |world| {
        let order = confirmed(world);
        let mut again = operation(world, order).clone();
        again.auth_key = Uuid::max();
        world.operations.push(again);
        let mut effect = world.payments.effects.iter().find(|row| *row.stream == *format!("payment-{order}")).unwrap().clone();
        effect.key = Uuid::max();
        world.payments.effects.push(effect);
        order.to_string()
    }),
    planted("an authorisation stayed open", Invariant::I4, |world| {
        let order = refunded(world);
        operation(world, order).state = "authorized".into();
        order.to_string()
    }),
    planted("an operation nobody asked for", Invariant::I4, |world| {
        let mut stray = world.operations[0].clone();
        stray.auth_key = Uuid::max();
        world.operations.push(stray);
        Uuid::max().to_string()
    }),
    planted("a refund never reached the provider", Invariant::I4, |world| {
        let order = refunded(world);
        operation(world, order).refunded_minor = 0;
        order.to_string()
    }),
    planted("a payment row took less", Invariant::I4, |world| {
        let order = confirmed(world);
        world.payments.payments.iter_mut().find(|row| row.order == order).unwrap().captured_minor -= 1;
        order.to_string()
    }),
    planted("a ledger entry does not balance", Invariant::I4, |world| {
        world.payments.ledger[0].amount_minor -= 1;
        world.payments.ledger[0].order.to_string()
    }),
    planted("a capture was not booked", Invariant::I4, |world| {
        let order = world.payments.ledger[0].order;
        world.payments.ledger.retain(|row| row.order != order);
        order.to_string()
    }),
    planted("another amount was captured", Invariant::I4, |world| {
        let order = confirmed(world);
        let index = of(world, order, |body| matches!(body, Body::PaymentCaptured { .. }));
        let Body::PaymentCaptured { amount, .. } = &mut world.records[index].body else { panic!() };
        *amount = Money { minor: amount.minor + 1, currency: amount.currency.clone() };
        order.to_string()
    }),
    planted("a total does not add up", Invariant::I4, |world| {
        let index = at(world, |body| matches!(body, Body::OrderPlaced(_)));
        let Body::OrderPlaced(placed) = &mut world.records[index].body else { panic!() };
        placed.total.minor += 1;
        placed.order.to_string()
    }),
    planted("an order never ended", Invariant::I5, |world| {
        let order = refunded(world);
        let index = of(world, order, |body| matches!(body, Body::OrderCancelled { .. }));
        remove(world, index);
        order.to_string()
    }),
    planted("a saga never ended", Invariant::I5, |world| {
        let order = confirmed(world);
        let index = of(world, order, |body| matches!(body, Body::SagaEnded { .. }));
        remove(world, index);
        order.to_string()
    }),
    planted("a stuck saga is not listed", Invariant::I5, |world| {
        let saga = world.orders.sagas.iter_mut().find(|saga| saga.status.as_ref() == "stuck").unwrap();
        saga.status = "running".into();
        saga.order.to_string()
    }),
    planted("an order was confirmed and cancelled", Invariant::I5, |world| {
        let order = confirmed(world);
        let index = of(world, order, |body| matches!(body, Body::OrderConfirmed { .. }));
        let mut record = world.records[index].clone();
        record.body = Body::OrderCancelled { order, reason: "failed".into() };
        append(world, record);
        order.to_string()
    }),
    planted("SQL gives another reason", Invariant::I5, |world| {
        let order = refunded(world);
        world.orders.orders.iter_mut().find(|row| row.id == order).unwrap().reason = Some("out_of_stock".into());
        order.to_string()
    }),
    planted("a stream has a hole", Invariant::I6, |world| {
        let index = at(world, |body| matches!(body, Body::SagaEnded { .. }));
        let record = &mut world.records[index];
        record.headers.version = record.headers.version.map(|version| version + 1);
        record.headers.stream.to_string()
    }),
    planted("a stream skipped a version, in the database too", Invariant::I6, |world| {
        let index = at(world, |body| matches!(body, Body::SagaEnded { .. }));
        let record = &mut world.records[index];
        record.headers.version = record.headers.version.map(|version| version + 1);
        let (id, stream) = (record.id(), record.headers.stream.clone());
        let log = &mut world.orders.log;
        log.events.iter_mut().find(|row| row.event_id.to_string() == id).unwrap().version += 1;
        log.streams.iter_mut().find(|(name, _)| *name == stream).unwrap().1 += 1;
        stream.to_string()
    }),
    planted("a version comes twice", Invariant::I6, |world| {
        let index = at(world, |body| matches!(body, Body::OrderConfirmed { .. }));
        let record = &mut world.records[index];
        record.headers.version = Some(1);
        record.id()
    }),
    planted("two records of a stream changed places", Invariant::I6, |world| {
        let order = confirmed(world);
        let first = of(world, order, |body| matches!(body, Body::OrderPlaced(_)));
        let second = of(world, order, |body| matches!(body, Body::OrderConfirmed { .. }));
        let (a, b) = (world.records[first].offset, world.records[second].offset);
        world.records[first].offset = b;
        world.records[second].offset = a;
        world.records.swap(first, second);
        format!("order-{order}")
    }),
    planted("a record is on another partition", Invariant::I6, |world| {
        let index = at(world, |body| matches!(body, Body::PaymentVoided { .. }));
        let mut record = remove(world, index);
        record.partition = (record.partition + 1) % 3;
        append(world, record)
    }),
    planted("a record has another key", Invariant::I6, |world| {
        let index = at(world, |body| matches!(body, Body::PaymentVoided { .. }));
        set_headers(world, index, |record| record.key = "other".into())
    }),
    planted("an event's bytes differ", Invariant::I7, |world| {
        world.payments.log.events[3].hash[0] ^= 1;
        world.payments.log.events[3].event_id.to_string()
    }),
    planted("an event row vanished", Invariant::I7, |world| world.inventory.log.events.remove(5).event_id.to_string()),
    planted("an outbox row was never published", Invariant::I7, |world| {
        let index = at(world, |body| matches!(body, Body::CommitInventoryHold { .. }));
        remove(world, index).id()
    }),
    planted("half a transaction is in the outbox", Invariant::I7, |world| {
        let row = world.orders.log.outbox.remove(1);
        (row.id / 8192 * 8192).to_string()
    }),
    planted("the relay's position is behind", Invariant::I7, |world| {
        world.positions[2].cursor -= 1;
        Service::Payments.to_string()
    }),
    planted("a folded stream is behind its events", Invariant::I7, |world| {
        world.orders.log.streams[0].1 -= 1;
        world.orders.log.streams[0].0.to_string()
    }),
    planted("demand forgot an order", Invariant::I7, |world| {
        world.inventory.demand[0].1 -= 1;
        world.inventory.demand[0].0.to_string()
    }),
    planted("a price was projected wrongly", Invariant::I7, |world| {
        world.orders.prices[2].1.minor += 1;
        world.orders.prices[2].0.to_string()
    }),
    planted("a record was published twice", Invariant::I8, |world| {
        let index = at(world, |body| matches!(body, Body::ReleaseInventoryHold { .. }));
        let record = world.records[index].clone();
        append(world, record)
    }),
    planted("a record was lost from the chain", Invariant::I8, |world| {
        let index = at(world, |body| matches!(body, Body::VoidPayment { .. }));
        let lost = remove(world, index);
        let next = world.records[index..].iter().find(|record| record.committed).unwrap();
        assert_eq!((next.topic, next.partition), (lost.topic, lost.partition));
        next.id()
    }),
    planted("a header is there twice", Invariant::I8, |world| {
        set_headers(world, 9, |record| {
            record.committed = true;
            record.headers.faults.push("header ce_id is there more than once".into());
        })
    }),
    planted("the type header lies", Invariant::I8, |world| {
        let index = at(world, |body| matches!(body, Body::PaymentVoided { .. }));
        set_headers(world, index, |record| record.headers.full_name = "payments.PaymentDeclined".into())
    }),
    planted("a value cannot be read", Invariant::I8, |world| {
        let index = at(world, |body| matches!(body, Body::PaymentVoided { .. }));
        set_headers(world, index, |record| record.body = Body::Unreadable("schema 9 is unknown".into()))
    }),
    planted("a transaction hangs", Invariant::I8, |world| {
        let end = world.ends.iter_mut().find(|end| end.topic == Topic::OrdersSaga).unwrap();
        end.stable -= 1;
        format!("{}[{}]", end.topic, end.partition)
    }),
    planted("a rolled back decision is on the topic", Invariant::I9, |world| {
        let index = at(world, |body| matches!(body, Body::OrderConfirmed { .. }));
        let mut record = world.records[index].clone();
        record.headers.id = Some(Uuid::max());
        append(world, record)
    }),
    planted("somebody else wrote to the topic", Invariant::I9, |world| {
        let index = at(world, |body| matches!(body, Body::PaymentCaptured { .. }));
        set_headers(world, index, |record| record.headers.src.as_mut().unwrap().service = "orders".into())
    }),
    planted("a refused request made an order", Invariant::I9, |world| {
        let entry = acknowledged(world);
        let key = entry.key.clone().unwrap();
        for entry in http(world).iter_mut().filter(|entry| entry.key.as_ref() == Some(&key)) {
            entry.status = Some(422);
            entry.outcome = Outcome::Refused;
        }
        key
    }),
];

/// Corruptions of what aborted records prove, and of causes and effects.
const MORE: [Planted; 10] = [
    planted("an aborted record was never committed again", Invariant::I9, |world| {
        let aborted = world.records.iter().find(|record| !record.committed).unwrap().clone();
        world
            .records
            .retain(|record| !(record.committed && record.headers.seq == aborted.headers.seq && record.headers.src == aborted.headers.src));
        aborted.id()
    }),
    planted("a record was sent before its transaction committed", Invariant::I9, |world| {
        let index = at(world, |body| matches!(body, Body::OrderConfirmed { .. }));
        let mut record = world.records[index].clone();
        record.committed = false;
        record.headers.id = Some(Uuid::max());
        record.headers.seq = Some(7);
        append(world, record)
    }),
    planted("a cause is nowhere", Invariant::I10, |world| {
        let index = at(world, |body| matches!(body, Body::PaymentCaptured { .. }));
        set_headers(world, index, |record| record.headers.cause = Some(Uuid::max()))
    }),
    planted("a decision has no cause", Invariant::I10, |world| {
        let index = at(world, |body| matches!(body, Body::OrderConfirmed { .. }));
        set_headers(world, index, |record| record.headers.cause = Some(Uuid::max()))
    }),
    planted("a command had no effect", Invariant::I10, |world| {
        let index = at(world, |body| matches!(body, Body::InventoryHoldCommitted { .. }));
        remove(world, index).headers.cause.unwrap().to_string()
    }),
    planted("a command had two effects", Invariant::I10, |world| {
        let index = at(world, |body| matches!(body, Body::InventoryHoldReleased { .. }));
        let mut record = world.records[index].clone();
        record.headers.id = Some(Uuid::max());
        let command = record.headers.cause.unwrap().to_string();
        append(world, record);
        command
    }),
    planted("a command was sent twice", Invariant::I10, |world| {
        let index = at(world, |body| matches!(body, Body::VoidPayment { .. }));
        let mut record = world.records[index].clone();
        record.headers.id = Some(Uuid::max());
        append(world, record)
    }),
    planted("a payment was captured after its void", Invariant::I10, |world| {
        let index = at(world, |body| matches!(body, Body::PaymentVoided { .. }));
        let mut record = world.records[index].clone();
        record.headers.id = Some(Uuid::max());
        record.body = Body::PaymentCaptured { order: record.body.order().unwrap(), amount: Money { minor: 1, currency: "USD".into() } };
        append(world, record)
    }),
    planted("causes go in a circle", Invariant::I10, |world| {
        let order = confirmed(world);
        let effect = of(world, order, |body| matches!(body, Body::InventoryReserved { .. }));
        let id = world.records[effect].headers.id;
        let command = of(world, order, |body| matches!(body, Body::CreateInventoryHold { .. }));
        world.records[command].headers.cause = id;
        world.records[command].id()
    }),
    planted("an order was moved on by another's answer", Invariant::I10, |world| {
        let other = refunded(world);
        let order = confirmed(world);
        let cause = of(world, other, |body| matches!(body, Body::InventoryReserved { .. }));
        let cause = world.records[cause].headers.cause;
        let index = of(world, order, |body| matches!(body, Body::OrderConfirmed { .. }));
        set_headers(world, index, |record| record.headers.cause = cause)
    }),
];

#[test]
fn every_planted_corruption_is_named_by_its_invariant_with_its_id() {
    let mut missed = Vec::new();
    for seed in [11, 12] {
        let clean = Builder::build(seed, Shape { orders: 150, ..Shape::default() });
        assert!(check(&clean).clean());
        for planted in ALL.iter().chain(&MORE) {
            let mut world = clean.clone();
            let id = (planted.plant)(&mut world);
            let report = check(&world);
            let named = report
                .findings
                .iter()
                .filter(|finding| finding.invariant == planted.invariant)
                .any(|finding| finding.violations.iter().any(|violation| violation.ids.contains(&id)));
            if !named {
                missed.push(format!("seed {seed}: {:?} should name {id} for: {}\n{report}", planted.invariant, planted.name));
            }
        }
    }
    assert!(missed.is_empty(), "{} missed\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn every_invariant_has_a_corruption_that_only_it_names() {
    let clean = Builder::build(11, Shape { orders: 150, ..Shape::default() });
    let alone: Vec<Invariant> = ALL
        .iter()
        .chain(&MORE)
        .filter_map(|planted| {
            let mut world = clean.clone();
            (planted.plant)(&mut world);
            let broken: Vec<Invariant> = check(&world)
                .findings
                .into_iter()
                .filter(|finding| !finding.violations.is_empty())
                .map(|finding| finding.invariant)
                .collect();
            (broken == [planted.invariant]).then_some(planted.invariant)
        })
        .collect();
    for invariant in check(&clean).findings.iter().map(|finding| finding.invariant) {
        assert!(alone.contains(&invariant), "nothing is named by {invariant} alone");
    }
}
