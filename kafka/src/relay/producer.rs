//! Two transactional producers used in turn, and the rule for doubting what they say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::position::Position;
use super::{Error, record};
use crate::harm::{self, Sabotage};

/// Producers of a relay. The second one hides the broker's completion of the first one's transaction (`WriteTxnMarkers`),
/// during which the same id is told `CONCURRENT_TRANSACTIONS` and waits 20 ms. Source: PROTOCOLS 0, finding 6.
pub(crate) const PRODUCERS: usize = 2;
/// How long `init_transactions` may take before another try; it goes on in the background meanwhile, so a stop is seen.
const INIT_CALL: Duration = Duration::from_secs(3);
/// How long both `init_transactions` may take: a broker that starts needs some, and an open transaction of a dead owner
/// is told `CONCURRENT_TRANSACTIONS` until it is aborted. After that the producers are dropped and made anew.
const INIT_LIMIT: Duration = Duration::from_secs(15);
/// The broker aborts a transaction that its owner left open for this long. Source: PROTOCOLS 5.
const TRANSACTION_TIMEOUT_MS: &str = "20000";
/// How long librdkafka waits before it sends a failed request again. The doubt rule rests on it. Source: PROTOCOLS 5.
const RETRY_BACKOFF_MS: &str = "500";
/// A commit that took this long may hold a hidden second `EndTxn` frame, whose first copy could arrive late and end the
/// *next* transaction: librdkafka waits at least 0.8 × `retry.backoff.ms` before it sends a request again, so a faster
/// commit holds none. Source: `rd_kafka_broker_buf_retry` in librdkafka 2.12.1 (jitter 20 %); PROTOCOLS 1.3, finding 1.
const DOUBT_AFTER: Duration = Duration::from_millis(400);
/// How long a record may wait for its acknowledgement. Must be below `transaction.timeout.ms`.
const ACK_LIMIT: Duration = Duration::from_secs(10);
/// The same for librdkafka, which then reports the record as failed.
const MESSAGE_TIMEOUT_MS: &str = "10000";
/// How long a broker may take to answer one request before the link counts as dead (default 60 s).
const SOCKET_TIMEOUT_MS: &str = "5000";
/// Longest pause between connection attempts (default 10 s), so that publishing is back soon after the broker is.
const RECONNECT_MAX_MS: &str = "1000";
/// Sleep between looks at the acknowledgements. `poll(t)` with t < 1 ms spins, and a commit with anything in flight
/// flushes for 100 ms. Source: SPIKE.md; fede1024/rust-rdkafka#777; shown by `kafka/benches/commit.rs`.
const ACK_PAUSE: Duration = Duration::from_micros(30);
/// How long `commit_transaction` may take. PROTOCOLS 1.3 says for ever, because giving up used to be followed by an abort
/// on the same producer (materialize#30508). Here giving up is doubt: the producer is dropped and L1 settles the
/// transaction, so a limit is safe, and a link that is cut for good cannot keep the lock or a shutdown waiting.
const COMMIT_LIMIT: Duration = Duration::from_secs(10);
/// How long a look at a topic's ends may take.
const WATERMARK_LIMIT: Duration = Duration::from_secs(10);
/// Events served before a transaction begins; each poll serves one.
const STALE_EVENTS_MAX: usize = 1_000;

/// Why a transaction was given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Its outcome is not known, or a later frame could still change it.
    #[error("{0}")]
    Doubt(String),
    /// Another owner has taken over the transactional ids.
    #[error("another relay has taken over: {0}")]
    Fenced(String),
    /// The broker or client will never take this row as it is.
    #[error("outbox row {seq} cannot be produced to {topic}: {reason}")]
    Refused { seq: i64, topic: String, reason: String },
    /// The process is asked to stop.
    #[error("stopped")]
    Stopped,
}

impl Fault {
    /// Stable code, as on the page of that name in `docs/errors/`; `None` for a stop, which is no error.
    pub(crate) fn code(&self) -> Option<&'static str> {
        let code = match self {
            Self::Doubt(_) => "relay_doubt",
            Self::Fenced(_) => "relay_fenced",
            Self::Refused { .. } => "record_refused",
            Self::Stopped => return None,
        };
        Some(code)
    }

    /// The fault as an error of the setup job.
    pub(crate) fn not_written(self) -> Error {
        Error::NotWritten { reason: self.to_string() }
    }
}

/// What the client reported beside the results of calls.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    errors: AtomicU64,
    last: Mutex<String>,
}

impl Reports {
    fn add(&self, text: String) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = text;
        self.errors.fetch_add(1, Ordering::AcqRel);
    }

    fn count(&self) -> u64 {
        self.errors.load(Ordering::Acquire)
    }

    fn last(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.add(format!("{error}: {reason}"));
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        if let Err((error, _)) = result {
            self.add(format!("record not acknowledged: {error}"));
        }
    }
}

