//! Reading whole topics that nobody writes to any more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::Error;
use crate::consumer::{Fetched, fetched};
use crate::relay::Quiet;

/// Records handed over in one piece.
const CHUNK: usize = 2_000;
/// Pieces on their way; the reader waits beyond.
const PIECES: usize = 4;
/// How long the broker may say nothing new.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the end of a transaction may take to become visible.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(10);

/// First offset and end of each partition of a topic, by number.
pub(crate) type Extent = Vec<(i64, i64)>;

fn reader(client: &ClientConfig, isolation: &str) -> Result<BaseConsumer<Quiet>, Error> {
    let mut config = client.clone();
    config
        // librdkafka wants a group for any assignment; nothing joins or commits. The one of the client's name may be described.
        .set("group.id", client.get("client.id").unwrap_or("rebuild"))
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("fetch.message.max.bytes", (crate::retry::LETTER_BYTES_MAX + 65_536).to_string())
        .set("allow.auto.create.topics", "false");
    config.create_with_context(Quiet).map_err(|source| Error::Kafka { doing: "make a reader".to_owned(), source })
}

fn extent_of(consumer: &BaseConsumer<Quiet>, topic: &str, partitions: i32) -> Result<Extent, Error> {
    (0..partitions)
        .map(|partition| {
            consumer
                .fetch_watermarks(topic, partition, ANSWER)
                .map_err(|source| Error::Kafka { doing: format!("ask for the ends of {topic}"), source })
        })
        .collect()
}

/// Where the partitions of `topic` begin and end now, records of open transactions included. Blocks.
pub(crate) fn extent(client: &ClientConfig, topic: &str, partitions: i32) -> Result<Extent, Error> {
    extent_of(&reader(client, "read_uncommitted")?, topic, partitions)
}

/// Waits until no transaction is open on `topic`: its owner is fenced, so what ends it is on its way. Answers its extent.
fn settled(client: &ClientConfig, topic: &str, partitions: i32) -> Result<Extent, Error> {
    let (stable, high) = (reader(client, "read_committed")?, reader(client, "read_uncommitted")?);
    let since = Instant::now();
    loop {
        let (stable, high) = (extent_of(&stable, topic, partitions)?, extent_of(&high, topic, partitions)?);
        if stable == high {
            return Ok(high);
        }
        if since.elapsed() > SETTLED_WITHIN {
            return Err(Error::broken(
                "transaction_hanging",
                format!("a transaction on {topic} has no end: readable to {stable:?} of {high:?}"),
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every committed record of `topic`, in order within each partition, in pieces. What ended the reading comes last.
pub(crate) fn whole(client: &ClientConfig, topic: &str, partitions: i32) -> mpsc::Receiver<Result<Vec<Fetched>, Error>> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let (client, topic) = (client.clone(), topic.to_owned());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read(&client, &topic, partitions, &sender)
            && sender.blocking_send(Err(error)).is_err()
        {
            tracing::debug!(topic, "nobody reads this topic any more");
        }
    });
    receiver
}

fn read(client: &ClientConfig, topic: &str, partitions: i32, sender: &mpsc::Sender<Result<Vec<Fetched>, Error>>) -> Result<(), Error> {
    let failed = |source| Error::Kafka { doing: format!("read {topic}"), source };
    let extent = settled(client, topic, partitions)?;
    let consumer = reader(client, "read_committed")?;
    let mut open = BTreeSet::new();
    let mut list = TopicPartitionList::new();
    for (partition, (low, high)) in (0..).zip(&extent) {
        if low < high {
            list.add_partition_offset(topic, partition, Offset::Offset(*low)).map_err(failed)?;
            open.insert(partition);
        }
    }
    consumer.assign(&list).map_err(failed)?;
    let mut piece = Vec::with_capacity(CHUNK);
    let mut heard = Instant::now();
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            None if heard.elapsed() > SILENCE => {
                return Err(Error::broken("kafka_unavailable", format!("nothing was heard of {topic} for {SILENCE:?}")));
            }
            None => continue,
            // Nobody writes here any more, so an end is the end.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(message)) => piece.push(fetched(&message)),
        }
        heard = Instant::now();
        if piece.len() >= CHUNK && sender.blocking_send(Ok(std::mem::replace(&mut piece, Vec::with_capacity(CHUNK)))).is_err() {
            return Ok(());
        }
    }
    if !piece.is_empty() && sender.blocking_send(Ok(piece)).is_err() {
        tracing::debug!(topic, "nobody reads this topic any more");
    }
    Ok(())
}
