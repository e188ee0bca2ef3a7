//! The relay's position: a record in a compacted topic, written in the same Kafka transaction as the rows it speaks of.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use uuid::Uuid;

use super::Error;

/// How far back the first look goes, in records; doubled until a position is found. One Kafka transaction takes three
/// offsets (position record and marker, rarely a sentinel).
const LOOK_BACK: i64 = 256;
/// How long one look at the position topic may take: an open transaction of a dead owner is aborted at our start, so
/// only a broker that is down or overloaded takes longer.
const READ_LIMIT: Duration = Duration::from_secs(15);
/// How long one poll waits; a fetch is answered at once when there is data.
const POLL: Duration = Duration::from_millis(50);

/// How long a topic may be unknown or without a leader before it counts as missing: one that was just made, or one whose
/// broker just started, is so for a moment.
const YOUNG_LIMIT: Duration = Duration::from_secs(5);

/// How far the outbox has been published, and the last `seq` in every topic partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The database's incarnation.
    pub incarnation: Uuid,
    /// Id of the last published outbox row; 0 before the first.
    pub cursor: i64,
    /// Message id of that row; nil before the first. Tells the row from another one with the same id after a restore.
    pub cursor_id: Uuid,
    /// The last `seq` per topic partition: the next record's `prev`.
    pub prev: Chain,
}

impl Position {
    /// The position before anything was published.
    #[must_use]
    pub fn first(incarnation: Uuid) -> Self {
        Self { incarnation, cursor: 0, cursor_id: Uuid::nil(), prev: Chain::default() }
    }

    /// The position topic of `service`: one partition, compacted.
    #[must_use]
    pub fn topic(service: &str) -> String {
        format!("{service}.relay.position")
    }

    /// Key of the sentinel that a new owner writes to know where the topic ends.
    #[must_use]
    pub fn fence_key(service: &str) -> String {
        format!("{service}.fence")
    }
}

/// The last `seq` per topic partition. As JSON one flat object, `{"orders.events-0": 8193}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain(BTreeMap<String, BTreeMap<i32, i64>>);

impl Chain {
    /// Sets the last `seq` of a topic partition and returns the one before it, 0 if there was none.
    pub fn advance(&mut self, topic: &str, partition: i32, seq: i64) -> i64 {
        if let Some(partitions) = self.0.get_mut(topic) {
            return partitions.insert(partition, seq).unwrap_or(0);
        }
        self.0.insert(topic.to_owned(), BTreeMap::from([(partition, seq)]));
        0
    }

    /// The last `seq` of a topic partition, 0 if there is none.
    #[must_use]
    pub fn last(&self, topic: &str, partition: i32) -> i64 {
        self.0.get(topic).and_then(|partitions| partitions.get(&partition)).copied().unwrap_or(0)
    }
}

impl Chain {
    /// Every topic partition that was ever written to.
    pub fn places(&self) -> impl Iterator<Item = (&str, i32)> {
        self.0.iter().flat_map(|(topic, partitions)| partitions.keys().map(move |partition| (topic.as_str(), *partition)))
    }
}

impl Serialize for Chain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (topic, partitions) in &self.0 {
            for (partition, seq) in partitions {
                map.serialize_entry(&format_args!("{topic}-{partition}"), seq)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut chain = Self::default();
        for (place, seq) in BTreeMap::<String, i64>::deserialize(deserializer)? {
            let (topic, partition) = place
                .rsplit_once('-')
                .and_then(|(topic, partition)| Some((topic, partition.parse().ok()?)))
                .ok_or_else(|| de::Error::custom(format_args!("{place} is not a topic partition")))?;
            chain.advance(topic, partition, seq);
        }
        Ok(chain)
    }
}

/// How far a look at the position topic must reach before what it found is the newest.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until<'a> {
    /// The sentinel with this value, written by the reader itself after it fenced every other owner: exact.
    Sentinel(&'a str),
    /// The last stable offset at the time of the call. Positions committed meanwhile may be missed, which a reader that
    /// only compares incarnation and row can bear.
    Stable,
}

/// The newest committed position record of `service`, or `None` if there is none. Blocks the calling thread.
///
/// Reads (`read_committed`) forward from 256 records below the end, doubling the distance until a position is found.
/// See docs/decisions/0002-position-sentinel.md.
///
/// # Errors
/// [`Error::Kafka`], [`Error::PositionTimeout`] if the end was not reached in 15 s, [`Error::PositionUnreadable`].
pub(crate) fn newest(client: &ClientConfig, service: &str, until: Until<'_>) -> Result<Option<Position>, Error> {
    let topic = Position::topic(service);
    let consumer = make(&reader(client, service))?;
    let started = Instant::now();
    let mut back = LOOK_BACK;
    loop {
        let Some((low, end)) = ends(&consumer, &topic)? else { return Ok(None) };
        let start = low.max(end.saturating_sub(back));
        if let Some(position) = forward(&consumer, service, &topic, start, end, until, started)? {
            return Ok(Some(position));
        }
        if start > low {
            back = back.saturating_mul(2);
        } else if matches!(until, Until::Sentinel(_)) || !unfinished(client, &topic, end)? {
            return Ok(None);
        } else if started.elapsed() > READ_LIMIT {
            return Err(Error::PositionTimeout { topic, waited: READ_LIMIT });
        } else {
            thread::sleep(POLL);
        }
    }
}

/// The end of a partition is what such a reader looks for, not an error to log.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "a reader of whole topics reports");
        }
    }
}

impl ConsumerContext for Quiet {}

fn make(config: &ClientConfig) -> Result<BaseConsumer<Quiet>, Error> {
    config.create_with_context(Quiet).map_err(Error::kafka("make a reader of the position topic"))
}

