//! Watching by `GET /v1/orders/{id}`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::client::{Call, Client};
use crate::flight::{Decision, Flight, Placed, Seen};
use crate::wire::{Order, Status};

/// How often it looks which orders are due.
const TICK: Duration = Duration::from_millis(2);
/// An order is asked for again after a quarter of its age, at most this.
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// How many are asked for at once.
const AT_ONCE: usize = 16;

/// Asks for every open order until aborted.
pub async fn watch(client: Arc<Client>, flight: Arc<Flight>) {
    let mut asked: HashMap<Uuid, Instant> = HashMap::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let open = flight.open();
        let due: Vec<Placed> =
            open.iter().filter(|placed| asked.get(&placed.id).is_none_or(|at| at.elapsed() >= pause(placed))).cloned().collect();
        asked.retain(|id, _| open.iter().any(|placed| placed.id == *id));
        for placed in &due {
            asked.insert(placed.id, Instant::now());
        }
        stream::iter(due).for_each_concurrent(AT_ONCE, |placed| ask(&client, &flight, placed)).await;
    }
}

/// Asks once for `placed` and tells `flight` if it is decided. An answer that cannot be had is asked for again later.
pub async fn ask(client: &Client, flight: &Flight, placed: Placed) {
    let call = Call::get(format!("/v1/orders/{}", placed.id), Some(placed.customer));
    let Ok(answer) = client.send(&call).await else { return };
    let Ok(order) = answer.json::<Order>(&call) else { return };
    let decision = match order.status {
        Status::Pending => return,
        Status::Confirmed => Decision::Confirmed,
        Status::Cancelled => Decision::Cancelled,
        Status::Stuck => Decision::Stuck,
    };
    flight.decided(&Seen { id: order.id, decision, at: Instant::now(), decided_at: None });
}

fn pause(placed: &Placed) -> Duration {
    (placed.sent_at.elapsed() / 4).clamp(TICK, PAUSE_MAX)
}
