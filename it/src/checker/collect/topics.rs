//! All topics, whole, as a `read_uncommitted` and as a `read_committed` reader sees them.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;
use uuid::Uuid;

use super::super::headers::Headers;
use super::super::world::{PartitionEnd, Position, Service, Topic};
use super::Error;

/// How long a partition may yield nothing before its end.
const STALL: Duration = Duration::from_secs(20);
/// How long an open transaction is waited for: a dead relay's is aborted by the coordinator within 20 s and a scan.
const OPEN_TRANSACTION: Duration = Duration::from_secs(25);
/// Broker requests.
const REQUEST: Duration = Duration::from_secs(10);

/// A record whose value is not decoded yet.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) topic: Topic,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) committed: bool,
    pub(super) at_ms: i64,
    pub(super) key: Box<str>,
    pub(super) headers: Headers,
    pub(super) value: Vec<u8>,
}

/// What the broker holds.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) ends: Vec<PartitionEnd>,
    pub(super) records: Vec<Raw>,
    pub(super) positions: Vec<Position>,
}

#[derive(Clone, Copy)]
enum Isolation {
    Uncommitted,
    Committed,
}

/// Reads every topic of the system from its start to the high watermark, both ways, and the relays' positions.
///
/// # Errors
/// [`Error::Kafka`], [`Error::TopicMissing`], [`Error::Stalled`].
pub(super) async fn read(bootstrap: &str, login: Option<&(String, String)>) -> Result<Read, Error> {
    let of = |isolation| {
        let (bootstrap, login) = (bootstrap.to_owned(), login.cloned());
        move || Reader::new(&bootstrap, login.as_ref(), isolation)
    };
    let (uncommitted, committed) = (of(Isolation::Uncommitted), of(Isolation::Committed));
    let bounds = tokio::task::spawn_blocking(move || bounds(&uncommitted()?, &committed()?)).await??;
    let (uncommitted, committed) = (of(Isolation::Uncommitted), of(Isolation::Committed));
    let (all, sure) = (bounds.clone(), bounds.clone());
    let all = tokio::task::spawn_blocking(move || {
        let (reader, mut records) = (uncommitted()?, Vec::new());
        for topic in Topic::ALL {
            reader.scan(topic.name(), &ranges(&all, topic, |end| end.high), |message| records.extend(raw(message)))?;
        }
        Ok::<_, Error>(records)
    });
    let sure = tokio::task::spawn_blocking(move || {
        let (reader, mut places) = (committed()?, HashSet::new());
        for topic in Topic::ALL {
            reader.scan(topic.name(), &ranges(&sure, topic, |end| end.stable), |message| {
                places.insert((topic, message.partition(), message.offset()));
            })?;
        }
        Ok::<_, Error>(places)
    });
    let committed = of(Isolation::Committed);
    let positions = tokio::task::spawn_blocking(move || {
        let reader = committed()?;
        Service::ALL.into_iter().filter_map(|service| reader.position(service).transpose()).collect::<Result<Vec<_>, _>>()
    });
    let (mut records, places, positions) = (all.await??, sure.await??, positions.await??);
    for record in &mut records {
        record.committed = places.contains(&(record.topic, record.partition, record.offset));
    }
    records.sort_by_key(|record| (record.topic, record.partition, record.offset));
    Ok(Read { ends: bounds, records, positions })
}

/// How far every partition reaches; waits a while for open transactions to end.
fn bounds(uncommitted: &Reader, committed: &Reader) -> Result<Vec<PartitionEnd>, Error> {
    let mut ends = Vec::new();
    let since = Instant::now();
    for topic in Topic::ALL {
        for partition in uncommitted.partitions(topic.name())? {
            let (low, high) = uncommitted.watermarks(topic.name(), partition)?;
            let mut stable = committed.watermarks(topic.name(), partition)?.1;
            while stable < high && since.elapsed() < OPEN_TRANSACTION {
                std::thread::sleep(Duration::from_millis(100));
                stable = committed.watermarks(topic.name(), partition)?.1;
            }
            ends.push(PartitionEnd { topic, partition, low, high, stable: stable.min(high) });
        }
    }
    Ok(ends)
}

/// What to read of `topic`, up to `end`.
fn ranges(ends: &[PartitionEnd], topic: Topic, end: impl Fn(&PartitionEnd) -> i64) -> Vec<(i32, i64, i64)> {
    ends.iter().filter(|each| each.topic == topic).map(|each| (each.partition, each.low, end(each))).collect()
}

