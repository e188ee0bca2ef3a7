//! The load: placing orders, a chosen number in flight or at a chosen rate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::client::{Call, Client};
use crate::flight::{Flight, Placed};
use crate::latency::Latencies;
use crate::watch;
use crate::wire::Order;

/// Most orders an open loop lets pile up: a system that falls this far behind has failed the rate, and the bench says so.
const BACKLOG_MAX: usize = 20_000;
/// How often a waiting loop looks whether the system has stalled.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// One order to be placed.
#[derive(Debug, Clone)]
pub struct Job {
    /// The caller's own number for it.
    pub tag: usize,
    /// Idempotency key.
    pub key: String,
    /// Who places it.
    pub customer: Arc<str>,
    /// JSON.
    pub body: Vec<u8>,
}

/// An order the server refused, or one whose fate the client does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The caller's own number.
    pub tag: usize,
    /// Problem code, or what went wrong.
    pub why: String,
}

/// What became of the POSTs.
#[derive(Debug, Default)]
pub struct Ledger {
    /// From sending to the final answer, retries included; accepted orders of the measured window.
    pub post: Latencies,
    /// Accepted, in the order of the answers.
    pub accepted: Vec<(usize, Uuid)>,
    /// Refused for good.
    pub refused: Vec<Refusal>,
    /// No final answer, or one that is not what the interface says.
    pub failed: Vec<Refusal>,
}

/// Why a load stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// Nothing was decided for too long.
    #[error("nothing was decided for {patience:?}: {open} orders are open")]
    Stalled {
        /// How long it waited.
        patience: Duration,
        /// Orders placed and not decided.
        open: usize,
    },
    /// An open loop's backlog is full.
    #[error("the system fell {BACKLOG_MAX} orders behind the rate")]
    Behind,
    /// A request had no final answer.
    #[error("a request failed: {why}")]
    Failed {
        /// The first of them.
        why: String,
    },
}

/// The measured window, by when orders are sent.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// First instant inside.
    pub from: Instant,
    /// First instant after it; `None` when everything belongs to it.
    pub to: Option<Instant>,
}

impl Window {
    /// From now on, everything.
    #[must_use]
    pub fn everything() -> Self {
        Self { from: Instant::now(), to: None }
    }

    /// Whether `at` is inside.
    #[must_use]
    pub fn contains(&self, at: Instant) -> bool {
        at >= self.from && self.to.is_none_or(|to| at < to)
    }
}

/// One load on one system.
#[derive(Debug)]
pub struct Load {
    client: Arc<Client>,
    flight: Arc<Flight>,
    window: Window,
    patience: Duration,
    started_at: Timestamp,
    ledger: Mutex<Ledger>,
    answered: AtomicUsize,
}

impl Load {
    /// A load that places through `client`, registers in `flight`, and gives up when nothing is decided for `patience`.
    #[must_use]
    pub fn new(client: Arc<Client>, flight: Arc<Flight>, window: Window, patience: Duration) -> Arc<Self> {
        let (started_at, ledger, answered) = (Timestamp::now(), Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { client, flight, window, patience, started_at, ledger, answered })
    }

    /// POSTs answered so far, refused ones too.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Orders refused or failed so far.
    #[must_use]
    pub fn not_accepted(&self) -> usize {
        let ledger = self.ledger();
        ledger.refused.len() + ledger.failed.len()
    }

    /// Takes what became of the POSTs.
    #[must_use]
    pub fn take_ledger(&self) -> Ledger {
        std::mem::take(&mut self.ledger())
    }

    /// Closed loop: starts `jobs` in their order, the next one when fewer than `in_flight` are placed and not decided. Ends when the jobs
    /// end and every one is decided.
    ///
    /// # Errors
    /// [`Stopped`] when it had to stop; what was placed until then is in the ledger and the flight.
    pub async fn closed(self: &Arc<Self>, jobs: impl Iterator<Item = Job>, in_flight: usize) -> Result<(), Stopped> {
        let slots = Arc::new(Semaphore::new(in_flight));
        let mut running = JoinSet::new();
        let mut jobs = jobs;
        loop {
            let permit = self.slot(&slots).await?;
            let Some(job) = jobs.next() else { break };
            running.spawn(Arc::clone(self).place(job, Instant::now(), Some(permit)));
            while running.try_join_next().is_some() {}
        }
        self.drain(running).await
    }

