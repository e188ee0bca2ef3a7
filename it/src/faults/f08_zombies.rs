//! F8: a relay or a consumer is stopped in the middle of a step, another one takes over, and the first wakes up and goes on.

use std::time::Duration;

use stack::{Part, Service};

use super::outbox::{Child, Outbox, Writers};
use super::{Outcome, SOON, Session, Stage, patience, until};

/// Orders a second.
const RATE: u32 = 20;
/// A point holds a process for so long, in which it is stopped; how long it is stopped does not count for it.
const HELD: &str = "delay:1500";

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let sabotage = session.options().sabotage.clone();
    let times = if sabotage.is_some() { 1 } else { session.size(1, 20) };
    let mut outcome = Outcome::default();
    if sabotage.as_deref() != Some("no_epoch_check") {
        relays(session, times, &mut outcome).await?;
    }
    if sabotage.as_deref() != Some("random_transactional_id") {
        consumers(session, times, &mut outcome).await?;
    }
    Ok(outcome)
}

/// Relays: stopped when they have read rows and not yet sent them.
async fn relays(session: &mut Session, times: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
    let sabotage = session.options().sabotage.clone();
    let mut dice = session.dice();
    let infra = session.infra().await?;
    let outbox = Outbox::new(infra, "zombie").await?;
    let writers = Writers::start(&outbox, 4, 40, None, &mut dice);
    let mut fenced = 0;
    for _ in 0..times {
        let zombie = Child::start(&outbox, &format!("L3.read={}*off->1*return({HELD})", 5 + dice.roll(20)), sabotage.as_deref())?;
        until("the relay reaches its point", SOON, || async {
            Ok(if zombie.reached() > 0 { Ok(()) } else { Err(format!("{:?}", zombie.status())) })
        })
        .await?;
        zombie.stop()?;
        let before = outbox.position().await?.cursor;
        let successor = Child::start(&outbox, "", sabotage.as_deref())?;
        until("another relay takes over", SOON, || async {
            Ok(if successor.status().owner { Ok(()) } else { Err(format!("{:?}", successor.status())) })
        })
        .await?;
        let after = outbox.progress(before, SOON).await?;
        zombie.cont()?;
        let woken = until("the relay that woke up is fenced", Duration::from_secs(15), || async {
            let status = zombie.status();
            Ok(if status.fenced > 0 { Ok(status.fenced) } else { Err(format!("{status:?}")) })
        })
        .await;
        match woken {
            Ok(count) => fenced += count,
            Err(error) => outcome.broken.push(format!("{error:#}")),
        }
        outbox.progress(after, SOON).await?;
        zombie.kill().await?;
        successor.kill().await?;
    }
    outcome.reach("relays stopped", times);
    outcome.figures.push(format!("{fenced} times a relay was fenced"));
    writers.finish().await?;
    let last = Child::start(&outbox, "", sabotage.as_deref())?;
    outbox.drained(patience(sabotage.is_some())).await?;
    last.kill().await?;
    outbox.judge(&[]).await?.tell(outcome);
    Ok(())
}

/// Consumers: one of two instances of inventory-service, stopped when it has planned a batch and not yet claimed its rows.
async fn consumers(session: &mut Session, times: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
    let orders = session.orders(100, 1_000);
    let stage = session.stage().await?;
    let load = stage.load(orders, RATE);
    let mut fenced = 0.0;
    for _ in 0..times {
        stage.arm(Service::Inventory, &format!("C2.planned=5*off->1*return({HELD})"));
        let before = stage.reached(Service::Inventory, "C2.planned", HELD);
        let second = stage.stack.add_instance(Service::Inventory).await?;
        stage.arm(Service::Inventory, "");
        let part = Service::Inventory.instance(second);
        until("the second instance reaches its point", SOON, || async {
            let reached = stage.reached(Service::Inventory, "C2.planned", HELD) > before;
            Ok(if reached { Ok(()) } else { Err("not yet".to_owned()) })
        })
        .await?;
        stage.stack.stop(part)?;
        alone(stage, "the first instance owns everything").await?;
        stage.stack.cont(part)?;
        let woken = until("the instance that woke up is fenced", Duration::from_secs(15), || async {
            let count = stage.metric(Service::Inventory, second, "consumer_fenced_total").await?;
            Ok(if count > 0.0 { Ok(count) } else { Err("it was not".to_owned()) })
        })
        .await;
        match woken {
            Ok(count) => fenced += count,
            Err(error) => outcome.broken.push(format!("{error:#}")),
        }
        stage.stack.terminate(part).await?;
        alone(stage, "the first instance owns everything again").await?;
    }
    outcome.reach("consumers stopped", times);
    outcome.figures.push(format!("{fenced} times a consumer was fenced"));
    load.finish().await?;
    if session.options().sabotage.is_none() {
        outcome.judged(&session.stage().await?.verdict().await?);
    }
    Ok(())
}

/// Waits until instance 1 owns every partition that inventory-service reads.
async fn alone(stage: &Stage, what: &str) -> anyhow::Result<()> {
    let first = Part::from(Service::Inventory).to_string();
    until(what, SOON, || async {
        let owners: Vec<(String, i64)> =
            sqlx::query_as("SELECT owner, count(*) FROM progress GROUP BY owner").fetch_all(&mut stage.sql("inventory").await?).await?;
        let only = owners.len() == 1 && owners.iter().all(|(owner, _)| *owner == first);
        Ok(if only { Ok(()) } else { Err(format!("{owners:?}")) })
    })
    .await
}
