//! The one task of a consumer group and instance: gathers what has arrived, drives batches, holds partitions that cannot go on.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use record::Topic;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::TopicPartition;
use super::assignment::{self, Move, Settled, Taken};
use super::batch::{self, Held, Notes, Offer, Outcome};
use super::breaker::Windows;
use super::catch_up::CatchUp;
use super::chain::Last;
use super::failures::Breaker;
use super::known::Known;
use super::parking::Parked;
use super::source::{self, Event, Fetched, Settings, Wishes, lock};
use super::timer::Timer;
use crate::cluster::Login;
use crate::failure::Failure;
use crate::harm;
use crate::retry;
use crate::route::Routes;
use crate::store::{Retry, Units, retry_of};
use crate::unit::{Micros, Work};

/// Records of one batch at most. Source: DESIGN 4.
const BATCH: usize = 500;
/// Records of one partition kept in memory before it is paused.
const QUEUE: usize = 2_000;
/// Timers of one retry partition kept in memory before it is paused: it is polled on, and read on when they are due.
const TIMERS: usize = 1_000;
/// First and longest wait of a held partition, and of a batch whose database does not answer.
const HOLD: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Where and as whom to consume.
#[derive(Debug, Clone)]
pub struct Config {
    /// Consumer group; also the service's name.
    pub group: String,
    /// Name of this member (`group.instance.id`), unique in the group.
    pub instance: String,
    /// Bootstrap servers.
    pub bootstrap: String,
    /// The principal to log in as, if the brokers know any.
    pub login: Option<Login>,
    /// Every topic of the system, to know its owner.
    pub topics: &'static [Topic],
    /// What a rebuild knows of messages that its database had handled before it was lost.
    pub(crate) catch_up: Option<Arc<CatchUp>>,
}

impl Config {
    /// A member of `group`, which is also the service's name; `topics` are all of the system.
    #[must_use]
    pub fn new(group: &str, instance: impl Into<String>, bootstrap: impl Into<String>, topics: &'static [Topic]) -> Self {
        Self { group: group.to_owned(), instance: instance.into(), bootstrap: bootstrap.into(), login: None, topics, catch_up: None }
    }
}

/// What the outside may know of the engine.
#[derive(Debug, Default)]
pub struct Health {
    /// The group has given this member its share, which may be empty.
    pub joined: AtomicBool,
    /// Partitions assigned now.
    pub assigned: AtomicU64,
    /// Records handled since start.
    pub handled: AtomicU64,
    /// Batches committed since start.
    pub batches: AtomicU64,
    /// Batches refused because a partition was another's.
    pub fenced: AtomicU64,
    /// Partitions that stand still, with the code why.
    pub held: Mutex<BTreeMap<TopicPartition, &'static str>>,
}

#[derive(Debug)]
pub(super) struct Part {
    owner: &'static str,
    pub(super) epoch: i64,
    pub(super) next: i64,
    last: Last,
    pub(super) queue: VecDeque<Fetched>,
    pub(super) hold: Option<Hold>,
    /// What waits in a retry partition, in order; its `queue` stays empty. `None`: a partition of messages.
    pub(super) timers: Option<VecDeque<Timer>>,
}

#[derive(Debug)]
pub(super) struct Hold {
    pub(super) until: Option<Instant>,
    wait: Duration,
    /// Records before the one that failed may go on.
    pub(super) offset: i64,
    /// The handler whose breaker holds it: until that closes.
    pub(super) breaker: Option<String>,
}

pub(super) struct Engine<W: Work> {
    pub(super) config: Config,
    pub(super) units: Units,
    pub(super) routes: Arc<Routes<W>>,
    pub(super) health: Arc<Health>,
    wishes: Arc<Wishes>,
    events: mpsc::Receiver<Event>,
    pub(super) parts: BTreeMap<TopicPartition, Part>,
    /// Records a batch may have; halved while the database refuses some row of it.
    limit: usize,
    back_off: Duration,
    retry_at: Option<Instant>,
    pub(super) unsettled: Option<Vec<Move>>,
    /// What of our partitions is perhaps parked.
    pub(super) known: Known,
    /// Recent failures by handler, and the handlers that wait for them to end.
    pub(super) windows: Windows,
    pub(super) breakers: HashMap<String, Breaker>,
    pub(super) open: HashSet<String>,
    /// Records whose writes the database refused, until they are parked for it.
    refused: HashMap<(TopicPartition, i64), Failure>,
    /// The database's clock, when it was read last.
    pub(super) clock: Option<(Instant, Micros)>,
    /// When heads without a timer are looked for next, and lost timers.
    pub(super) look_at: Instant,
    pub(super) sweep_at: Instant,
    pub(super) assigned_at: Instant,
    /// A drain was made since the last batch: at most one between two.
    pub(super) drained: bool,
}

