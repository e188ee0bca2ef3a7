//! Idempotency keys and their answers are kept for a day; what is older is deleted in small steps.

use std::time::Duration;

use kafka::Units;
use tokio::sync::watch;

use crate::store::requests;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(300);
/// Keys deleted in one statement.
const STEP: i64 = 5_000;

/// Deletes old keys until the process stops.
pub(crate) async fn run(units: Units, mut stop: watch::Receiver<bool>) {
    loop {
        let pause = match requests::delete_old(units.pool(), STEP).await {
            Ok(deleted) if i64::try_from(deleted).is_ok_and(|deleted| deleted >= STEP) => Duration::from_millis(200),
            Ok(_) => PAUSE,
            Err(error) => {
                tracing::warn!(error = %error, "delete old idempotency keys and their answers");
                PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stopping| *stopping) => return,
        }
    }
}
