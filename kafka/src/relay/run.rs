//! The dull loop around [`plan`]: L0 to L6 on one thread.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::config::ClientConfig;
use sqlx::postgres::PgConnection;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::keeper::{self, Keeper};
use super::plan::{self, Gap, Next, Plan, Read, Slot};
use super::position::{self, Hanging, Position};
use super::producer::{Fault, PRODUCERS, Pair};
use super::record::Stamp;
use super::store::{self, Seen};
use super::{Config, Error, Status};
use crate::harm::{self, Sabotage};
use crate::spans::Sent;

/// At most one L1 in this time, doubt or not. Source: PROTOCOLS 5 (librdkafka#3928).
const START_EVERY: Duration = Duration::from_secs(1);
/// L1 or L2 may fail this often in a row before the lock is given to a process that may reach the broker.
const STARTS_MAX: u32 = 3;
/// After being fenced: another relay is alive. Source: PROTOCOLS 1.3.
const FENCED_PAUSE: Duration = Duration::from_secs(5);
/// How long repeated records may take to free the readers of a partition, before that is an error.
const FREED_WITHIN: Duration = Duration::from_secs(5);
/// Between tries after an error of database or broker, and before a refused row is tried again.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for a poke while rows keep coming, or a gap is open. Source: PROTOCOLS 1.5.
const BUSY_WAIT: Duration = Duration::from_millis(2);
/// Longest wait for a poke otherwise. Source: PROTOCOLS 1.5.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// A transaction of this many rows or more is a sign of load: the next one begins [`PACE`] after it began.
const LOADED_ROWS: usize = 16;
/// Between the beginnings of two transactions under load. Each one costs the broker, both databases and every reader the
/// same however many rows it has. Measured: docs/decisions/0014-pace-under-load.md.
const PACE: Duration = Duration::from_millis(20);

/// Runs the relay until `stop`; see [`super::spawn`].
pub(crate) fn relay(
    config: &Config,
    runtime: &Handle,
    wake: &Arc<Notify>,
    status: &Arc<Status>,
    stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    // A runtime of its own: the socket of the outbox connection is served by this thread, with no other task in front.
    let local = Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let mut relay = Relay { config, client: config.client(), runtime, local, wake, status, stop, meters: Meters::new(), started: None };
    let ended = relay.run();
    status.set_owner(false);
    if let Err(error) = &ended {
        status.set_error(Some(error.code()));
        tracing::error!(?error, code = error.code(), "the relay refuses to run");
    }
    ended
}

struct Relay<'a> {
    config: &'a Config,
    client: ClientConfig,
    runtime: &'a Handle,
    local: Runtime,
    wake: &'a Arc<Notify>,
    status: &'a Arc<Status>,
    stop: watch::Receiver<bool>,
    meters: Meters,
    /// When L1 last began.
    started: Option<Instant>,
}

/// Why publishing ended.
enum Halt {
    Stopped,
    /// The lock is gone.
    Lost,
    Fault(Fault),
    Error(Error),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Relay<'_> {
    fn run(&mut self) -> Result<(), Error> {
        while !self.stopped() {
            let pause = match self.lock() {
                Ok(Some(keeper)) => {
                    harm::point("L0.locked");
                    let pause = self.own(&keeper);
                    self.status.set_owner(false);
                    pause?
                }
                Ok(None) => Duration::ZERO,
                Err(error) if error.is_final() => return Err(error),
                Err(error) => self.report(&error),
            };
            self.pause(pause);
        }
        Ok(())
    }

    /// L0. `None` after some time without the lock, or at once after a stop.
    fn lock(&mut self) -> Result<Option<Keeper>, Error> {
        let mut task = self.runtime.spawn(keeper::acquire(self.config.clone(), self.status.clone(), self.wake.clone()));
        let stop = &mut self.stop;
        self.local.block_on(async {
            tokio::select! {
                joined = &mut task => joined.map_err(|joined| Error::Thread(std::io::Error::other(joined)))?,
                _ = stop.changed() => {
                    task.abort();
                    Ok(None)
                }
            }
        })
    }