/// Starts the polling thread and the engine. The engine ends in order when `stop` becomes true: the batch in hand is
/// finished, the group is left.
///
/// # Errors
/// The polling thread cannot be started.
pub fn spawn<W: Work>(
    config: Config,
    units: Units,
    routes: Routes<W>,
    health: Arc<Health>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let (tell, events) = mpsc::channel(8);
    let wishes = Arc::new(Wishes::default());
    let stopping = Arc::new(AtomicBool::new(false));
    let retry: Vec<String> = retry::retry_topics(&units.retry).into_iter().filter(|topic| units.partitions.of(topic).is_ok()).collect();
    let settings = Settings {
        group: config.group.clone(),
        instance: config.instance.clone(),
        bootstrap: config.bootstrap.clone(),
        login: config.login.clone(),
        topics: routes.topics().iter().map(|topic| (*topic).to_owned()).chain(retry.clone()).collect(),
        retry,
    };
    let runtime = tokio::runtime::Handle::current();
    let (pool, thread_wishes, thread_stop) = (units.pool.clone(), Arc::clone(&wishes), Arc::clone(&stopping));
    std::thread::Builder::new().name(format!("{}-poll", config.group)).spawn(move || {
        if let Err(error) = source::run(settings, pool, runtime, tell, &thread_wishes, &thread_stop) {
            tracing::error!(error = %error, "the polling thread ended");
        }
    })?;
    let mut engine = Engine {
        config,
        units,
        routes: Arc::new(routes),
        health,
        wishes,
        events,
        parts: BTreeMap::new(),
        limit: BATCH,
        back_off: BACK_OFF.0,
        retry_at: None,
        unsettled: None,
        known: Known::default(),
        windows: Windows::default(),
        breakers: HashMap::new(),
        open: HashSet::new(),
        refused: HashMap::new(),
        clock: None,
        look_at: Instant::now(),
        sweep_at: Instant::now(),
        assigned_at: Instant::now(),
        drained: false,
    };
    Ok(tokio::spawn(async move {
        tokio::spawn(async move {
            // A dropped sender means the process is going down as well.
            drop(stop.wait_for(|stop| *stop).await);
            stopping.store(true, Ordering::Relaxed);
        });
        engine.run().await;
    }))
}

impl<W: Work> Engine<W> {
    async fn run(&mut self) {
        loop {
            while let Ok(event) = self.events.try_recv() {
                self.apply(event).await;
            }
            self.wish();
            self.release();
            if self.settled() && self.failures().await {
                continue;
            }
            if self.ready() {
                self.drained = false;
                self.step().await;
                continue;
            }
            self.drained = false;
            if self.settled() && self.failures().await {
                continue;
            }
            let wake = self.parts.values().filter_map(|p| p.hold.as_ref()?.until).chain(self.retry_at).chain(self.failures_at()).min();
            let event = match wake {
                Some(at) => match tokio::time::timeout_at(at, self.events.recv()).await {
                    Ok(event) => event,
                    Err(_elapsed) => {
                        self.release();
                        continue;
                    }
                },
                None => self.events.recv().await,
            };
            match event {
                Some(event) => self.apply(event).await,
                // The thread has left the group and gone.
                None => break,
            }
        }
    }

    /// Whether nothing has to be settled or waited for first.
    fn settled(&self) -> bool {
        self.unsettled.is_none() && self.retry_at.is_none_or(|at| at <= Instant::now())
    }

    fn ready(&self) -> bool {
        self.retry_at.is_none_or(|at| at <= Instant::now()) && (self.unsettled.is_some() || self.parts.values().any(|p| p.offered() > 0))
    }

