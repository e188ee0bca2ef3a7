//! F1: kill -9 of random service processes under load.

use std::time::{Duration, Instant};

use stack::Service;

use super::{Outcome, Session};

/// Orders a second.
const RATE: u32 = 40;
/// Every process is back at full rate within this time.
const BACK: Duration = Duration::from_secs(10);

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let (kills, orders) = (session.size(10, 60), session.orders(1_000, 10_000));
    let sabotaged = session.options().sabotage.is_some();
    let (kills, orders) = if sabotaged { (3, 100) } else { (kills, orders) };
    let mut dice = session.dice();
    let stage = session.stage().await?;
    let mut outcome = Outcome::default();
    let load = stage.load(orders, RATE);
    for number in 0..kills {
        // spread over the load; what comes after its end is still under load, which goes on until the last kill
        load.reaches(orders * (number + 1) / (kills + 2)).await?;
        // the gateway has nothing that could be sabotaged
        let victims = if sabotaged { &[Service::Orders, Service::Inventory, Service::Payments][..] } else { &Service::ALL[..] };
        let next = victims.get(number % victims.len());
        let Some(victim) = (if sabotaged { next } else { dice.pick(victims) }).copied() else { continue };
        let before = stage.open_orders().await?;
        let killed = Instant::now();
        stage.stack.kill(victim).await?;
        stage.stack.restart(victim).await?;
        stage.recovered(before).await?;
        outcome.recoveries.push(killed.elapsed());
    }
    outcome.reach("kills", u64::try_from(outcome.recoveries.len())?);
    let heard = load.finish().await?;
    outcome.figures.push(format!("{} orders accepted", heard.accepted));
    let slowest = outcome.slowest().unwrap_or_default();
    outcome.must(slowest <= BACK, || format!("a process was back at full rate only after {slowest:?}"));
    outcome.judged(&stage.verdict().await?);
    Ok(outcome)
}