    /// Everything that is done under the lock. Returns how long to wait before trying for the lock again.
    fn own(&mut self, keeper: &Keeper) -> Result<Duration, Error> {
        let mut failures = 0;
        loop {
            let halt = match self.start(keeper) {
                Ok((pair, position, connection)) => {
                    failures = 0;
                    self.publish(keeper, pair, position, connection)
                }
                Err(halt) => {
                    failures += 1;
                    halt
                }
            };
            self.status.set_owner(false);
            if let Halt::Fault(fault) = &halt {
                self.status.set_error(fault.code());
            }
            match halt {
                Halt::Stopped | Halt::Fault(Fault::Stopped) => return Ok(Duration::ZERO),
                Halt::Lost => return Ok(ERROR_PAUSE),
                Halt::Fault(Fault::Fenced(reason)) => {
                    self.status.count_fenced();
                    self.meters.fenced.increment(1);
                    tracing::warn!(reason, "another relay has taken over; waiting");
                    return Ok(FENCED_PAUSE);
                }
                Halt::Fault(fault @ Fault::Doubt(_)) => {
                    self.status.count_doubt();
                    self.meters.doubts.increment(1);
                    tracing::warn!(reason = %fault, "a transaction is in doubt; starting again from the position record");
                }
                Halt::Fault(fault @ Fault::Refused { .. }) => {
                    tracing::error!(reason = %fault, "an outbox row cannot be published; nothing behind it can either");
                    self.pause(FENCED_PAUSE);
                }
                Halt::Error(error) if error.is_final() => return Err(error),
                Halt::Error(error) => {
                    self.report(&error);
                }
            }
            if failures >= STARTS_MAX {
                return Ok(ERROR_PAUSE);
            }
        }
    }

    /// L1 and L2.
    fn start(&mut self, keeper: &Keeper) -> Result<(Pair, Position, PgConnection), Halt> {
        if let Some(started) = self.started {
            self.pause(START_EVERY.saturating_sub(started.elapsed()));
        }
        self.started = Some(Instant::now());
        let stop = &self.stop;
        let mut pair = Pair::connect(&self.client, &self.config.service, &|| !stopped(stop) && !keeper.lost())?;
        harm::point("L1.fenced");
        // One by each producer, the first first: docs/decisions/0002-position-sentinel.md says why both.
        let mut nonce = String::new();
        for _ in 0..PRODUCERS {
            nonce = Uuid::now_v7().to_string();
            pair.transaction(|sender| sender.fence(&nonce))?;
        }
        harm::point("L2.sentinel");
        let found = position::newest(&self.client, &self.config.service, position::Until::Sentinel(&nonce))?;
        let position = found.ok_or_else(|| Error::PositionMissing { service: self.config.service.clone() })?;
        let mut connection = self.connect(&position)?;
        harm::point("L2.positioned");
        let hanging = position::hanging(&self.client, &self.config.service, &position.prev)?;
        self.meters.hanging.set(u32::try_from(hanging.len()).map_or(f64::INFINITY, f64::from));
        if !hanging.is_empty() {
            tracing::error!(partitions = ?hanging, code = "transaction_hanging", "readers wait behind a transaction that has no owner");
            self.free(&mut pair, &position, &hanging, &mut connection)?;
        }
        Ok((pair, position, connection))
    }

    /// Ends the transactions that nobody else will: the next marker of the producer that left one closes it, and which of
    /// the two it was is not known. So each of them commits a transaction that holds, for each partition, the record that was
    /// sent there last, once more: readers drop it by its `seq`, and its header says why it is there.
    /// See docs/decisions/0002-position-sentinel.md.
    fn free(&self, pair: &mut Pair, position: &Position, hanging: &[Hanging], connection: &mut PgConnection) -> Result<(), Halt> {
        let mut stamp = Stamp::new(&self.config.service, position.incarnation);
        let mut repeats = Vec::new();
        for place in hanging {
            let seq = position.prev.last(&place.topic, place.partition);
            match self.local.block_on(store::published(connection, seq))? {
                Some(repeat) => repeats.push(repeat),
                // dropped after 72 hours: the next message that is sent there frees its readers
                None => tracing::warn!(partition = ?place, seq, "the row that was sent there last is gone"),
            }
        }
        if repeats.is_empty() {
            return Ok(());
        }
        for _ in 0..PRODUCERS {
            pair.transaction(|sender| {
                repeats.iter().try_for_each(|(row, prev)| sender.row(row, stamp.repeated(row, *prev, "transaction_hanging")))
            })?;
        }
        self.meters.repeated.increment(u64::try_from(repeats.len() * PRODUCERS).unwrap_or(u64::MAX));
        // markers are written after the commit was answered
        let since = Instant::now();
        while since.elapsed() < FREED_WITHIN && !self.stopped() {
            let left = position::hanging(&self.client, &self.config.service, &position.prev)?;
            self.meters.hanging.set(u32::try_from(left.len()).map_or(f64::INFINITY, f64::from));
            if left.is_empty() {
                tracing::info!(repeats = repeats.len() * PRODUCERS, "readers were freed by repeated records");
                return Ok(());
            }
        }
        tracing::error!(partitions = ?hanging, code = "transaction_hanging", "repeated records have not freed their readers");
        Ok(())
    }

