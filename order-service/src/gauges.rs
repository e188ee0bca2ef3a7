//! What operators are alarmed by and only this service's tables know.

use std::time::Duration;

use kafka::Units;
use tokio::sync::watch;

use crate::store;

/// Pause between two looks; each reads a partial index that is empty while nothing is stuck.
const PAUSE: Duration = Duration::from_secs(5);

/// Looks until the process stops.
pub(crate) async fn run(units: Units, mut stop: watch::Receiver<bool>) {
    loop {
        let look = async { store::count_stuck(&mut *units.pool().acquire().await?).await };
        match look.await {
            Ok(stuck) => metrics::gauge!("saga_stuck").set(u32::try_from(stuck).map_or(f64::INFINITY, f64::from)),
            Err(error) => tracing::debug!(error = %error, "count stuck sagas"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stopping| *stopping) => return,
        }
    }
}