/// Sends into the open transaction.
pub(crate) struct Sender<'a> {
    producer: &'a BaseProducer<Reports>,
    service: &'a str,
}

impl Sender<'_> {
    /// Queues one outbox row.
    pub(crate) fn row(&self, row: &record::Row, headers: OwnedHeaders) -> Result<(), Fault> {
        let queued = self.producer.send(
            BaseRecord::to(&row.topic).partition(row.partition).key(row.key.as_slice()).payload(row.payload.as_slice()).headers(headers),
        );
        queued.map_err(|(error, _)| match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::InvalidArgument,
            ) => Fault::Refused { seq: row.slot.id, topic: row.topic.clone(), reason: error.to_string() },
            _ => Fault::Doubt(format!("queue a record: {error}")),
        })
    }

    /// Queues the position record: last in its transaction.
    pub(crate) fn position(&self, position: &Position) -> Result<(), Fault> {
        let value = serde_json::to_vec(position).map_err(|error| Fault::Doubt(format!("write the position as JSON: {error}")))?;
        self.own(self.service, &value)
    }

    /// Queues the sentinel of a new owner.
    pub(crate) fn fence(&self, nonce: &str) -> Result<(), Fault> {
        self.own(&Position::fence_key(self.service), nonce.as_bytes())
    }

    fn own(&self, key: &str, value: &[u8]) -> Result<(), Fault> {
        let topic = Position::topic(self.service);
        let queued = self.producer.send(BaseRecord::to(&topic).partition(0).key(key).payload(value));
        queued.map_err(|(error, _)| Fault::Doubt(format!("queue a record for {topic}: {error}")))
    }
}

/// The producers `<service>.relay.0` and `<service>.relay.1`.
pub(crate) struct Pair {
    producers: Vec<BaseProducer<Reports>>,
    service: String,
    turn: usize,
}

impl Pair {
    /// L1: makes both producers and fences every earlier owner of their ids. Nobody who was fenced can commit after the
    /// first transaction of this pair has committed, which the first producer carries: docs/decisions/0002-position-sentinel.md.
    pub(crate) fn connect(client: &ClientConfig, service: &str, go_on: &dyn Fn() -> bool) -> Result<Self, Fault> {
        let started = Instant::now();
        let mut producers = Vec::with_capacity(PRODUCERS);
        for number in 0..PRODUCERS {
            // No pod name and no incarnation in the id, or zombies would not be fenced. Source: PROTOCOLS 1.3 (L1).
            let id = if harm::sabotaged(Sabotage::RandomTransactionalId) {
                format!("{service}.relay.{number}.{}", uuid::Uuid::now_v7())
            } else {
                format!("{service}.relay.{number}")
            };
            let config = settings(client, &id);
            let producer: BaseProducer<Reports> =
                config.create_with_context(Reports::default()).map_err(|error| Fault::Doubt(format!("make a producer: {error}")))?;
            producers.push(producer);
        }
        for producer in &producers {
            while let Err(error) = producer.init_transactions(INIT_CALL) {
                producer.poll(Duration::ZERO);
                if !go_on() {
                    return Err(Fault::Stopped);
                }
                // Not a sign of being fenced: CONCURRENT_TRANSACTIONS can end in a spurious one (librdkafka#3928).
                let resumable = matches!(&error, KafkaError::Transaction(cause) if cause.is_retriable());
                if !resumable || started.elapsed() > INIT_LIMIT {
                    return Err(Fault::Doubt(format!("init_transactions: {error}; {}", producer.context().last())));
                }
            }
        }
        Ok(Self { producers, service: service.to_owned(), turn: 0 })
    }

