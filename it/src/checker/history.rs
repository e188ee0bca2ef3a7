//! I6 and I7: streams have no hole, and the databases say what the topics say.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::finding::{Finding, Invariant};
use super::message::{Body, Money};
use super::world::{EventRow, Record, Service, Topic, World};

/// Versions are contiguous: each stream is on one partition, the one that Java's partitioner chooses for its key, and its
/// records have the versions 1, 2, 3 … in topic order. Key and stream are those that the value calls for.
#[must_use]
pub fn i6(world: &World) -> Finding {
    let mut finding = Finding::new(Invariant::I6);
    let mut partitions: HashMap<Topic, i32> = HashMap::new();
    for end in &world.ends {
        let count = partitions.entry(end.topic).or_default();
        *count = (*count).max(end.partition + 1);
    }
    let mut last: HashMap<&str, (&Record, i64)> = HashMap::new();
    for record in world.committed() {
        let ids = || [record.headers.stream.to_string(), record.id()];
        if let (Some(key), Some(stream)) = (record.body.key(), record.body.stream()) {
            finding.check(key == *record.key, ids, || format!("key is {} for {key} at {}", record.key, record.place()));
            finding.check(stream == *record.headers.stream, ids, || format!("stream should be {stream} at {}", record.place()));
        }
        if let Some(count) = partitions.get(&record.topic).filter(|count| **count > 0) {
            let chosen = partition_for(record.key.as_bytes(), *count);
            finding
                .check(chosen == record.partition, ids, || format!("key {} belongs on partition {chosen}: {}", record.key, record.place()));
        }
        let Some(version) = record.headers.version else {
            finding.check(record.topic.carries_commands(), ids, || format!("event without a stream-version: {}", record.place()));
            continue;
        };
        if record.topic.carries_commands() {
            finding.broken(ids(), format!("command with a stream-version: {}", record.place()));
            continue;
        }
        let before = last.insert(&record.headers.stream, (record, version));
        let expected = before.map_or(1, |(_, version)| version + 1);
        finding.check(version == expected, ids, || format!("version {version} where {expected} was due: {}", record.place()));
        if let Some((before, _)) = before {
            let same = (before.topic, before.partition) == (record.topic, record.partition);
            finding.check(same, ids, || format!("stream is at {} and at {}", before.place(), record.place()));
        }
    }
    finding
}

/// The partition Java clients choose.
///
/// Source: `org.apache.kafka.clients.producer.internals.BuiltInPartitioner#partitionForKey`.
fn partition_for(key: &[u8], partitions: i32) -> i32 {
    let hash = murmur2::murmur2(key, murmur2::KAFKA_SEED) & 0x7fff_ffff;
    i32::try_from(hash).map_or(0, |hash| hash % partitions.max(1))
}

/// The databases are the log: every event row is on its topic with the same bytes and every event of the topic is a row;
/// every outbox row is published under its id, in whole transactions, and the relay's position is past the last one; the
/// projections hold what the events say.
#[must_use]
pub fn i7(world: &World) -> Finding {
    let mut finding = Finding::new(Invariant::I7);
    let published: HashMap<Uuid, &Record> = world.committed().filter_map(|record| Some((record.headers.id?, record))).collect();
    for service in Service::ALL {
        events(&mut finding, world, service, &published);
        outbox(&mut finding, world, service);
    }
    orders(&mut finding, world);
    demand(&mut finding, world);
    prices(&mut finding, world);
    finding
}

fn events(finding: &mut Finding, world: &World, service: Service, published: &HashMap<Uuid, &Record>) {
    let log = world.log(service);
    let mut versions: BTreeMap<&str, i64> = BTreeMap::new();
    let mut rows: HashMap<Uuid, &EventRow> = HashMap::with_capacity(log.events.len());
    for row in &log.events {
        let ids = || [row.event_id.to_string(), row.stream.to_string()];
        rows.insert(row.event_id, row);
        let last = versions.entry(&row.stream).or_default();
        *last = (*last).max(row.version);
        let Some(record) = published.get(&row.event_id) else {
            finding.broken(ids(), format!("event {} of {service} is not on {}", row.full_name, row.topic));
            continue;
        };
        finding.check(record.hash == row.hash, ids, || format!("bytes of event {} differ from {}", row.full_name, record.place()));
        let same = (
            record.topic.name(),
            record.headers.full_name.as_ref(),
            record.headers.stream.as_ref(),
            record.headers.version,
            record.headers.cause,
        ) == (&*row.topic, &*row.full_name, &*row.stream, Some(row.version), Some(row.causation_id));
        finding.check(same, ids, || {
            format!("topic, type, stream, version or cause of event {} differ from {}", row.full_name, record.place())
        });
    }
    for record in world.committed().filter(|record| record.topic.owner() == service && !record.topic.carries_commands()) {
        let stored = record.headers.id.is_some_and(|id| rows.contains_key(&id));
        finding.check(
            stored,
            || [record.id(), record.headers.stream.to_string()],
            || format!("event is not in the database of {service}: {}", record.place()),
        );
    }
    let streams: BTreeMap<&str, i64> = log.streams.iter().map(|(stream, version)| (stream.as_ref(), *version)).collect();
    for (stream, version) in &versions {
        let folded = streams.get(stream).copied();
        finding.check(
            folded == Some(*version),
            || [(*stream).to_owned()],
            || format!("stream is folded to {folded:?}, its events end at {version}"),
        );
    }
    for (stream, version) in streams.iter().filter(|(stream, version)| **version > 0 && !versions.contains_key(*stream)) {
        finding.broken([(*stream).to_owned()], format!("stream is folded to {version} and has no event"));
    }
}

