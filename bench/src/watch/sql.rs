//! Watching by one query for all orders in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::flight::{Flight, Seen};
use crate::reader::Reader;

/// How often it asks: adds 5 ms on average to what the observer measures.
const EVERY: Duration = Duration::from_millis(10);
/// Wait after a failed query; the database may be restarting.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Asks for all open orders until aborted.
pub async fn watch(reader: Reader, flight: Arc<Flight>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ids: Vec<_> = flight.open().into_iter().map(|placed| placed.id).collect();
        if ids.is_empty() {
            continue;
        }
        match reader.decided(&ids).await {
            Ok(decided) => {
                let at = Instant::now();
                for (id, decision) in decided {
                    flight.decided(&Seen { id, decision, at, decided_at: None });
                }
            }
            // Whether the database ever comes back is judged by the load's own patience.
            Err(_) => sleep(AFTER_FAILURE).await,
        }
    }
}