/// Whether a transaction that is not finished hides records from `stable_end` on, as one does for some milliseconds after
/// its commit was answered: the broker writes its markers later.
fn unfinished(client: &ClientConfig, topic: &str, stable_end: i64) -> Result<bool, Error> {
    let mut config = client.clone();
    config.set("isolation.level", "read_uncommitted");
    let consumer = make(&config)?;
    Ok(ends(&consumer, topic)?.is_some_and(|(_, high)| high > stable_end))
}

/// A partition whose readers wait behind a transaction that nobody will end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hanging {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Where they wait; told in the log.
    pub(crate) from: i64,
}

/// The partitions of `written` that a transaction without an owner keeps their readers from reading on: it has neither been
/// committed nor aborted there, although every transaction of this service has ended.
///
/// Call it after the sentinels were seen and before anything else is sent. See `docs/errors/transaction_hanging.md`.
///
/// # Errors
/// [`Error::Kafka`].
pub(crate) fn hanging(client: &ClientConfig, service: &str, written: &Chain) -> Result<Vec<Hanging>, Error> {
    let stable = make(&reader(client, service))?;
    let mut config = reader(client, service);
    config.set("isolation.level", "read_uncommitted");
    let all = make(&config)?;
    let mut found = Vec::new();
    for (topic, partition) in written.places() {
        let end = |consumer: &BaseConsumer<Quiet>| {
            consumer.fetch_watermarks(topic, partition, READ_LIMIT).map_err(Error::kafka("ask for the end of a topic's partition"))
        };
        let ((_, last_stable), (_, last)) = (end(&stable)?, end(&all)?);
        if last_stable < last {
            found.push(Hanging { topic: topic.to_owned(), partition, from: last_stable });
        }
    }
    Ok(found)
}

/// The first offset and the last stable offset of the position topic; `None` if there is no such topic.
fn ends(consumer: &BaseConsumer<Quiet>, topic: &str) -> Result<Option<(i64, i64)>, Error> {
    let started = Instant::now();
    loop {
        let source = match consumer.fetch_watermarks(topic, 0, READ_LIMIT) {
            Ok(ends) => return Ok(Some(ends)),
            Err(source) => source,
        };
        let code = source.rdkafka_error_code();
        let missing = matches!(
            code,
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition)
        );
        let young = matches!(code, Some(RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable));
        if (missing || young) && started.elapsed() < YOUNG_LIMIT {
            thread::sleep(POLL);
        } else if missing {
            return Ok(None);
        } else {
            return Err(Error::Kafka { doing: "ask for the end of the position topic", source });
        }
    }
}

/// Settings of the reader. It never joins a group or commits; librdkafka wants a group id for any assignment.
fn reader(client: &ClientConfig, service: &str) -> ClientConfig {
    let mut config = client.clone();
    config
        .set("group.id", super::reader_group(service))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "100")
        .set("allow.auto.create.topics", "false");
    config
}

/// Reads from `start` to the sentinel or the stable end; the last position seen.
fn forward(
    consumer: &BaseConsumer<Quiet>,
    service: &str,
    topic: &str,
    start: i64,
    end: i64,
    until: Until<'_>,
    started: Instant,
) -> Result<Option<Position>, Error> {
    if matches!(until, Until::Stable) && start >= end {
        return Ok(None);
    }
    let mut assignment = TopicPartitionList::with_capacity(1);
    assignment.add_partition_offset(topic, 0, Offset::Offset(start)).map_err(Error::kafka("choose where to read the position topic"))?;
    consumer.assign(&assignment).map_err(Error::kafka("read the position topic"))?;
    let mut found = None;
    while started.elapsed() < READ_LIMIT {
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => {
                let key = message.key().unwrap_or_default();
                if key == service.as_bytes() {
                    found = message.payload().map(|value| parse(value, message.offset())).transpose()?;
                } else if let Until::Sentinel(nonce) = until
                    && key == Position::fence_key(service).as_bytes()
                    && message.payload() == Some(nonce.as_bytes())
                {
                    return Ok(found);
                }
                if matches!(until, Until::Stable) && message.offset() + 1 >= end {
                    return Ok(found);
                }
            }
            // The fetcher is at the last stable offset or beyond it: nothing visible below `end` is still to come.
            Some(Err(KafkaError::PartitionEOF(_))) => {
                if matches!(until, Until::Stable) {
                    return Ok(found);
                }
            }
            Some(Err(source)) => return Err(Error::Kafka { doing: "read the position topic", source }),
        }
    }
    Err(Error::PositionTimeout { topic: topic.to_owned(), waited: READ_LIMIT })
}

fn parse(value: &[u8], offset: i64) -> Result<Position, Error> {
    serde_json::from_slice(value).map_err(|source| Error::PositionUnreadable { offset, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_is_flat_json() {
        let mut position = Position { cursor: 16_385, ..Position::first(Uuid::from_u128(7)) };
        assert_eq!(position.prev.advance("orders.retry.5s", 2, 8_193), 0);
        assert_eq!(position.prev.advance("orders.retry.5s", 2, 16_385), 8_193);
        assert_eq!(position.prev.advance("a-b", 0, 9_000), 0);
        let json = serde_json::to_string(&position).unwrap();
        assert!(json.contains(r#""prev":{"a-b-0":9000,"orders.retry.5s-2":16385}"#), "{json}");
        assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
    }

    #[test]
    fn a_record_that_is_no_position_is_named_by_its_offset() {
        let error = parse(b"{\"cursor\":1}", 41).unwrap_err();
        assert_eq!(error.code(), "position_unreadable");
        assert!(error.to_string().contains("41"));
    }
}
