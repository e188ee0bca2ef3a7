//! What the relay tells the rest of the process.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

/// The relay's state, written by its thread and read by health, metrics and the deadline worker. Every getter is one
/// load (`incarnation` and `last_error_code` take a short lock); values of two getters may be of two moments.
#[derive(Debug)]
pub struct Status {
    owner: AtomicBool,
    cursor: AtomicI64,
    published_before_micros: AtomicI64,
    oldest_unsent_micros: AtomicU64,
    transactions: AtomicU64,
    rows: AtomicU64,
    doubts: AtomicU64,
    fenced: AtomicU64,
    gaps_settled: AtomicU64,
    incarnation: Mutex<Option<Uuid>>,
    last_error: Mutex<Option<&'static str>>,
}

/// A cursor that is not known yet.
const UNKNOWN: i64 = -1;

impl Default for Status {
    fn default() -> Self {
        Self {
            owner: AtomicBool::new(false),
            cursor: AtomicI64::new(UNKNOWN),
            published_before_micros: AtomicI64::new(0),
            oldest_unsent_micros: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            doubts: AtomicU64::new(0),
            fenced: AtomicU64::new(0),
            gaps_settled: AtomicU64::new(0),
            incarnation: Mutex::new(None),
            last_error: Mutex::new(None),
        }
    }
}

impl Status {
    /// Whether this process holds the relay's lock and has found its position.
    #[must_use]
    pub fn owner(&self) -> bool {
        self.owner.load(Ordering::Acquire)
    }

    /// Id of the last outbox row known to be published; `None` until this process first owned the relay. It only rises,
    /// and stands still while another process owns the relay.
    #[must_use]
    pub fn cursor(&self) -> Option<i64> {
        Some(self.cursor.load(Ordering::Acquire)).filter(|cursor| *cursor != UNKNOWN)
    }

    /// An instant of the database's clock, in microseconds since 1970: every outbox row committed before it has been
    /// published. 0 until this process owned the relay; it stands still in a gap, in a backlog and while another owns it.
    #[must_use]
    pub fn published_before_micros(&self) -> i64 {
        self.published_before_micros.load(Ordering::Acquire)
    }

    /// Age of the oldest row not yet published, by the database's clock at the last look; zero if there was none.
    #[must_use]
    pub fn oldest_unsent_age(&self) -> Duration {
        Duration::from_micros(self.oldest_unsent_micros.load(Ordering::Relaxed))
    }

    /// Kafka transactions committed without doubt.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Outbox rows in those transactions.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// How often the outcome of a transaction or of a start was doubtful and both producers were made anew.
    #[must_use]
    pub fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Relaxed)
    }

    /// How often another relay had taken over our transactional ids.
    #[must_use]
    pub fn fenced(&self) -> u64 {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Block numbers stepped over because their transaction is known to have rolled back.
    #[must_use]
    pub fn gaps_settled(&self) -> u64 {
        self.gaps_settled.load(Ordering::Relaxed)
    }

    /// The database's incarnation as last read by the relay.
    #[must_use]
    pub fn incarnation(&self) -> Option<Uuid> {
        *self.incarnation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Code of the last error, cleared by the next transaction or empty read that went well.
    #[must_use]
    pub fn last_error_code(&self) -> Option<&'static str> {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_owner(&self, owner: bool) {
        self.owner.store(owner, Ordering::Release);
    }

    pub(crate) fn set_cursor(&self, cursor: i64) {
        self.cursor.store(cursor, Ordering::Release);
    }

    pub(crate) fn set_published_before(&self, micros: i64) {
        self.published_before_micros.fetch_max(micros, Ordering::AcqRel);
    }

    pub(crate) fn set_oldest_unsent(&self, age: Duration) {
        self.oldest_unsent_micros.store(u64::try_from(age.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn count_transaction(&self, rows: u64) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn count_doubt(&self) {
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_fenced(&self) {
        self.fenced.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_settled(&self, blocks: u64) {
        self.gaps_settled.fetch_add(blocks, Ordering::Relaxed);
    }

    pub(crate) fn set_incarnation(&self, incarnation: Uuid) {
        *self.incarnation.lock().unwrap_or_else(PoisonError::into_inner) = Some(incarnation);
    }

    pub(crate) fn set_error(&self, code: Option<&'static str>) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = code;
    }
}
