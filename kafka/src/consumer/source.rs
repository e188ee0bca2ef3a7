//! The polling thread: one `BaseConsumer`, its rebalances, and a bounded channel to the engine. It never stops polling, so
//! waiting for the database never makes the member leave its group.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use sqlx::postgres::PgPool;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::TopicPartition;
use super::assignment::{self, Taken};
use super::chain::Link;
use super::known::Known;
use crate::cluster::Login;
use crate::harm::{self, Sabotage};
use crate::message::{HeaderText, MessageId, header};

/// Records handed over in one piece at most.
const CHUNK: usize = 500;

/// A record as fetched.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) at: TopicPartition,
    pub(crate) offset: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
    /// All headers, as text: what is needed when it is parked.
    pub(crate) headers: Vec<u8>,
    /// Unix milliseconds.
    pub(crate) recorded_at_ms: i64,
    pub(crate) id: Option<MessageId>,
    pub(crate) correlation: String,
    pub(crate) link: Option<Link>,
    /// 64 bits of SHA-256 over offset, key and value.
    pub(crate) hash: i64,
}

/// What the thread tells the engine, in order.
#[derive(Debug)]
pub(super) enum Event {
    Assigned(Vec<Taken>, Known),
    /// The engine drops its records of all partitions and then answers.
    Revoked(std::sync::mpsc::Sender<()>),
    Records(Vec<Fetched>),
    /// Partitions whose every stable record had been handed over when the client looked.
    AtEnd(Vec<TopicPartition>),
    /// The record before the progress row is not the one that was handled, or there is none: these partitions stand still.
    Stopped(TopicPartition, &'static str),
    /// The same of a retry partition, whose log begins at this offset: it is read from there.
    Restart(TopicPartition, i64),
}

/// What the engine tells the thread.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Partitions that must not deliver for now.
    pub(super) paused: Mutex<HashSet<TopicPartition>>,
    /// Next offsets handled since the last look, for lag tools.
    pub(super) handled: Mutex<HashMap<TopicPartition, i64>>,
    /// Take over all partitions anew: an epoch was found to be another's.
    pub(super) rejoin: AtomicBool,
}

pub(super) struct Settings {
    pub(super) group: String,
    pub(super) instance: String,
    pub(super) bootstrap: String,
    pub(super) login: Option<Login>,
    pub(super) topics: Vec<String>,
    /// Those of them that hold timers.
    pub(super) retry: Vec<String>,
}

struct Context {
    settings: Arc<Settings>,
    pool: PgPool,
    runtime: Handle,
    events: mpsc::Sender<Event>,
    /// First record of a partition taken over: the offset asked for and, when it was handled before, its hash.
    expect: Mutex<HashMap<TopicPartition, (i64, Option<i64>)>>,
    at_end: Mutex<Vec<TopicPartition>>,
    received: AtomicU64,
    assigned: AtomicI64,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic elsewhere does not make these maps inconsistent: each update is one call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Context {
    fn stats(&self, stats: Statistics) {
        // Fetch answers must keep arriving, or "nothing new" would only mean that the broker is away.
        let received: u64 = stats.brokers.values().filter(|b| b.state == "UP").map(|b| b.rx).sum();
        let alive = received > self.received.swap(received, Ordering::Relaxed);
        let mut at_end = Vec::new();
        for topic in stats.topics.values() {
            for part in topic.partitions.values().filter(|p| p.partition >= 0 && p.fetch_state == "active") {
                let behind = part.ls_offset.saturating_sub(part.next_offset).max(0);
                metrics::gauge!("consumer_lag_records", "topic" => topic.topic.clone(), "partition" => part.partition.to_string())
                    .set(i32::try_from(behind.saturating_add(part.fetchq_cnt)).map_or(f64::from(i32::MAX), f64::from));
                if alive && part.ls_offset >= 0 && part.next_offset >= part.ls_offset && part.fetchq_cnt == 0 {
                    at_end.push(TopicPartition { topic: topic.topic.clone(), partition: part.partition });
                }
            }
        }
        *lock(&self.at_end) = at_end;
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(error = %error, reason, "kafka consumer");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, tpl: &mut TopicPartitionList) {
        let result =
            if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS { self.assign(consumer, tpl) } else { self.revoke(consumer) };
        if let Err(error) = result {
            // Without an assignment nothing is read; the next rebalance or rejoin tries again.
            tracing::error!(error = %error, "rebalance of group {}", self.settings.group);
        }
    }
}

impl Context {
    fn assign(&self, consumer: &BaseConsumer<Self>, tpl: &TopicPartitionList) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let partitions: Vec<TopicPartition> =
            tpl.elements().iter().map(|e| TopicPartition { topic: e.topic().to_owned(), partition: e.partition() }).collect();
        tracing::info!(group = %self.settings.group, instance = %self.settings.instance, partitions = partitions.len(), "assigned");
        let (mut taken, known) = if partitions.is_empty() { Default::default() } else { self.take(&partitions) };
        harm::point("C0.taken");
        if harm::sabotaged(Sabotage::KafkaOffsets) {
            let committed = consumer.committed_offsets(tpl.clone(), Duration::from_secs(10))?;
            for part in &mut taken {
                let found = committed.find_partition(&part.at.topic, part.at.partition).map(|found| found.offset());
                part.next_offset = if let Some(Offset::Offset(offset)) = found { offset } else { 0 };
                part.last_hash = None;
            }
        }
        let mut list = TopicPartitionList::new();
        let mut expect = lock(&self.expect);
        expect.clear();
        for part in &taken {
            // One record earlier when there is one: it must be the one that was handled last.
            let hash = part.last_hash.filter(|_| part.next_offset > 0);
            let start = if hash.is_some() { part.next_offset.saturating_sub(1) } else { part.next_offset };
            expect.insert(part.at.clone(), (start, hash));
            list.add_partition_offset(&part.at.topic, part.at.partition, Offset::Offset(start))?;
        }
        drop(expect);
        self.assigned.store(i64::try_from(taken.len()).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.tell(Event::Assigned(taken, known));
        consumer.assign(&list)?;
        Ok(())
    }