    fn release(&mut self) {
        let now = Instant::now();
        for part in self.parts.values_mut() {
            if let Some(hold) = &mut part.hold
                && hold.until.is_some_and(|until| until <= now)
                && hold.breaker.is_none()
            {
                hold.until = None;
                hold.offset = i64::MAX;
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
    }

    async fn apply(&mut self, event: Event) {
        match event {
            Event::Assigned(taken, known) => self.assigned(taken, known),
            Event::Revoked(done) => {
                self.parts.clear();
                self.unsettled = None;
                self.health.assigned.store(0, Ordering::Relaxed);
                self.health.joined.store(false, Ordering::Relaxed);
                lock(&self.health.held).clear();
                if done.send(()).is_err() {
                    tracing::warn!("the polling thread had stopped waiting for the revocation");
                }
            }
            Event::Records(records) => {
                for record in records {
                    if let Some(part) = self.parts.get_mut(&record.at) {
                        part.take(record);
                    }
                }
            }
            Event::AtEnd(partitions) => self.at_end(&partitions).await,
            Event::Stopped(at, code) => {
                tracing::error!(partition = %at, code, "partition stopped: its records are not the ones that were read before");
                self.parts.remove(&at);
                lock(&self.health.held).insert(at, code);
            }
            Event::Restart(at, offset) => {
                tracing::warn!(partition = %at, offset, "retry partition is read anew from the start of its log");
                if let Err(error) = assignment::restart(&self.units.pool, &self.config.group, &self.config.instance, &at, offset).await {
                    tracing::warn!(error = %error, "read a retry partition anew");
                }
                self.parts.clear();
                self.wishes.rejoin.store(true, Ordering::Relaxed);
            }
        }
    }

    fn assigned(&mut self, taken: Vec<Taken>, known: Known) {
        self.parts.clear();
        self.known = known;
        self.refused.clear();
        self.look_at = Instant::now();
        self.sweep_at = Instant::now();
        self.assigned_at = Instant::now();
        self.health.joined.store(true, Ordering::Relaxed);
        self.health.assigned.store(u64::try_from(taken.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        for part in taken {
            let owner = self.config.topics.iter().find(|topic| topic.name == part.at.topic).map(|topic| topic.owner);
            let timers = owner.is_none().then(VecDeque::new);
            let (owner, next, queue) = (owner.unwrap_or_default(), part.next_offset, VecDeque::new());
            self.parts.insert(part.at, Part { owner, epoch: part.epoch, next, last: part.last, queue, hold: None, timers });
        }
        self.know_whole_keys();
    }

    async fn at_end(&self, partitions: &[TopicPartition]) {
        let read: Vec<(TopicPartition, i64)> = partitions
            .iter()
            .filter_map(|at| self.parts.get(at).filter(|p| p.queue.is_empty() && p.timers.is_none()).map(|p| (at.clone(), p.epoch)))
            .collect();
        if read.is_empty() {
            return;
        }
        if let Err(error) = assignment::caught_up(&self.units.pool, &self.config.group, &self.config.instance, &read).await {
            tracing::debug!(error = %error, "note that partitions are read to their end");
        }
    }

    /// Asks the thread to pause what is held or has too much queued.
    fn wish(&self) {
        let mut paused = lock(&self.wishes.paused);
        paused.clear();
        paused.extend(self.parts.iter().filter(|(_, p)| p.full()).map(|(at, _)| at.clone()));
    }

    async fn step(&mut self) {
        if let Some(moves) = self.unsettled.take() {
            return self.settle(moves).await;
        }
        let routes = Arc::clone(&self.routes);
        let offers = self.offer();
        let notes = Notes { refused: &self.refused, open: &self.open };
        let (plan, held) = batch::plan(&self.units.codec, &routes, &offers, &notes).await;
        let first = offers.first().and_then(|offer| Some((offer.at.clone(), offer.records.first()?.offset)));
        let started = Instant::now();
        let (moves, repeats) = (plan.moves.clone(), plan.repeats);
        let outcome = if moves.is_empty() {
            None
        } else {
            harm::point_async("C2.planned").await;
            let catch_up = self.config.catch_up.as_deref();
            Some(batch::attempt(&self.units, &self.config.group, &plan, (&self.known, catch_up), &self.windows).await)
        };
        drop(plan);
        drop(offers);
        for held in held {
            self.hold(held);
        }
        match outcome {
            None => {}
            Some(Ok(Outcome::Written(written))) => {
                let batch::Written { tx, mut unit, parked, windows } = *written;
                self.remember(&parked);
                let committed = tx.commit().await;
                let lost = harm::point_async("C4.lost").await;
                let committed = if lost { Err(sqlx::Error::Protocol("the answer is lost on purpose".to_owned())) } else { committed };
                if let Err(error) = committed {
                    tracing::warn!(error = %error, "the outcome of a commit is not known");
                    self.unsettled = Some(moves);
                    return self.wait();
                }
                if parked.retried > 0 {
                    harm::point_async("R2.committed").await;
                }
                if parked.dead > 0 {
                    harm::point_async("R6.dead").await;
                }
                metrics::histogram!("messaging_process_duration_seconds", "group" => self.config.group.clone())
                    .record(started.elapsed().as_secs_f64());
                metrics::counter!("messaging_repeats_total").increment(repeats);
                self.windows = windows;
                self.advanced(&moves);
                self.parked(&parked);
                self.units.committed(&mut unit);
            }
            Some(Ok(Outcome::Fenced)) => self.fenced(),
            Some(Ok(Outcome::Hold(held))) => self.hold(held),
            Some(Err(error)) => {
                harm::point_async("C3.refused").await;
                self.failed(&error, first.as_ref());
            }
        }
    }

    /// What each partition can offer now, fairly, at most `limit` together.
    fn offer(&self) -> Vec<Offer<'_>> {
        let ready: Vec<(&TopicPartition, &Part)> = self.parts.iter().filter(|(_, p)| p.offered() > 0).collect();
        let share = self.limit.div_ceil(ready.len().max(1)).max(1);
        let mut room = self.limit.max(1);
        let mut offers = Vec::with_capacity(ready.len());
        for (at, part) in ready {
            let count = part.offered().min(share).min(room);
            room = room.saturating_sub(count);
            if count > 0 {
                offers.push(Offer {
                    at,
                    owner: part.owner,
                    epoch: part.epoch,
                    from: part.next,
                    last: &part.last,
                    records: part.queue.iter().take(count).collect(),
                    breaker: part.hold.as_ref().and_then(|hold| hold.breaker.as_deref()),
                });
            }
        }
        offers
    }

    pub(super) fn advanced(&mut self, moves: &[Move]) {
        let mut handled = 0;
        for m in moves {
            let Some(part) = self.parts.get_mut(&m.at) else { continue };
            while part.queue.front().is_some_and(|record| record.offset < m.to) {
                part.queue.pop_front();
                handled += 1;
            }
            if let Some(timers) = &mut part.timers {
                while timers.front().is_some_and(|timer| timer.offset < m.to) {
                    timers.pop_front();
                }
            }
            part.next = m.to;
            part.last.extend(m.links.iter().cloned());
            if part.hold.as_ref().is_some_and(|hold| hold.until.is_none() && m.to > m.from)
                && part.hold.as_ref().is_some_and(|hold| hold.offset == i64::MAX)
            {
                part.hold = None;
                lock(&self.health.held).remove(&m.at);
                tracing::info!(partition = %m.at, "partition goes on");
            }
            lock(&self.wishes.handled).insert(m.at.clone(), m.to);
        }
        if !self.refused.is_empty() {
            self.refused.retain(|(at, offset), _| self.parts.get(at).is_some_and(|part| *offset >= part.next));
        }
        self.limit = BATCH;
        self.back_off = BACK_OFF.0;
        self.health.handled.fetch_add(handled, Ordering::Relaxed);
        self.health.batches.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("messaging_client_consumed_messages_total", "group" => self.config.group.clone()).increment(handled);
        metrics::counter!("consumer_batches_total", "group" => self.config.group.clone()).increment(1);
    }

    /// Ends the partition's part before the record and says so loudly; it is tried again after a growing wait.
    fn hold(&mut self, held: Held) {
        if let Some(handler) = &held.breaker {
            self.open_breaker(handler, held.failure.code);
        }
        let Some(part) = self.parts.get_mut(&held.at) else { return };
        let wait = part.hold.as_ref().map_or(HOLD.0, |hold| (hold.wait * 2).min(HOLD.1));
        let until = held.breaker.is_none().then(|| Instant::now() + wait);
        part.hold = Some(Hold { until, wait, offset: held.offset, breaker: held.breaker.clone() });
        lock(&self.health.held).insert(held.at.clone(), held.failure.code);
        metrics::counter!("consumer_holds_total", "code" => held.failure.code).increment(1);
        tracing::error!(partition = %held.at, offset = held.offset, code = held.failure.code, class = held.failure.class.as_str(), error = %held.failure, wait_ms = wait.as_millis(), "partition is held");
    }

    pub(super) fn fenced(&mut self) {
        tracing::warn!(group = %self.config.group, "a partition is another member's: taking over anew");
        self.health.fenced.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("consumer_fenced_total").increment(1);
        self.parts.clear();
        self.wishes.rejoin.store(true, Ordering::Relaxed);
    }

    fn failed(&mut self, error: &sqlx::Error, first: Option<&(TopicPartition, i64)>) {
        match (retry_of(error), first) {
            (Retry::Halve | Retry::No, Some((at, offset))) if self.limit == 1 => {
                // Found: the record fails, and is parked for it, without its writes being tried again.
                let failure = Failure::permanent("write_refused", format!("the database refuses what handling the record writes: {error}"));
                if self.refused.insert((at.clone(), *offset), failure.clone()).is_some() {
                    return self.hold(Held { at: at.clone(), offset: *offset, failure, breaker: None });
                }
                return;
            }
            (Retry::Halve | Retry::No, _) => {
                self.limit = (self.limit / 2).max(1);
                tracing::warn!(error = %error, limit = self.limit, "batch is halved to find the record at fault");
            }
            (Retry::Same, _) => tracing::warn!(error = %error, "batch is tried again"),
        }
        self.wait();
    }

    /// What is about to be committed: remembered whatever becomes of the commit, since remembering too much does no harm.
    pub(super) fn remember(&mut self, parked: &Parked) {
        parked.keys.iter().cloned().for_each(|key| self.known.blocked(key));
        parked.stories.iter().cloned().for_each(|story| self.known.parked(story));
    }

    pub(super) fn wait(&mut self) {
        self.retry_at = Some(Instant::now() + self.back_off);
        self.back_off = (self.back_off * 2).min(BACK_OFF.1);
    }

    async fn settle(&mut self, moves: Vec<Move>) {
        let settled = assignment::settle(&self.units.pool, &self.config.group, &moves).await;
        harm::point_async("C4.settled").await;
        match settled {
            Ok(Settled::Committed) => {
                self.advanced(&moves);
                self.units.relay.notify_one();
                self.units.worker.notify_one();
            }
            Ok(Settled::RolledBack) => {}
            Ok(Settled::Fenced) => self.fenced(),
            Err(error) => {
                tracing::warn!(error = %error, "ask what became of a commit");
                self.unsettled = Some(moves);
                self.wait();
            }
        }
    }
}

impl Part {
    /// Takes a record in; one that was taken before is passed over.
    fn take(&mut self, record: Fetched) {
        let newest = self.timers.as_ref().map_or_else(|| self.queue.back().map(|r| r.offset), |timers| timers.back().map(|t| t.offset));
        if record.offset < newest.map_or(self.next, |newest| newest.saturating_add(1)) {
            return;
        }
        match &mut self.timers {
            Some(timers) => timers.push_back(Timer::read(&record)),
            None => self.queue.push_back(record),
        }
    }

    /// Whether it must be paused: too much is queued, or what is queued is not due for long.
    fn full(&self) -> bool {
        self.queue.len() >= QUEUE || self.timers.as_ref().is_some_and(|timers| timers.len() >= TIMERS)
    }

    /// Records that may be tried now: none beyond the one that is held.
    fn offered(&self) -> usize {
        match &self.hold {
            None => self.queue.len(),
            Some(hold) => self.queue.iter().take_while(|record| record.offset < hold.offset).count(),
        }
    }
}
