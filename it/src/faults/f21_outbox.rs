//! F21: the order of the outbox. Twenty-four writers with early xids and rollbacks, a relay that is killed again and again,
//! a writer that stays open for long, and a schedule that fools a barrier which is not an xid of the relay's own.

use std::time::Duration;

use sqlx::Connection as _;

use super::outbox::{Child, Outbox, Writers};
use super::{Outcome, SOON, Session, patience, percentile, until};

const WRITERS: u64 = 24;
/// Longest pause of a writer, in milliseconds: about 150 transactions a second together.
const PAUSE_MS: u64 = 300;
/// Rounds of the schedule below.
const ROUNDS: i32 = 10;
/// Long enough for a relay at rest to look and to see a gap age.
const SEEN: Duration = Duration::from_millis(120);

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let (rows, kills, long) = session.size((20_000, 20, Duration::from_secs(3)), (200_000, 300, Duration::from_secs(30)));
    // as with every sabotage, what must be caught is caught by little
    let (rows, kills) = if session.options().sabotage.is_some() { (2_000, 3) } else { (rows, kills) };
    let lag_max = session.size(Duration::from_millis(250), Duration::from_millis(50));
    let sabotage = session.options().sabotage.clone();
    let patience = patience(sabotage.is_some());
    let mut dice = session.dice();
    let infra = session.infra().await?;
    let outbox = Outbox::new(infra, "order").await?;
    let mut outcome = Outcome::default();
    let start = |failpoints: &str| Child::start(&outbox, failpoints, sabotage.as_deref());

    // at rest but for the schedule, then undisturbed: the lag
    let mut relay = start("")?;
    fool_the_barrier(&outbox, &relay).await?;
    outcome.reach("rounds of the schedule", u64::try_from(ROUNDS)?);
    let calm = Writers::start(&outbox, WRITERS, PAUSE_MS, None, &mut dice);
    calm.reach(rows / 10).await?;
    let timed = calm.finish().await?;
    outbox.drained(patience).await?;

    let writers = Writers::start(&outbox, WRITERS, PAUSE_MS, None, &mut dice);
    let mut cursor = 0;
    for number in 0..kills {
        if number == 0 {
            // the first one dies where it knows of a commit and has told nobody
            relay.kill().await?;
            relay = start("L5.committed=6*off->1*return(abort)")?;
            until("the relay dies after a commit", patience, || async {
                Ok(if relay.reached() > 0 { Ok(()) } else { Err(format!("{:?}", relay.status())) })
            })
            .await?;
        } else if let Ok(moved) = outbox.progress(cursor, patience).await {
            cursor = moved;
        } else if sabotage.is_none() {
            anyhow::bail!("nothing is published behind {cursor}");
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(100))).await;
        relay.kill().await?;
        relay = start("")?;
    }
    outcome.reach("relay kills", kills);
    outcome.reach("long writers", 1);
    let mut db = outbox.db().await?;
    let mut open = db.begin().await?;
    // under a key of its own: the writers must not wait for it, only what comes after it
    outbox.append(&mut open, 1_000, 1, 2).await?;
    tokio::time::sleep(long).await;
    open.commit().await?;
    writers.reach(rows.saturating_sub(rows / 10)).await?;
    outcome.reach("rollbacks", writers.rollbacks());
    writers.finish().await?;
    outbox.drained(patience).await?;
    relay.kill().await?;

    let judgement = outbox.judge(&timed).await?;
    judgement.tell(&mut outcome);
    let (p50, p99) = (percentile(judgement.lags.clone(), 0.5), percentile(judgement.lags.clone(), 0.99));
    outcome.figures.push(format!("{} rows, lag p50 {} ms p99 {} ms", judgement.rows, p50.as_millis(), p99.as_millis()));
    outcome.must(p99 <= lag_max, || format!("the lag's p99 is {p99:?}"));
    Ok(outcome)
}

/// The schedule: an early xid (100) whose block comes second, another (101) that only rolls back, and a third (102) whose
/// block comes first and stays open. After 100 has committed, the snapshot's `xmax` is 101; once 101 has ended, every
/// transaction below that has, and 102 would be taken for dead while it is about to commit. An xid drawn by the relay is 103.
async fn fool_the_barrier(outbox: &Outbox, relay: &Child) -> anyhow::Result<()> {
    until("the relay runs", SOON, || async { Ok(if relay.status().owner { Ok(()) } else { Err("not yet".to_owned()) }) }).await?;
    let (mut second, mut idle, mut first) = (outbox.db().await?, outbox.db().await?, outbox.db().await?);
    for round in 1..=ROUNDS {
        let mut committing = second.begin().await?;
        sqlx::query("INSERT INTO early VALUES (100)").execute(&mut *committing).await?;
        let mut rolling_back = idle.begin().await?;
        sqlx::query("INSERT INTO early VALUES (101)").execute(&mut *rolling_back).await?;
        let mut open = first.begin().await?;
        sqlx::query("INSERT INTO early VALUES (102)").execute(&mut *open).await?;
        outbox.append(&mut open, 38, round, 2).await?;
        outbox.append(&mut committing, 39, round, 2).await?;
        committing.commit().await?;
        tokio::time::sleep(SEEN).await;
        rolling_back.rollback().await?;
        tokio::time::sleep(SEEN).await;
        open.commit().await?;
    }
    sqlx::query("UPDATE versions SET version = $1 WHERE key IN (38, 39)").bind(ROUNDS).execute(&mut second).await?;
    Ok(())
}