fn raw(message: &BorrowedMessage<'_>) -> Option<Raw> {
    let topic = Topic::of_name(message.topic())?;
    let headers = message.headers();
    let pairs = headers.iter().flat_map(|headers| headers.iter()).map(|header| (header.key, header.value));
    Some(Raw {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        committed: false,
        at_ms: message.timestamp().to_millis().unwrap_or_default(),
        key: String::from_utf8_lossy(message.key().unwrap_or_default()).into(),
        headers: Headers::parse(pairs),
        value: message.payload().unwrap_or_default().to_vec(),
    })
}

/// A consumer outside any group.
struct Reader(BaseConsumer);

impl Reader {
    fn new(bootstrap: &str, login: Option<&(String, String)>, isolation: Isolation) -> Result<Self, Error> {
        let isolation = match isolation {
            Isolation::Uncommitted => "read_uncommitted",
            Isolation::Committed => "read_committed",
        };
        let mut client = ClientConfig::new();
        if let Some((user, password)) = login {
            client.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanism", "SCRAM-SHA-512");
            client.set("sasl.username", user).set("sasl.password", password);
        }
        client
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "it.checker") // demanded by the client; nothing is ever committed to it
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.message.max.bytes", "8388608")
            .set("check.crcs", "true")
            .create()
            .map(Self)
            .map_err(|source| Error::Kafka { what: "a consumer".into(), source })
    }

    fn partitions(&self, topic: &str) -> Result<Vec<i32>, Error> {
        let failed = |source| Error::Kafka { what: format!("metadata of {topic}"), source };
        let metadata = self.0.fetch_metadata(Some(topic), REQUEST).map_err(failed)?;
        let partitions: Vec<i32> =
            metadata.topics().iter().flat_map(|topic| topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::id)).collect();
        if partitions.is_empty() { Err(Error::TopicMissing(topic.to_owned())) } else { Ok(partitions) }
    }

    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), Error> {
        self.0
            .fetch_watermarks(topic, partition, REQUEST)
            .map_err(|source| Error::Kafka { what: format!("watermarks of {topic}[{partition}]"), source })
    }

    /// Yields every message of one topic in `ranges` (partition, first offset, offset after the last) that this isolation
    /// shows.
    fn scan(&self, topic: &str, ranges: &[(i32, i64, i64)], mut yielded: impl FnMut(&BorrowedMessage<'_>)) -> Result<(), Error> {
        let failed = |source| Error::Kafka { what: format!("records of {topic}"), source };
        let mut open: BTreeMap<i32, i64> = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        for (partition, first, end) in ranges.iter().filter(|(_, first, end)| first < end) {
            list.add_partition_offset(topic, *partition, Offset::Offset(*first)).map_err(failed)?;
            open.insert(*partition, *end);
        }
        if open.is_empty() {
            return Ok(());
        }
        self.0.assign(&list).map_err(failed)?;
        let mut last = Instant::now();
        while let Some((waiting, _)) = open.first_key_value() {
            match self.0.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    last = Instant::now();
                    let Some(end) = open.get(&message.partition()).copied() else { continue };
                    if message.offset() < end {
                        yielded(&message);
                    }
                    if message.offset() + 1 >= end {
                        open.remove(&message.partition());
                    }
                }
                // Markers and aborted records at the end yield no message: only this event tells that they were passed. It
                // names no topic, hence one topic at a time.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    last = Instant::now();
                    open.remove(&partition);
                }
                Some(Err(source)) => return Err(failed(source)),
                None if last.elapsed() > STALL => {
                    return Err(Error::Stalled { what: format!("{topic}[{waiting}]"), waited_s: STALL.as_secs() });
                }
                None => {}
            }
        }
        self.0.unassign().map_err(failed)
    }

    /// The newest committed position record of a service's relay; `None` when there is none or it has another form.
    ///
    /// It is looked for from the end, in doubling steps: the topic has a record for every transaction that was not
    /// compacted away yet.
    fn position(&self, service: Service) -> Result<Option<Position>, Error> {
        let topic = format!("{service}.relay.position");
        self.partitions(&topic)?;
        let (low, high) = self.watermarks(&topic, 0)?;
        let mut back = 1_024;
        loop {
            let first = low.max(high - back);
            let mut newest = None;
            self.scan(&topic, &[(0, first, high)], |message| {
                // a relay also writes markers of its own under other keys
                if message.key() != Some(service.name().as_bytes()) {
                    return;
                }
                newest = message.payload().and_then(|value| serde_json::from_slice::<PositionValue>(value).ok()).or(newest.take());
            })?;
            if let Some(PositionValue { incarnation, cursor }) = newest {
                return Ok(Some(Position { service, incarnation, cursor }));
            }
            if first == low {
                return Ok(None);
            }
            back *= 2;
        }
    }
}

/// The value of a position record, as far as it is judged.
#[derive(Deserialize)]
struct PositionValue {
    incarnation: Uuid,
    cursor: i64,
}