fn outbox(finding: &mut Finding, world: &World, service: Service) {
    let log = world.log(service);
    let mut published: HashMap<i64, &Record> = HashMap::with_capacity(log.outbox.len());
    for record in world.committed().filter(|record| record.topic.owner() == service) {
        let ours = record.headers.src.as_ref().is_some_and(|src| src.incarnation == log.incarnation);
        if let (true, Some(seq)) = (ours, record.headers.seq) {
            published.insert(seq, record);
        }
    }
    let mut blocks: BTreeMap<i64, (i32, i32)> = BTreeMap::new();
    for row in &log.outbox {
        let ids = || [row.message_id.to_string(), row.id.to_string()];
        let block = blocks.entry(row.id / 8192).or_insert((0, row.tx_rows));
        block.0 += 1;
        finding.check(block.1 == row.tx_rows, ids, || format!("rows of one transaction of {service} disagree on how many they are"));
        // Timers, dead letters and decisions are records of no schema of ours; the runs that make them read their topics.
        if row.topic.contains(".retry.") || row.topic.ends_with(".dlq") || row.topic.ends_with(".dlq.decisions") {
            continue;
        }
        let Some(record) = published.get(&row.id) else {
            finding.broken(ids(), format!("outbox row of {service} for {} is not published", row.topic));
            continue;
        };
        let same = (record.headers.id, record.topic.name(), record.partition, record.key.as_ref(), record.hash)
            == (Some(row.message_id), &*row.topic, row.partition, &*row.key, row.hash);
        finding.check(same, ids, || format!("outbox row of {service} was published as something else: {}", record.place()));
    }
    for (block, (rows, tx_rows)) in blocks {
        finding.check(
            rows == tx_rows,
            || [(block * 8192).to_string()],
            || format!("transaction of {service} has {rows} of its {tx_rows} outbox rows"),
        );
    }
    let newest = log.outbox.iter().map(|row| row.id).max();
    match (newest, world.positions.iter().find(|position| position.service == service)) {
        (Some(newest), Some(position)) => {
            let past = position.incarnation == log.incarnation && position.cursor >= newest;
            finding.check(
                past,
                || [service.to_string(), newest.to_string()],
                || {
                    format!(
                        "position of the relay is {}/{}, the outbox ends at {}/{newest}",
                        position.incarnation, position.cursor, log.incarnation
                    )
                },
            );
        }
        (Some(newest), None) => finding.broken([service.to_string(), newest.to_string()], "relay has no position record".into()),
        (None, _) => {}
    }
}

/// Table `orders` says what `OrderPlaced` said.
fn orders(finding: &mut Finding, world: &World) {
    let mut placed: HashMap<Uuid, _> = HashMap::new();
    for record in world.committed() {
        if let Body::OrderPlaced(event) = &record.body {
            placed.insert(event.order, event);
        }
    }
    for row in &world.orders.orders {
        if let Some(event) = placed.remove(&row.id) {
            let same = (&row.customer, &row.lines, &row.total) == (&event.customer, &event.lines, &event.total);
            finding.check(same, || [row.id.to_string()], || "customer, lines or total differ from OrderPlaced".into());
        }
    }
    for order in placed.keys() {
        finding.broken([order.to_string()], "placed order has no row in orders".into());
    }
}

/// Table `demand` adds up what was ordered.
fn demand(finding: &mut Finding, world: &World) {
    let mut asked: HashMap<&str, i64> = HashMap::new();
    for record in world.committed() {
        if let Body::OrderPlaced(placed) = &record.body {
            for line in &placed.lines {
                *asked.entry(&line.sku).or_default() += line.quantity;
            }
        }
    }
    for (sku, units) in &world.inventory.demand {
        let told = asked.remove(sku.as_ref()).unwrap_or_default();
        finding.check(*units == told, || [sku.to_string()], || format!("demand is {units}, ordered were {told}"));
    }
    for (sku, units) in asked {
        finding.broken([sku.to_owned()], format!("demand is missing, ordered were {units}"));
    }
}

/// Both price tables hold the last price told.
fn prices(finding: &mut Finding, world: &World) {
    let mut told: HashMap<&str, &Money> = HashMap::new();
    for record in world.committed() {
        if let Body::ProductListed { sku, price } | Body::PriceChanged { sku, price } = &record.body {
            told.insert(sku, price);
        }
    }
    for (table, rows) in [("products", &world.inventory.products), ("prices", &world.orders.prices)] {
        let rows: HashMap<&str, &Money> = rows.iter().map(|(sku, price)| (sku.as_ref(), price)).collect();
        for (sku, price) in &told {
            let stored = rows.get(sku);
            finding.check(
                stored == Some(price),
                || [(*sku).to_owned()],
                || format!("price in {table} is {stored:?}, inventory.events says {price}"),
            );
        }
        for sku in rows.keys().filter(|sku| !told.contains_key(*sku)) {
            finding.broken([(*sku).to_owned()], format!("SKU in {table} was never listed"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::partition_for;

    /// Source: Kafka's `UtilsTest#testMurmur2`.
    #[test]
    fn the_partition_is_the_one_of_java_clients() {
        for (key, hash) in [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)] {
            assert_eq!(partition_for(key.as_bytes(), 7), (hash & 0x7fff_ffff) % 7, "{key}");
        }
    }
}
