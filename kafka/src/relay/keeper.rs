//! L0: the advisory lock, on a connection that says every 2 s that its process lives. The lock decides who tries, not who
//! may: only the transactional ids do that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use tokio::sync::{Notify, oneshot, watch};

use super::{Config, Error, Status, store};

/// Between signs of life; the server ends the session after 8 s without one. Source: PROTOCOLS 1.3 (L0).
const BEAT: Duration = Duration::from_secs(2);
/// How long one may take before the lock counts as lost. Two of them fit into the server's 8 s.
const BEAT_LIMIT: Duration = Duration::from_secs(4);
/// Between tries for the lock while another process has it; a dead owner's lock is free at once.
const STANDBY: Duration = Duration::from_millis(500);
/// Tries on one connection; a new one finds out whether the database is still the same.
const TRIES: u32 = 10;
/// Between calls of `outbox_maintain`.
const MAINTAIN_EVERY: Duration = Duration::from_secs(60);

/// The lock, as long as this value lives and [`Keeper::lost`] is false.
#[derive(Debug)]
pub(crate) struct Keeper {
    lost: watch::Receiver<bool>,
    _release: oneshot::Sender<()>,
}

impl Keeper {
    /// Whether the lock's session has ended or does not answer.
    pub(crate) fn lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Changes once, when the lock is lost.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.lost.clone()
    }
}

/// Takes the lock as soon as it is free; `None` if another process has it for the next 5 s. The connection that holds it
/// is kept by a task of the runtime this runs on.
pub(crate) async fn acquire(config: Config, status: Arc<Status>, wake: Arc<Notify>) -> Result<Option<Keeper>, Error> {
    let mut connection = store::connect_keeper(&config.connect, &format!("{}.relay.lock", config.service)).await?;
    let incarnation = store::incarnation(&mut connection).await?;
    status.set_incarnation(incarnation);
    let mut tries = 1;
    while !store::try_lock(&mut connection).await? {
        if tries == TRIES {
            store::close(connection).await;
            return Ok(None);
        }
        tries += 1;
        tokio::time::sleep(STANDBY).await;
    }
    let (tell, lost) = watch::channel(false);
    let (release, released) = oneshot::channel();
    tokio::runtime::Handle::current().spawn(keep(connection, status, tell, released, wake));
    Ok(Some(Keeper { lost, _release: release }))
}

/// Beats until the lock is released or the session fails. A beat is useful work: it counts the backlog.
async fn keep(
    mut connection: PgConnection,
    status: Arc<Status>,
    lost: watch::Sender<bool>,
    mut released: oneshot::Receiver<()>,
    wake: Arc<Notify>,
) {
    let pending_gauge = metrics::gauge!("outbox_pending");
    let age_gauge = metrics::gauge!("outbox_oldest_unsent_age_seconds");
    let mut maintained = Instant::now();
    loop {
        if tokio::time::timeout(BEAT, &mut released).await.is_ok() {
            store::close(connection).await;
            return;
        }
        match tokio::time::timeout(BEAT_LIMIT, store::pending(&mut connection, status.cursor().unwrap_or(i64::MAX))).await {
            Ok(Ok((pending, age))) => {
                pending_gauge.set(u32::try_from(pending).map_or(f64::INFINITY, f64::from));
                age_gauge.set(age.as_secs_f64());
                status.set_oldest_unsent(age);
            }
            Ok(Err(error)) => return give_up(&lost, &wake, &error),
            Err(error) => return give_up(&lost, &wake, &error),
        }
        if maintained.elapsed() >= MAINTAIN_EVERY
            && let Some(cursor) = status.cursor()
        {
            maintained = Instant::now();
            match store::maintain(&mut connection, cursor).await {
                Ok(0) => {}
                Ok(dropped) => tracing::info!(dropped, "dropped published outbox partitions"),
                Err(error) => tracing::warn!(error = ?error, "outbox partitions were not maintained; tried again in a minute"),
            }
        }
    }
}

fn give_up(lost: &watch::Sender<bool>, wake: &Notify, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(?error, "the relay's lock is lost");
    lost.send_replace(true);
    wake.notify_one();
}