    /// L4 and L5: one Kafka transaction on the next producer, holding what `fill` sends. Returns how long the commit took.
    ///
    /// After an error this pair must be dropped: the transaction is left to the next L1, never aborted and carried on
    /// (librdkafka#4849, #3196).
    pub(crate) fn transaction(&mut self, fill: impl FnOnce(&Sender<'_>) -> Result<(), Fault>) -> Result<Duration, Fault> {
        let Some(producer) = self.producers.get(self.turn) else {
            return Err(Fault::Doubt("no producer".to_owned()));
        };
        self.turn = (self.turn + 1) % PRODUCERS;
        for _ in 0..STALE_EVENTS_MAX {
            if producer.in_flight_count() == 0 {
                break;
            }
            producer.poll(Duration::ZERO);
        }
        let watch = Watch { producer, errors: producer.context().count() };
        producer.begin_transaction().map_err(|error| watch.fault("begin_transaction", &error))?;
        fill(&Sender { producer, service: &self.service })?;
        harm::point("L4.sent");
        watch.acknowledged()?;
        if harm::point("L5.acknowledged") {
            return Err(Fault::Doubt("the commit fails on purpose".to_owned()));
        }
        let started = Instant::now();
        producer.commit_transaction(COMMIT_LIMIT).map_err(|error| watch.fault("commit_transaction", &error))?;
        let took = started.elapsed();
        if harm::point("L5.committed") {
            return Err(Fault::Doubt("the commit is doubted on purpose".to_owned()));
        }
        if harm::sabotaged(Sabotage::NoDoubtRule) {
            return Ok(took);
        }
        if took >= DOUBT_AFTER {
            return Err(Fault::Doubt(format!("the commit took {} ms", took.as_millis())));
        }
        producer.poll(Duration::ZERO);
        watch.quiet()?;
        Ok(took)
    }

    /// Serves events while nothing is published, so that they do not pile up.
    pub(crate) fn idle(&self) {
        for producer in &self.producers {
            if producer.in_flight_count() > 0 {
                producer.poll(Duration::ZERO);
            }
        }
    }

    /// Whether nothing was ever written to `topic`, not even something since deleted.
    pub(crate) fn topic_is_empty(&self, topic: &str) -> Result<bool, Error> {
        let Some(producer) = self.producers.first() else { return Ok(true) };
        let metadata =
            producer.client().fetch_metadata(Some(topic), WATERMARK_LIMIT).map_err(Error::kafka("ask for a topic's partitions"))?;
        let Some(topic_data) = metadata.topics().first() else { return Ok(true) };
        for partition in topic_data.partitions() {
            let (_, high) = producer
                .client()
                .fetch_watermarks(topic, partition.id(), WATERMARK_LIMIT)
                .map_err(Error::kafka("ask for the end of a topic"))?;
            if high > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// One transaction under watch: any report since it began is doubt.
struct Watch<'a> {
    producer: &'a BaseProducer<Reports>,
    errors: u64,
}

impl Watch<'_> {
    /// Waits until every record is acknowledged.
    fn acknowledged(&self) -> Result<(), Fault> {
        let started = Instant::now();
        loop {
            self.producer.poll(Duration::ZERO);
            self.quiet()?;
            if self.producer.in_flight_count() == 0 {
                return Ok(());
            }
            if started.elapsed() > ACK_LIMIT {
                return Err(Fault::Doubt("records were not acknowledged in time".to_owned()));
            }
            thread::sleep(ACK_PAUSE);
        }
    }

    fn quiet(&self) -> Result<(), Fault> {
        if self.producer.context().count() == self.errors || (harm::sabotaged(Sabotage::NoDoubtRule) && self.fatal().is_none()) {
            return Ok(());
        }
        Err(self.fatal().unwrap_or_else(|| Fault::Doubt(self.producer.context().last())))
    }

    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        let fenced = error.rdkafka_error_code().is_some_and(is_fenced);
        if fenced {
            Fault::Fenced(format!("{doing}: {error}"))
        } else {
            self.fatal().unwrap_or_else(|| Fault::Doubt(format!("{doing}: {error}")))
        }
    }

    fn fatal(&self) -> Option<Fault> {
        let (code, text) = self.producer.client().fatal_error()?;
        Some(if is_fenced(code) { Fault::Fenced(text) } else { Fault::Doubt(text) })
    }
}

/// The codes that say: a newer epoch of our transactional id exists. Source: PROTOCOLS 1.4 (47, 90) and rdkafka.h (-144).
fn is_fenced(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch)
}

/// The producer's settings; ours win over the caller's. Source: PROTOCOLS 5, except where a constant above says more.
fn settings(client: &ClientConfig, transactional_id: &str) -> ClientConfig {
    let mut config = client.clone();
    config
        .set("transactional.id", transactional_id)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)
        .set("retry.backoff.ms", RETRY_BACKOFF_MS)
        .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
        .set("socket.timeout.ms", SOCKET_TIMEOUT_MS)
        .set("request.timeout.ms", SOCKET_TIMEOUT_MS)
        .set("reconnect.backoff.max.ms", RECONNECT_MAX_MS)
        // Records gather anyway while their partitions are added to the transaction.
        .set("linger.ms", "0")
        // lz4 cost 0.9 ms at low rates and gained nothing at high ones. Source: SPIKE.md.
        .set("compression.type", "none")
        // A letter may be larger than a record of ours; its topic's own limit decides.
        .set("message.max.bytes", (crate::retry::LETTER_BYTES_MAX + 65_536).to_string())
        .set("allow.auto.create.topics", "false");
    config
}