    /// Open loop: starts `jobs` evenly at `rate` a second, however far the system is behind. Latencies count from when an order should
    /// have been sent, so that a stalled client or system does not hide its own delay. Ends when the jobs end and every one is decided.
    ///
    /// # Errors
    /// [`Stopped`], also when the backlog is full.
    pub async fn open(self: &Arc<Self>, jobs: impl Iterator<Item = Job>, rate: f64) -> Result<(), Stopped> {
        let started = Instant::now();
        let mut running = JoinSet::new();
        for (number, job) in jobs.enumerate() {
            let due = started + Duration::from_secs_f64(f64::from(u32::try_from(number).unwrap_or(u32::MAX)) / rate);
            sleep_until(due.into()).await;
            running.spawn(Arc::clone(self).place(job, due, None));
            while running.try_join_next().is_some() {}
            if running.len() + self.flight.open_count() > BACKLOG_MAX {
                return Err(Stopped::Behind);
            }
            self.check_failed()?;
        }
        self.drain(running).await
    }

    async fn slot(&self, slots: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Stopped> {
        let waiting_since = Instant::now();
        loop {
            self.check_failed()?;
            if let Ok(Ok(permit)) = timeout(STALL_CHECK, Arc::clone(slots).acquire_owned()).await {
                return Ok(permit);
            }
            self.check_stalled(waiting_since)?;
        }
    }

    async fn drain(&self, mut running: JoinSet<()>) -> Result<(), Stopped> {
        while running.join_next().await.is_some() {}
        let waiting_since = Instant::now();
        while self.flight.open_count() > 0 {
            sleep(Duration::from_millis(2)).await;
            self.check_stalled(waiting_since)?;
        }
        self.check_failed()
    }

    fn check_failed(&self) -> Result<(), Stopped> {
        self.ledger().failed.first().map_or(Ok(()), |failed| Err(Stopped::Failed { why: failed.why.clone() }))
    }

    fn check_stalled(&self, waiting_since: Instant) -> Result<(), Stopped> {
        let since = self.flight.last_seen_at().map_or(waiting_since, |seen_at| seen_at.max(waiting_since));
        if since.elapsed() < self.patience {
            return Ok(());
        }
        Err(Stopped::Stalled { patience: self.patience, open: self.flight.open_count() })
    }

    async fn place(self: Arc<Self>, job: Job, sent_at: Instant, permit: Option<OwnedSemaphorePermit>) {
        let Job { tag, key, customer, body } = job;
        let call = Call::post("/v1/orders", key, Some(Arc::clone(&customer)), body);
        let answer = self.client.send(&call).await;
        let took = sent_at.elapsed();
        self.answered.fetch_add(1, Ordering::Relaxed);
        let (order, replayed) = match answer {
            Ok(answer) if answer.is_success() => (answer.json::<Order>(&call), answer.replayed),
            Ok(answer) if (400..500).contains(&answer.status) => {
                self.ledger().refused.push(Refusal { tag, why: answer.code() });
                return;
            }
            Ok(answer) => {
                self.ledger().failed.push(Refusal { tag, why: format!("http_{} {}", answer.status, answer.code()) });
                return;
            }
            Err(error) => (Err(error), false),
        };
        let order = match order {
            Ok(order) => order,
            Err(error) => {
                self.ledger().failed.push(Refusal { tag, why: error.to_string() });
                return;
            }
        };
        // An order of an earlier run that is gone on with is ours, but was not placed under this load.
        let measured = self.window.contains(sent_at) && !(replayed && order.placed_at < self.started_at);
        self.accept(tag, order.id, measured.then_some(took));
        let placed = Placed { id: order.id, customer, sent_at, placed_at: Some(order.placed_at), measured };
        self.flight.placed(placed.clone(), permit);
        if replayed {
            // It may have been decided before the watcher looked.
            watch::http::ask(&self.client, &self.flight, placed).await;
        }
    }

    fn accept(&self, tag: usize, id: Uuid, measured: Option<Duration>) {
        let mut ledger = self.ledger();
        ledger.accepted.push((tag, id));
        if let Some(took) = measured {
            ledger.post.record(took);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
