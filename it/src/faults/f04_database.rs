//! F4: PostgreSQL is killed under load, and COMMITs lose their answer. Nothing is promised that is not kept.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stack::Part;

use super::{Outcome, SOON, Session, Stage, until};

/// Orders a second.
const RATE: u32 = 40;
/// COMMITs in a row whose answer each service loses, each time.
const COMMITS: u64 = 3;

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let (kills, orders) = (session.size(2, 10), session.orders(400, 4_000));
    let sabotaged = session.options().sabotage.is_some();
    let (kills, orders) = if sabotaged { (1, 150) } else { (kills, orders) };
    let mut dice = session.dice();
    let stage = session.stage().await?;
    let mut outcome = Outcome::default();
    let load = stage.load(orders, RATE);
    let mut windows = Vec::new();
    for number in 0..kills {
        load.reaches(orders * (number + 1) / (kills + 2)).await?;
        let before = stage.open_orders().await?;
        lose_commits(stage, number).await?;
        stage.stack.kill(Part::Postgres).await?;
        let from = Instant::now();
        tokio::time::sleep(Duration::from_millis(2_000 + dice.roll(2_000))).await;
        windows.push((from, Instant::now()));
        let acknowledged = load.acknowledged();
        stage.stack.restart(Part::Postgres).await?;
        let back = Instant::now();
        let kept: i64 = sqlx::query_scalar("SELECT count(DISTINCT id) FROM orders WHERE id = ANY($1)")
            .bind(&acknowledged)
            .fetch_one(&mut stage.sql("orders").await?)
            .await?;
        let placed: std::collections::BTreeSet<_> = acknowledged.iter().collect();
        let gone = i64::try_from(placed.len())? - kept;
        outcome.must(gone == 0, || format!("{gone} acknowledged orders are gone after the kill"));
        if sabotaged {
            // what was lost makes the rest stand still
            outcome.reach("database kills", 1);
            drop(load);
            session.spoil().await;
            return Ok(outcome);
        }
        load.reaches(load.accepted() + usize::try_from(RATE)?).await?;
        stage.recovered(before).await?;
        outcome.recoveries.push(back.elapsed());
    }
    outcome.reach("database kills", u64::try_from(windows.len())?);
    let cut = [&stage.links.orders_db, &stage.links.inventory_db, &stage.links.payments_db]
        .map(|link| link.seen().commits_cut.load(Ordering::Relaxed));
    outcome.reach("COMMITs without answer", cut.iter().sum());
    let heard = load.finish().await?;
    let mut refused = 0;
    for answer in windows.iter().flat_map(|(from, to)| heard.between(*from, *to)) {
        match answer.status {
            Some(503) if answer.retry_after => refused += 1,
            // a basket with a quantity of 0 is refused by what it says
            Some(422) => {}
            other => {
                outcome.broken.push(format!("an order was answered {other:?} without a database, Retry-After: {}", answer.retry_after));
            }
        }
    }
    outcome.reach("orders told to come again", refused);
    outcome.judged(&stage.verdict().await?);
    Ok(outcome)
}

/// The next COMMITs of every service are sent and not answered.
async fn lose_commits(stage: &Stage, round: usize) -> anyhow::Result<()> {
    for link in [&stage.links.orders_db, &stage.links.inventory_db, &stage.links.payments_db] {
        let wanted = COMMITS * u64::try_from(round + 1)?;
        let already = link.seen().commits_cut.load(Ordering::Relaxed);
        link.cut_after_commit(wanted.saturating_sub(already).max(1));
        until(&format!("{} has lost its COMMITs", link.name()), SOON, || async {
            let cut = link.seen().commits_cut.load(Ordering::Relaxed);
            Ok(if cut >= wanted { Ok(()) } else { Err(format!("{cut} of {wanted}")) })
        })
        .await?;
    }
    Ok(())
}