    /// A connection to the database that `position` speaks of.
    fn connect(&self, position: &Position) -> Result<PgConnection, Error> {
        let connection = self.local.block_on(async {
            let mut connection = store::connect(&self.config.connect, &format!("{}.relay", self.config.service)).await?;
            store::compare(&mut connection, position).await?;
            Ok(connection)
        })?;
        self.status.set_incarnation(position.incarnation);
        Ok(connection)
    }

    /// L3 to L6 until something ends it.
    fn publish(&mut self, keeper: &Keeper, mut pair: Pair, mut position: Position, connection: PgConnection) -> Halt {
        tracing::info!(cursor = position.cursor, incarnation = %position.incarnation, "the relay starts publishing");
        self.status.set_cursor(position.cursor);
        self.status.set_owner(true);
        self.status.set_error(None);
        let mut stamp = Stamp::new(&self.config.service, position.incarnation);
        let mut connection = Some(connection);
        let mut gap = None;
        let mut limit = plan::READ_ROWS;
        let mut wait = BUSY_WAIT;
        loop {
            let began = Instant::now();
            if self.stopped() {
                return Halt::Stopped;
            }
            if keeper.lost() {
                return Halt::Lost;
            }
            let read = match &mut connection {
                Some(connection) => self.local.block_on(store::read(connection, position.cursor, limit)),
                None => match self.connect(&position) {
                    Ok(made) => {
                        connection = Some(made);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            let seen = match read {
                Ok(seen) => seen,
                Err(error) if error.is_final() => return Halt::Error(error),
                Err(error) => {
                    // The producers stay: nothing is in doubt, and a new connection is compared with the position.
                    connection = None;
                    let pause = self.report(&error);
                    self.pause(pause);
                    continue;
                }
            };
            let plan = match decide(&position, gap, &seen, limit) {
                Ok(plan) => plan,
                Err(error) => return Halt::Error(error),
            };
            gap = plan.gap;
            if plan.emit > 0 {
                harm::point("L3.read");
                match self.send(&mut pair, &position, &mut stamp, &seen, plan.emit) {
                    Ok(next) => position = next,
                    Err(fault) => return Halt::Fault(fault),
                }
            }
            self.note(&plan, &seen);
            limit = plan::READ_ROWS;
            match plan.next {
                Next::More => continue,
                Next::Wider => {
                    limit = plan::READ_ROWS_MAX;
                    continue;
                }
                Next::Draw { seen: block } => {
                    if let Some(connection) = &mut connection {
                        match self.local.block_on(store::draw_xid(connection)) {
                            Ok(xid) => gap = gap.map(|gap| gap.settle(xid, block)),
                            Err(error) => {
                                self.report(&error);
                            }
                        }
                    }
                    continue;
                }
                Next::Gap => wait = BUSY_WAIT,
                Next::Wait => wait = if plan.emit > 0 { BUSY_WAIT } else { (wait * 2).min(IDLE_WAIT) },
            }
            if plan.stalled
                && let Some(connection) = &mut connection
            {
                self.warn_stalled(connection, gap);
            }
            pair.idle();
            if plan.emit >= LOADED_ROWS {
                self.pause(PACE.saturating_sub(began.elapsed()));
            } else {
                self.wait(keeper, wait);
            }
        }
    }

    /// L4 and L5: publishes the first `count` rows with the position after them; that position.
    fn send(&mut self, pair: &mut Pair, position: &Position, stamp: &mut Stamp, seen: &Seen, count: usize) -> Result<Position, Fault> {
        if harm::sabotaged(Sabotage::CutTransactions)
            && let Some(first) = seen.rows.iter().take(count).position(|row| row.slot.tx_rows > 1)
            && first + 1 < count
        {
            self.send_rows(pair, position, stamp, seen, 0..first + 1)
                .and_then(|half| self.send_rows(pair, &half, stamp, seen, first + 1..count))
        } else {
            self.send_rows(pair, position, stamp, seen, 0..count)
        }
    }

    fn send_rows(
        &mut self,
        pair: &mut Pair,
        position: &Position,
        stamp: &mut Stamp,
        seen: &Seen,
        range: std::ops::Range<usize>,
    ) -> Result<Position, Fault> {
        let count = range.len();
        let outside = harm::sabotaged(Sabotage::PositionOutside);
        let mut next = position.clone();
        let (mut sent, began) = (Sent::default(), if trace::on() { trace::now() } else { SystemTime::UNIX_EPOCH });
        let mut took = pair.transaction(|sender| {
            for row in seen.rows.get(range).unwrap_or_default() {
                let prev = next.prev.advance(&row.topic, row.partition, row.slot.id);
                sender.row(row, stamp.headers(row, prev))?;
                sent.add(&row.topic, &row.headers);
                (next.cursor, next.cursor_id) = (row.slot.id, row.message_id);
                harm::point("L4.half");
            }
            if outside { Ok(()) } else { sender.position(&next) }
        })?;
        if outside {
            took += pair.transaction(|sender| sender.position(&next))?;
        }
        sent.tell(began);
        // L6
        let rows = u64::try_from(count).unwrap_or(u64::MAX);
        self.status.set_cursor(next.cursor);
        self.status.count_transaction(rows);
        self.status.set_error(None);
        self.meters.transactions.increment(1);
        self.meters.rows.increment(rows);
        self.meters.commit.record(took);
        self.meters.sent.increment(rows);
        harm::point("L6.advanced");
        Ok(next)
    }

    /// What the rest of the process may know after a read and what was published of it.
    fn note(&self, plan: &Plan, seen: &Seen) {
        if plan.dead > 0 {
            self.status.count_settled(plan.dead);
            self.meters.gaps_settled.increment(plan.dead);
        }
        if plan.next == Next::Wait {
            self.status.set_published_before(seen.read_at_micros);
        }
        let unsent = seen.rows.get(plan.emit).map_or(0, |row| seen.read_at_micros.saturating_sub(row.created_at_micros));
        self.status.set_oldest_unsent(Duration::from_micros(u64::try_from(unsent).unwrap_or(0)));
    }

    fn warn_stalled(&self, connection: &mut PgConnection, gap: Option<Gap>) {
        let writer = self.local.block_on(store::oldest_writer(connection)).unwrap_or_else(|error| Some(error.to_string()));
        let writer = writer.as_deref().unwrap_or("none any more");
        tracing::warn!(
            block = gap.map(|gap| gap.block),
            writer,
            "the relay waits for a transaction that has not ended; the oldest writer is named"
        );
    }

    /// Waits for a poke, a stop or the loss of the lock, at most `limit`.
    fn wait(&mut self, keeper: &Keeper, limit: Duration) {
        let mut lost = keeper.watch();
        let (wake, stop) = (self.wake, &mut self.stop);
        self.local.block_on(async {
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(limit) => {}
                _ = stop.changed() => {}
                _ = lost.changed() => {}
            }
        });
    }

    /// Waits `time` or until the stop.
    fn pause(&mut self, time: Duration) {
        if !self.stopped() && !time.is_zero() {
            let stop = &mut self.stop;
            // Either way it is over; who called looks at `stopped`.
            drop(self.local.block_on(async { tokio::time::timeout(time, stop.changed()).await }));
        }
    }

    fn stopped(&self) -> bool {
        stopped(&self.stop)
    }

    /// Logs an error that is worth another try; how long to wait before it.
    fn report(&self, error: &Error) -> Duration {
        self.status.set_error(Some(error.code()));
        tracing::warn!(?error, code = error.code(), "the relay tries again");
        ERROR_PAUSE
    }
}

/// Asked to stop, or nobody is left who could ask.
fn stopped(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

fn decide(position: &Position, gap: Option<Gap>, seen: &Seen, limit: usize) -> Result<Plan, Error> {
    if harm::sabotaged(Sabotage::NaiveIdOrder) || harm::sabotaged(Sabotage::XidOrder) {
        let next = if seen.rows.len() >= limit { Next::More } else { Next::Wait };
        return Ok(Plan { emit: seen.rows.len(), dead: 0, gap: None, next, stalled: false });
    }
    let slots: Vec<Slot> = seen.rows.iter().map(|row| row.slot).collect();
    let read = Read { slots: &slots, xmin: seen.xmin, truncated: slots.len() >= limit };
    let cursor = Slot { id: position.cursor, tx_rows: 0 };
    plan::plan(cursor.block(), gap, read, Instant::now()).map_err(|damage| Error::OutboxDamaged { block: damage.block, what: damage.what })
}

/// Handles of the relay's metrics.
struct Meters {
    transactions: metrics::Counter,
    rows: metrics::Counter,
    sent: metrics::Counter,
    doubts: metrics::Counter,
    fenced: metrics::Counter,
    gaps_settled: metrics::Counter,
    commit: metrics::Histogram,
    hanging: metrics::Gauge,
    repeated: metrics::Counter,
}

impl Meters {
    fn new() -> Self {
        Self {
            transactions: metrics::counter!("relay_transactions_total"),
            rows: metrics::counter!("relay_rows_total"),
            sent: metrics::counter!("messaging_client_sent_messages_total"),
            doubts: metrics::counter!("relay_doubts_total"),
            fenced: metrics::counter!("relay_fenced_total"),
            gaps_settled: metrics::counter!("relay_gaps_settled_total"),
            commit: metrics::histogram!("relay_commit_seconds"),
            hanging: metrics::gauge!("relay_partitions_hanging"),
            repeated: metrics::counter!("relay_rows_repeated_total"),
        }
    }
}
