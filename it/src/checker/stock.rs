//! I3: stock is conserved.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::finding::{Finding, Invariant};
use super::message::{Body, Units};
use super::story::{End, sorted, stories};
use super::world::{Record, StockRow, Topic, World};

/// Stock is conserved. By SQL: received = available + held + shipped for each SKU. By the topic: replaying
/// `inventory.events` in the order of (incarnation, seq) never drives a SKU below zero and ends at SQL's figures, every
/// release gives back what was held, and a hold is committed exactly for the confirmed orders, with the lines ordered.
#[must_use]
pub fn i3(world: &World) -> Finding {
    let mut finding = Finding::new(Invariant::I3);
    tables(&mut finding, world);
    replay(&mut finding, world);
    holds(&mut finding, world);
    finding
}

/// SQL agrees with itself.
fn tables(finding: &mut Finding, world: &World) {
    let states: HashMap<Uuid, &str> = world.inventory.holds.iter().map(|(order, state)| (*order, state.as_ref())).collect();
    let mut bound: HashMap<&str, i64> = HashMap::new();
    for line in &world.inventory.hold_lines {
        match states.get(&line.order) {
            Some(&("held" | "committed")) => *bound.entry(&line.sku).or_default() += line.quantity,
            Some(_) => {}
            None => finding.broken([line.order.to_string(), line.sku.to_string()], "line of a hold that does not exist".into()),
        }
    }
    for row in &world.inventory.stock {
        let bound = bound.remove(row.sku.as_ref()).unwrap_or_default();
        finding.check(
            row.received == row.available + bound,
            || [row.sku.to_string()],
            || format!("received {} is not available {} + held and shipped {bound}", row.received, row.available),
        );
        finding.check(row.available >= 0, || [row.sku.to_string()], || format!("available is {}", row.available));
    }
    for (sku, units) in bound {
        finding.broken([sku.to_owned()], format!("{units} units held or shipped of a SKU without stock"));
    }
}

/// Received and available of one SKU as the topic tells them.
#[derive(Default)]
struct Told {
    received: i64,
    available: i64,
}

/// The topic never oversells and agrees with SQL.
fn replay(finding: &mut Finding, world: &World) {
    let mut told: BTreeMap<&str, Told> = BTreeMap::new();
    for record in in_order_of_writing(world) {
        let mut change = |sku, received: i64, available: i64| {
            let told: &mut Told = told.entry(sku).or_default();
            told.received += received;
            told.available += available;
            let now = told.available;
            finding.check(
                now >= 0,
                || [<&str>::to_string(&sku), record.id()],
                || format!("available falls to {now} at {}", record.place()),
            );
        };
        if let Body::StockReceived { sku, units } | Body::StockAdjusted { sku, units } = &record.body {
            change(sku.as_ref(), *units, *units);
        } else if let Body::InventoryReserved { lines, .. } = &record.body {
            lines.iter().for_each(|(sku, units)| change(sku, 0, -units));
        } else if let Body::InventoryHoldReleased { lines, .. } = &record.body {
            lines.iter().for_each(|(sku, units)| change(sku, 0, *units));
        }
    }
    let stock: HashMap<&str, &StockRow> = world.inventory.stock.iter().map(|row| (row.sku.as_ref(), row)).collect();
    for row in &world.inventory.stock {
        let (received, available) = told.get(row.sku.as_ref()).map_or((0, 0), |told| (told.received, told.available));
        finding.check(
            row.available == available,
            || [row.sku.to_string()],
            || format!("available is {} in SQL, {available} by inventory.events", row.available),
        );
        finding.check(
            row.received == received,
            || [row.sku.to_string()],
            || format!("received is {} in SQL, {received} by inventory.events", row.received),
        );
    }
    for (sku, _) in told.iter().filter(|(sku, _)| !stock.contains_key(*sku)) {
        finding.broken([(*sku).to_owned()], "SKU on inventory.events has no stock in SQL".into());
    }
}

/// The records of `inventory.events` by (incarnation, seq), incarnations by their first record's time: the order of the
/// owner's transactions, which partitions alone do not tell.
fn in_order_of_writing(world: &World) -> Vec<&Record> {
    let mut records: Vec<&Record> = world.committed().filter(|record| record.topic == Topic::InventoryEvents).collect();
    let mut since: HashMap<Uuid, i64> = HashMap::new();
    for record in &records {
        if let Some(src) = &record.headers.src {
            let first = since.entry(src.incarnation).or_insert(record.at_ms);
            *first = (*first).min(record.at_ms);
        }
    }
    records.sort_by_key(|record| {
        let incarnation = record.headers.src.as_ref().map(|src| src.incarnation).unwrap_or_default();
        (since.get(&incarnation).copied().unwrap_or_default(), incarnation, record.headers.seq)
    });
    records
}

/// Holds follow their orders.
fn holds(finding: &mut Finding, world: &World) {
    let states: HashMap<Uuid, &str> = world.inventory.holds.iter().map(|(order, state)| (*order, state.as_ref())).collect();
    let mut lines: HashMap<Uuid, Units> = HashMap::new();
    for line in &world.inventory.hold_lines {
        lines.entry(line.order).or_default().push((line.sku.clone(), line.quantity));
    }
    for (order, story) in &stories(world) {
        let ids = || [order.to_string()];
        let held = story.reserved.first().map(|lines| sorted(lines)).unwrap_or_default();
        let told = match (story.committed > 0, !story.released.is_empty(), !story.reserved.is_empty(), story.rejected > 0) {
            (true, ..) => Some("committed"),
            (_, true, ..) => Some("released"),
            (_, _, true, _) => Some("held"),
            (_, _, _, true) => Some("rejected"),
            (false, false, false, false) => None,
        };
        finding.check(story.reserved.len() <= 1, ids, || format!("stock was reserved {} times", story.reserved.len()));
        finding.check(story.committed + story.released.len() <= 1, ids, || {
            format!("hold was committed {} times and released {} times", story.committed, story.released.len())
        });
        let state = states.get(order).copied();
        finding.check(state == told, ids, || format!("hold is {state:?} in SQL, {told:?} by inventory.events"));
        if let Some(ordered) = story.placed.first().filter(|_| !story.reserved.is_empty()) {
            let ordered = sorted(&ordered.lines.iter().map(|line| (line.sku.clone(), line.quantity)).collect());
            finding.check(held == ordered, ids, || format!("reserved {held:?}, ordered {ordered:?}"));
        }
        if let Some(back) = story.released.first() {
            let back = sorted(back);
            finding.check(back == held, ids, || format!("released {back:?}, held {held:?}"));
        }
        if matches!(told, Some("held" | "committed")) {
            let stored = lines.get(order).map(sorted).unwrap_or_default();
            finding.check(stored == held, ids, || format!("hold has the lines {stored:?} in SQL, {held:?} by inventory.events"));
        }
        match story.end() {
            End::Confirmed => finding.check(story.committed == 1, ids, || format!("order is confirmed, its hold {told:?}")),
            End::Cancelled => {
                finding.check(!matches!(told, Some("held" | "committed")), ids, || format!("order is cancelled, its hold {told:?}"));
            }
            End::Open => {}
        }
    }
}
