//! Waiting until what was committed is on its topics, so that it survives the loss of the database as well.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::{Config, Error, Status, newest_position};

/// Between two looks at our own relay's cursor.
const OWN_LOOK: Duration = Duration::from_millis(2);
/// Between two looks at the position topic, while another process owns the relay: all who wait share one.
const TOPIC_LOOK: Duration = Duration::from_millis(50);

/// Tells when the relay, whichever process owns it, has published what was committed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Published {
    config: Arc<Config>,
    status: Arc<Status>,
    /// The cursor on the position topic, and when it was read.
    seen: Arc<Mutex<Option<(Instant, i64)>>>,
}

/// Why it is not known whether something was published.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The database does not answer.
    #[error("look for the newest outbox row")]
    Database(#[from] sqlx::Error),
    /// The position topic cannot be read.
    #[error("read the relay's position")]
    Relay(#[from] Error),
}

impl Published {
    pub(crate) fn new(config: Config, status: Arc<Status>) -> Self {
        Self { config: Arc::new(config), status, seen: Arc::default() }
    }

    /// Waits, at most `limit`, until everything is published whose COMMIT was answered before the call. Says whether it is: the Kafka
    /// transaction that holds it has committed.
    ///
    /// # Errors
    /// [`Unknown`].
    pub async fn wait(&self, pool: &PgPool, limit: Duration) -> Result<bool, Unknown> {
        // A broker that is away keeps a look at its topic waiting for longer than anybody wants to.
        timeout(limit, self.reached(pool)).await.unwrap_or(Ok(false))
    }

    async fn reached(&self, pool: &PgPool) -> Result<bool, Unknown> {
        // Ids rise with every commit of a stream, and a committed row is visible: ours are at or below the newest.
        let newest: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM outbox").fetch_one(pool).await?;
        loop {
            let (cursor, look) = match self.status.cursor().filter(|_| self.status.owner()) {
                Some(cursor) => (cursor, OWN_LOOK),
                None => (self.on_topic(pool).await?, TOPIC_LOOK),
            };
            if cursor >= newest {
                return Ok(true);
            }
            sleep(look).await;
        }
    }

    /// The cursor of the newest committed position, of this very database; 0 of another's.
    async fn on_topic(&self, pool: &PgPool) -> Result<i64, Unknown> {
        // Whoever holds the lock looks for all who wait for it.
        let mut seen = self.seen.lock().await;
        if let Some((_, cursor)) = seen.filter(|(at, _)| at.elapsed() < TOPIC_LOOK) {
            return Ok(cursor);
        }
        let incarnation: uuid::Uuid = sqlx::query_scalar("SELECT incarnation FROM db_identity").fetch_one(pool).await?;
        let position = newest_position(&self.config).await?;
        let cursor = position.filter(|position| position.incarnation == incarnation).map_or(0, |position| position.cursor);
        *seen = Some((Instant::now(), cursor));
        Ok(cursor)
    }
}