    /// Blocks this thread until the rows are had: without them nothing may be read.
    fn take(&self, partitions: &[TopicPartition]) -> (Vec<Taken>, Known) {
        let mut wait = Duration::from_millis(50);
        for _ in 0..20 {
            match self.runtime.block_on(assignment::take(&self.pool, &self.settings.group, &self.settings.instance, partitions)) {
                Ok(taken) => return taken,
                Err(error) => {
                    tracing::warn!(error = %error, "take over partitions of group {}", self.settings.group);
                    std::thread::park_timeout(wait);
                    wait = (wait * 2).min(Duration::from_secs(2));
                }
            }
        }
        Default::default()
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (done, wait) = std::sync::mpsc::channel();
        self.tell(Event::Revoked(done));
        if wait.recv_timeout(Duration::from_secs(5)).is_err() {
            tracing::warn!("the batch in hand outlasts the revocation: its epoch will fence it");
        }
        self.assigned.store(0, Ordering::Relaxed);
        consumer.unassign()?;
        Ok(())
    }

    fn tell(&self, event: Event) {
        if self.events.blocking_send(event).is_err() {
            tracing::debug!("engine has stopped");
        }
    }
}

/// Runs until `stop`: joins the group, polls, hands over. Returns after the group was left in order.
pub(super) fn run(
    settings: Settings,
    pool: PgPool,
    runtime: Handle,
    events: mpsc::Sender<Event>,
    wishes: &Wishes,
    stop: &AtomicBool,
) -> KafkaResult<()> {
    let settings = Arc::new(settings);
    while !stop.load(Ordering::Relaxed) {
        let consumer = connect(&settings, &pool, &runtime, &events)?;
        wishes.rejoin.store(false, Ordering::Relaxed);
        let outcome = Poller { consumer: &consumer, wishes, stop, paused: HashSet::new(), waiting: Vec::new() }.run();
        // librdkafka sends no LeaveGroup for a static member on close: unsubscribe and let the revocation run.
        consumer.unsubscribe();
        let deadline = Instant::now() + Duration::from_secs(6);
        while consumer.context().assigned.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            drop(consumer.poll(Duration::from_millis(50)));
        }
        if let Err(error) = outcome {
            tracing::error!(error = %error, "consumer of group {} starts anew", settings.group);
            std::thread::park_timeout(Duration::from_secs(1));
        }
    }
    Ok(())
}

