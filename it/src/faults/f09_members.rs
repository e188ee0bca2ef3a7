//! F9: instances of inventory-service come and go: one, five, two, again and again.

use std::time::{Duration, Instant};

use stack::{Part, Service};

use super::{Outcome, Session, Stage, percentile};

/// Orders a second.
const RATE: u32 = 30;
/// Between two changes.
const EVERY: Duration = Duration::from_secs(5);
/// Nothing is handled for so long at most after a join or a leave in order.
const PAUSE: Duration = Duration::from_secs(3);
/// How many members there are, in turn.
const SIZES: [u32; 2] = [5, 2];

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let (time, orders) = session.size((Duration::from_secs(25), 500), (Duration::from_secs(300), 5_000));
    let orders = session.orders(orders, orders);
    let stage = session.stage().await?;
    let mut outcome = Outcome::default();
    let load = stage.load(orders, RATE);
    load.reaches(usize::try_from(RATE)?).await?;
    let from = clock(stage).await?;
    let mut changes = vec![from];
    let (began, mut turn, mut joins, mut leaves) = (Instant::now(), 0, 0, 0);
    let mut members = vec![Part::from(Service::Inventory)];
    let mut resting: Vec<Part> = Vec::new();
    while began.elapsed() < time {
        let changed = Instant::now();
        let Some(size) = SIZES.get(turn % SIZES.len()).copied() else { break };
        turn += 1;
        while members.len() < usize::try_from(size)? {
            let part = match resting.pop() {
                Some(part) => {
                    stage.stack.restart(part).await?;
                    part
                }
                None => Service::Inventory.instance(stage.stack.add_instance(Service::Inventory).await?),
            };
            members.push(part);
            joins += 1;
            changes.push(clock(stage).await?);
        }
        while members.len() > usize::try_from(size)? {
            let Some(part) = members.pop() else { break };
            stage.stack.terminate(part).await?;
            resting.push(part);
            leaves += 1;
            changes.push(clock(stage).await?);
        }
        tokio::time::sleep(EVERY.saturating_sub(changed.elapsed())).await;
    }
    let to = clock(stage).await?;
    changes.push(to);
    outcome.reach("joins", joins);
    outcome.reach("leaves in order", leaves);
    for part in members.into_iter().filter(|part| *part != Part::from(Service::Inventory)) {
        stage.stack.terminate(part).await?;
    }
    load.finish().await?;
    let pauses = pauses(stage, &changes).await?;
    let (p50, p99) = (percentile(pauses.clone(), 0.5), percentile(pauses, 0.99));
    outcome.figures.push(format!("pause p50 {} ms p99 {} ms", p50.as_millis(), p99.as_millis()));
    outcome.must(p99 <= PAUSE, || format!("the pause's p99 is {p99:?}"));
    outcome.judged(&stage.verdict().await?);
    Ok(outcome)
}

/// Now, in microseconds by the database's clock.
async fn clock(stage: &Stage) -> anyhow::Result<i64> {
    stage.count("inventory", "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").await
}

/// For each change, the longest time until the next one in which inventory-service handled nothing although orders came.
async fn pauses(stage: &Stage, changes: &[i64]) -> anyhow::Result<Vec<Duration>> {
    let sql = "SELECT (extract(epoch FROM recorded_at) * 1000000)::bigint FROM events WHERE recorded_at >= to_timestamp($1 / 1000000.0)
               GROUP BY 1 ORDER BY 1";
    let first = changes.first().copied().unwrap_or_default();
    let handled: Vec<i64> = sqlx::query_scalar(sql).bind(first).fetch_all(&mut stage.sql("inventory").await?).await?;
    let mut pauses = Vec::with_capacity(changes.len());
    for window in changes.windows(2) {
        let [from, to] = window else { continue };
        let inside = handled.iter().copied().filter(|at| at >= from && at < to);
        let (mut last, mut longest) = (*from, 0);
        for at in inside.chain([*to]) {
            longest = longest.max(at - last);
            last = at;
        }
        pauses.push(Duration::from_micros(u64::try_from(longest).unwrap_or(0)));
    }
    Ok(pauses)
}
