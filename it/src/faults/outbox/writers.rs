//! Writers that make life hard for a relay: early xids, pauses before and after the insert, one rollback in five, forty
//! contended keys.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::task::JoinHandle;

use super::super::{Dice, SOON, until};
use super::{KEYS, Outbox};

/// A COMMIT that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Committed {
    /// The transaction's block in the outbox.
    pub block: i64,
    /// When the answer came, Unix milliseconds.
    pub at_ms: i64,
}

/// How the writers write.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// Longest pause between two transactions.
    pause_ms: u64,
    /// Rows of a transaction, if not one to six.
    rows: Option<i32>,
}

/// Writers that write until they are told to finish.
#[derive(Debug)]
pub struct Writers {
    stop: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
    commits: Arc<Mutex<Vec<Committed>>>,
    rollbacks: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Writers {
    /// Starts `count` writers that pause up to `pause_ms` between transactions of one to six rows, or of `rows`.
    #[must_use]
    pub fn start(outbox: &Outbox, count: u64, pause_ms: u64, rows: Option<i32>, dice: &mut Dice) -> Self {
        let mut writers =
            Self { stop: Arc::default(), rows: Arc::default(), commits: Arc::default(), rollbacks: Arc::default(), tasks: Vec::new() };
        for _ in 0..count {
            let one = Writer {
                outbox: outbox.clone(),
                dice: Dice::new(dice.roll(u64::MAX)),
                manner: Manner { pause_ms, rows },
                stop: Arc::clone(&writers.stop),
                rows: Arc::clone(&writers.rows),
                commits: Arc::clone(&writers.commits),
                rollbacks: Arc::clone(&writers.rollbacks),
            };
            writers.tasks.push(tokio::spawn(one.run()));
        }
        writers
    }

    /// Rows committed so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Transactions rolled back so far.
    #[must_use]
    pub fn rollbacks(&self) -> u64 {
        self.rollbacks.load(Ordering::Relaxed)
    }

    /// Waits until so many rows are committed.
    ///
    /// # Errors
    /// That does not happen in time.
    pub async fn reach(&self, rows: u64) -> anyhow::Result<()> {
        until(&format!("{rows} rows are written"), 20 * SOON, || async {
            let now = self.rows();
            Ok(if now >= rows { Ok(()) } else { Err(format!("{now} rows")) })
        })
        .await
    }

    /// Stops them; every COMMIT that was answered.
    ///
    /// # Errors
    /// A writer failed.
    pub async fn finish(self) -> anyhow::Result<Vec<Committed>> {
        self.stop.store(true, Ordering::Release);
        for task in self.tasks {
            task.await??;
        }
        Ok(std::mem::take(&mut *self.commits.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

struct Writer {
    outbox: Outbox,
    dice: Dice,
    manner: Manner,
    stop: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
    commits: Arc<Mutex<Vec<Committed>>>,
    rollbacks: Arc<AtomicU64>,
}

impl Writer {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut db = self.outbox.db().await?;
        while !self.stop.load(Ordering::Acquire) {
            self.transaction(&mut db).await?;
            let pause = self.dice.roll(self.manner.pause_ms.max(1));
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    async fn pause(&mut self) {
        let millis = self.dice.roll(24);
        if millis < 12 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }

    async fn transaction(&mut self, db: &mut PgConnection) -> anyhow::Result<()> {
        let mut tx = db.begin().await?;
        if self.dice.roll(2) == 0 {
            sqlx::query("INSERT INTO early VALUES (1)").execute(&mut *tx).await?;
            self.pause().await;
        }
        let key = i32::try_from(self.dice.roll(KEYS))?;
        let version: i32 = sqlx::query_scalar("UPDATE versions SET version = version + 1 WHERE key = $1 RETURNING version")
            .bind(key)
            .fetch_one(&mut *tx)
            .await?;
        let rows = match self.manner.rows {
            Some(rows) => rows,
            None if self.dice.roll(2_000) == 0 => 1_500,
            None => 1 + i32::try_from(self.dice.roll(6))?,
        };
        let block = self.outbox.append(&mut tx, key, version, rows).await?;
        self.pause().await;
        if self.dice.roll(5) == 0 {
            tx.rollback().await?;
            self.rollbacks.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        tx.commit().await?;
        let at_ms = jiff::Timestamp::now().as_millisecond();
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).push(Committed { block, at_ms });
        self.rows.fetch_add(u64::try_from(rows)?, Ordering::Relaxed);
        Ok(())
    }
}