fn connect(settings: &Arc<Settings>, pool: &PgPool, runtime: &Handle, events: &mpsc::Sender<Event>) -> KafkaResult<BaseConsumer<Context>> {
    let mut config = ClientConfig::new();
    // Source of the values: PROTOCOLS 5.
    config
        .set("bootstrap.servers", &settings.bootstrap)
        .set("group.id", &settings.group)
        .set("group.instance.id", &settings.instance)
        .set("client.id", &settings.instance)
        .set("partition.assignment.strategy", "range")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "100")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "2000")
        .set("max.poll.interval.ms", "60000")
        .set("check.crcs", "true")
        .set("queued.max.messages.kbytes", "16384")
        .set("statistics.interval.ms", "1000");
    if harm::sabotaged(Sabotage::ResetLatest) {
        config.set("auto.offset.reset", "latest");
    }
    Login::set(settings.login.as_ref(), &mut config);
    let context = Context {
        settings: Arc::clone(settings),
        pool: pool.clone(),
        runtime: runtime.clone(),
        events: events.clone(),
        expect: Mutex::default(),
        at_end: Mutex::default(),
        received: AtomicU64::new(0),
        assigned: AtomicI64::new(0),
    };
    let consumer: BaseConsumer<Context> = config.create_with_context(context)?;
    consumer.subscribe(&settings.topics.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(consumer)
}

struct Poller<'a> {
    consumer: &'a BaseConsumer<Context>,
    wishes: &'a Wishes,
    stop: &'a AtomicBool,
    paused: HashSet<TopicPartition>,
    /// Records the engine had no room for yet.
    waiting: Vec<Fetched>,
}

impl Poller<'_> {
    fn run(&mut self) -> KafkaResult<()> {
        let mut commit_at = Instant::now();
        while !self.stop.load(Ordering::Relaxed) && !self.wishes.rejoin.load(Ordering::Relaxed) {
            self.pause()?;
            self.fetch()?;
            self.hand_over();
            if commit_at.elapsed() > Duration::from_secs(1) {
                commit_at = Instant::now();
                self.commit();
            }
        }
        Ok(())
    }

    /// C5, for lag tools only: the progress rows are the truth, so a failure does not matter.
    fn commit(&self) {
        let handled = std::mem::take(&mut *lock(&self.wishes.handled));
        let mut list = TopicPartitionList::new();
        for (at, next) in handled {
            if let Err(error) = list.add_partition_offset(&at.topic, at.partition, Offset::Offset(next)) {
                tracing::debug!(error = %error, "offset for lag tools");
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(error = %error, "commit for lag tools");
        }
        if list.count() > 0 {
            harm::point("C5.noted");
        }
    }

    /// One blocking poll, then whatever else is there.
    fn fetch(&mut self) -> KafkaResult<()> {
        let mut timeout = if self.waiting.is_empty() { Duration::from_millis(50) } else { Duration::from_millis(2) };
        while self.waiting.len() < CHUNK {
            match self.consumer.poll(timeout) {
                None => break,
                Some(Ok(message)) => {
                    let fetched = read(&message);
                    if let Some(fetched) = self.expected(fetched) {
                        self.waiting.push(fetched);
                    }
                }
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange))) => {
                    self.out_of_range();
                }
                Some(Err(error)) => {
                    if let Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::FencedInstanceId) = error.rdkafka_error_code() {
                        return Err(error);
                    }
                    tracing::debug!(error = %error, "poll");
                    break;
                }
            }
            timeout = Duration::ZERO;
        }
        Ok(())
    }

    /// The first record of a partition taken over must be the one handled last; it is checked and passed over.
    fn expected(&self, fetched: Fetched) -> Option<Fetched> {
        let mut expect = lock(&self.consumer.context().expect);
        let Some((offset, hash)) = expect.remove(&fetched.at) else { return Some(fetched) };
        drop(expect);
        let Some(hash) = hash else { return Some(fetched) };
        if fetched.offset == offset && fetched.hash == hash {
            return None;
        }
        self.stopped(fetched.at, "topic_replaced");
        None
    }

    /// A retry partition never stops: it is read from the start of its log.
    fn stopped(&self, at: TopicPartition, code: &'static str) {
        let context = self.consumer.context();
        if !context.settings.retry.contains(&at.topic) {
            return context.tell(Event::Stopped(at, code));
        }
        match self.consumer.fetch_watermarks(&at.topic, at.partition, Duration::from_secs(5)) {
            Ok((low, _)) => context.tell(Event::Restart(at, low)),
            // Nothing is taken from it until the next assignment, which comes here again.
            Err(error) => tracing::warn!(partition = %at, error = %error, "read the start of a retry partition"),
        }
    }

    /// A progress row outside its partition: before the log's start the messages are gone, beyond its end the topic is
    /// another. librdkafka does not say which partition it was, so each is compared with its watermarks.
    fn out_of_range(&self) {
        let context = self.consumer.context();
        let expected: Vec<(TopicPartition, i64)> = lock(&context.expect).iter().map(|(at, (offset, _))| (at.clone(), *offset)).collect();
        for (at, offset) in expected {
            if let Ok((low, high)) = self.consumer.fetch_watermarks(&at.topic, at.partition, Duration::from_secs(5)) {
                if offset < low {
                    self.stopped(at, "offset_gone");
                } else if offset >= high {
                    self.stopped(at, "topic_replaced");
                }
            }
        }
    }

    fn hand_over(&mut self) {
        let context = self.consumer.context();
        if !self.waiting.is_empty() {
            match context.events.try_reserve() {
                Ok(slot) => {
                    slot.send(Event::Records(std::mem::take(&mut self.waiting)));
                    harm::point("C1.handed_over");
                }
                Err(_full) => return,
            }
        }
        let at_end = std::mem::take(&mut *lock(&context.at_end));
        if !at_end.is_empty()
            && let Ok(slot) = context.events.try_reserve()
        {
            slot.send(Event::AtEnd(at_end));
        }
    }

    /// Pauses what the engine asked for, and everything while records wait for room.
    fn pause(&mut self) -> KafkaResult<()> {
        if self.paused.is_empty() && self.waiting.len() < CHUNK && lock(&self.wishes.paused).is_empty() {
            return Ok(());
        }
        let assignment: Vec<TopicPartition> = self
            .consumer
            .assignment()?
            .elements()
            .iter()
            .map(|e| TopicPartition { topic: e.topic().to_owned(), partition: e.partition() })
            .collect();
        let wanted: HashSet<TopicPartition> = {
            let asked = lock(&self.wishes.paused);
            assignment.iter().filter(|at| self.waiting.len() >= CHUNK || asked.contains(at)).cloned().collect()
        };
        if wanted == self.paused {
            return Ok(());
        }
        let list = |set: Vec<&TopicPartition>| {
            let mut list = TopicPartitionList::new();
            for at in set {
                list.add_partition(&at.topic, at.partition);
            }
            list
        };
        self.consumer.pause(&list(wanted.difference(&self.paused).collect()))?;
        self.consumer.resume(&list(self.paused.difference(&wanted).filter(|at| assignment.contains(at)).collect()))?;
        self.paused = wanted;
        Ok(())
    }
}

