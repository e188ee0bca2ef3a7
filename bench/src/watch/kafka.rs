//! Watching by reading `orders.events`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::flight::{Decision, Flight, Seen};

const TOPIC: &str = "orders.events";
const CONFIRMED: &[u8] = b"orders.OrderConfirmed";
const CANCELLED: &[u8] = b"orders.OrderCancelled";
/// How long the broker may take to tell where the topic ends.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon the thread notices that it is to stop.
const POLL: Duration = Duration::from_millis(100);

/// Why the topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka refuses or does not answer.
    #[error("read the end of topic {TOPIC}")]
    Kafka(#[from] KafkaError),
    /// There is no such topic.
    #[error("topic {TOPIC} has no partitions at these brokers: is the system up?")]
    NoTopic,
    /// The thread could not be started.
    #[error("start the thread that reads topic {TOPIC}")]
    Thread(#[source] std::io::Error),
    /// The thread died at its start.
    #[error("read the end of topic {TOPIC}: the thread died")]
    Died(#[from] oneshot::error::RecvError),
}

/// The reading thread; dropping it stops it.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been printed by its own hook already.
            drop(thread.join());
        }
    }
}

/// Reads the topic from its present end in a thread of its own. When this returns the position is fixed: no later decision is missed.
///
/// # Errors
/// [`Error`] when the topic does not exist or the brokers do not answer.
pub async fn start(bootstrap: String, flight: Arc<Flight>) -> Result<Running, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let (ready, started) = oneshot::channel();
    let told = Arc::clone(&stop);
    let body = move || match at_end(&bootstrap) {
        Ok(consumer) => {
            if ready.send(Ok(())).is_ok() {
                read(&consumer, &flight, &told);
            }
        }
        Err(error) => drop(ready.send(Err(error))),
    };
    let thread = thread::Builder::new().name("watch-orders".into()).spawn(body).map_err(Error::Thread)?;
    let running = Running { stop, thread: Some(thread) };
    started.await??;
    Ok(running)
}

fn at_end(bootstrap: &str) -> Result<BaseConsumer, Error> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench") // demanded by the client library; no group is joined and no offset committed
        .set("client.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(TOPIC), METADATA_TIMEOUT)?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .filter(|topic| topic.name() == TOPIC)
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    if partitions.is_empty() {
        return Err(Error::NoTopic);
    }
    let mut positions = TopicPartitionList::new();
    for partition in partitions {
        // An explicit offset, not "end": the end would be looked up later, after the first orders may have been decided.
        let (_, high) = consumer.fetch_watermarks(TOPIC, partition, METADATA_TIMEOUT)?;
        positions.add_partition_offset(TOPIC, partition, Offset::Offset(high))?;
    }
    consumer.assign(&positions)?;
    Ok(consumer)
}

fn read(consumer: &BaseConsumer, flight: &Flight, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        // Errors here are the broker's outages: the client library reconnects by itself, and the load has a patience of its own.
        if let Some(Ok(message)) = consumer.poll(POLL)
            && let Some(seen) = decision(&message)
        {
            flight.decided(&seen);
        }
    }
}

fn decision(message: &BorrowedMessage<'_>) -> Option<Seen> {
    let headers = message.headers()?;
    let decision = headers.iter().find(|header| header.key == "ce_type").and_then(|header| match header.value? {
        CONFIRMED => Some(Decision::Confirmed),
        CANCELLED => Some(Decision::Cancelled),
        _ => None,
    })?;
    let id = Uuid::try_parse_ascii(message.key()?).ok()?;
    let time = headers.iter().find(|header| header.key == "ce_time").and_then(|header| header.value);
    let decided_at: Option<Timestamp> = time.and_then(|time| std::str::from_utf8(time).ok()?.parse().ok());
    Some(Seen { id, decision, at: Instant::now(), decided_at })
}
