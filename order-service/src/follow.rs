//! Waiting for something to happen to an order. All who wait are served by one question to the database, asked again and again while
//! anybody waits: any instance may be the one that moves the order on.

use std::collections::HashMap;
use std::time::Duration;

use kafka::Units;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use values::OrderId;

use crate::store;

/// Who may wait at once; beyond, clients are told to come back.
const WAITING_MAX: usize = 4_096;
/// Pause between two questions with few orders to ask about.
const PAUSE: Duration = Duration::from_millis(20);
/// What each order adds to the pause, so that many waiting are no load.
const PAUSE_EACH: Duration = Duration::from_micros(250);

/// One who waits.
struct Ask {
    id: OrderId,
    /// The version of the order's saga that is known already.
    known: i64,
    until: Instant,
    answer: oneshot::Sender<()>,
}

/// Where one waits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Follow {
    asks: mpsc::Sender<Ask>,
}

/// Too many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests wait for orders")]
pub struct TooMany;

impl Follow {
    /// Starts the watcher on the current runtime; it ends with the last clone.
    #[must_use]
    pub fn spawn(units: Units) -> Self {
        let (asks, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(watch(units, receiver));
        Self { asks }
    }

    /// Waits until the order's saga is beyond the version `known`, at most `wait`; says whether it is.
    ///
    /// # Errors
    /// [`TooMany`].
    pub async fn moved(&self, id: OrderId, known: i64, wait: Duration) -> Result<bool, TooMany> {
        let (answer, heard) = oneshot::channel();
        self.asks.try_send(Ask { id, known, until: Instant::now() + wait, answer }).map_err(|_full_or_ended| TooMany)?;
        Ok(matches!(timeout(wait, heard).await, Ok(Ok(()))))
    }
}

async fn watch(units: Units, mut asks: mpsc::Receiver<Ask>) {
    let mut waiting: Vec<Ask> = Vec::new();
    loop {
        if waiting.is_empty() {
            match asks.recv().await {
                Some(ask) => waiting.push(ask),
                None => return,
            }
        }
        while waiting.len() < WAITING_MAX
            && let Ok(ask) = asks.try_recv()
        {
            waiting.push(ask);
        }
        let versions = match versions(&units, &waiting).await {
            Ok(versions) => versions,
            Err(error) => {
                tracing::warn!(error = %error, waiting = waiting.len(), "look after orders that somebody waits for");
                HashMap::new()
            }
        };
        let now = Instant::now();
        let (done, open): (Vec<Ask>, Vec<Ask>) =
            waiting.into_iter().partition(|ask| versions.get(&ask.id).is_some_and(|version| *version > ask.known));
        for ask in done {
            if ask.answer.send(()).is_err() {
                tracing::debug!(order.id = %ask.id, "nobody waits any more");
            }
        }
        waiting = open.into_iter().filter(|ask| ask.until > now && !ask.answer.is_closed()).collect();
        let each = PAUSE_EACH * u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        sleep(PAUSE.max(each)).await;
    }
}

async fn versions(units: &Units, waiting: &[Ask]) -> Result<HashMap<OrderId, i64>, sqlx::Error> {
    let mut ids: Vec<OrderId> = waiting.iter().map(|ask| ask.id).collect();
    ids.sort_unstable();
    ids.dedup();
    store::saga_versions(&mut *units.pool().acquire().await?, &ids).await
}