pub(crate) fn read(message: &BorrowedMessage<'_>) -> Fetched {
    let mut headers = HeaderText::default();
    let (mut id, mut correlation, mut src, mut seq, mut prev) = (None, None, None, None, None);
    if let Some(found) = message.headers() {
        for one in found.iter() {
            headers.push_raw(one.key, one.value);
            let text = one.value.and_then(|value| std::str::from_utf8(value).ok());
            match one.key {
                header::CE_ID => id = text,
                header::CORRELATION_ID => correlation = text,
                header::SRC => src = text,
                header::SEQ => seq = text,
                header::PREV => prev = text,
                _ => {}
            }
        }
    }
    let mut bytes = message.offset().to_be_bytes().to_vec();
    bytes.extend(message.key().unwrap_or_default());
    bytes.extend(message.payload().unwrap_or_default());
    let mut head = [0_u8; 8];
    for (to, from) in head.iter_mut().zip(digest(&SHA256, &bytes).as_ref()) {
        *to = *from;
    }
    Fetched {
        at: TopicPartition { topic: message.topic().to_owned(), partition: message.partition() },
        offset: message.offset(),
        key: message.key().unwrap_or_default().to_vec(),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.into_bytes(),
        recorded_at_ms: message.timestamp().to_millis().unwrap_or_default(),
        id: id.and_then(|id| uuid::Uuid::parse_str(id).ok()).map(MessageId::from),
        correlation: correlation.unwrap_or_default().to_owned(),
        link: Link::read(src, seq, prev),
        hash: i64::from_be_bytes(head),
    }
}
