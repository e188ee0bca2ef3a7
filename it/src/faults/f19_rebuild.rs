//! F19: the database of each service is lost, in the middle of a load and again at rest, and rebuilt from the topics; the
//! rebuild is killed at random moments first. Nothing published is lost or done twice, and what was at rest is equal by hash.

use std::collections::HashSet;
use std::time::Duration;

use stack::Service;
use uuid::Uuid;

use super::rebuilds::{content, rebuild, refuses, shown, spied, word};
use super::{Dice, Load, Outcome, SOON, Session, Stage, replay, until};
use crate::checker::world::Topic;

/// Orders a second.
const RATE: u32 = 20;
const SERVICES: [Service; 3] = [Service::Orders, Service::Inventory, Service::Payments];
/// The relay of orders is slowed down, so that some orders are acknowledged and not published when their database is lost.
const LAG: &str = "L3.read=return(delay:100)";

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let (orders, kills) = (session.orders(60, 10_000), session.size(1, 20));
    let mut dice = session.dice();
    let stage = session.stage().await?;
    let mut outcome = Outcome::default();
    let (mut lost_at_work, mut safe, mut rebuilt) = (0, 0, 0);
    for service in SERVICES {
        if service == Service::Orders {
            stage.arm(service, LAG);
            stage.stack.restart(service).await?;
        }
        let load = stage.load_published(orders, RATE);
        load.no_more();
        load.reaches(orders / 3).await?;
        let unpublished = lose(stage, service).await?;
        refuses(stage, service).await?;
        let took = rebuild(stage, service, &mut outcome).await?;
        outcome.recoveries.push(took);
        rebuilt += 1;
        if service == Service::Orders {
            lost_at_work += note_lost(stage, &load, &unpublished, &mut outcome).await?;
            safe += u64::try_from(load.published().len())?;
        }
        load.finish().await?;
    }
    outcome.judged(&stage.verdict().await?);
    for service in SERVICES {
        at_rest(stage, service, kills, &mut dice, &mut outcome).await?;
        rebuilt += 1;
    }
    outcome.judged(&stage.verdict().await?);
    super::f19_letters::run(session, &mut outcome).await?;
    outcome.reach("rebuilds", rebuilt);
    outcome.reach("rebuilds killed", u64::try_from(kills * SERVICES.len())?);
    outcome.reach("orders acknowledged as published", safe);
    outcome.figures.push(format!("{lost_at_work} acknowledged orders lost, each of them unpublished"));
    Ok(outcome)
}

/// Kills the service and drops its database; answers the orders that it had placed and not published.
pub(super) async fn lose(stage: &Stage, service: Service) -> anyhow::Result<HashSet<Uuid>> {
    stage.stack.kill(service).await?;
    let unpublished = if service == Service::Orders { unpublished(stage).await? } else { HashSet::new() };
    stage.stack.lose_database(service).await?;
    stage.stack.set_up(service, false).await?;
    stage.arm(service, "");
    stage.stack.launch(service).await?;
    Ok(unpublished)
}

async fn unpublished(stage: &Stage) -> anyhow::Result<HashSet<Uuid>> {
    let placed: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM orders").fetch_all(&mut stage.sql("orders").await?).await?;
    let published = published(stage).await?;
    Ok(placed.into_iter().filter(|id| !published.contains(id)).collect())
}

/// The orders on `orders.events` so far.
async fn published(stage: &Stage) -> anyhow::Result<HashSet<Uuid>> {
    let bootstrap = stage.stack.kafka_bootstrap();
    let copies = tokio::task::spawn_blocking(move || replay::read(&bootstrap, Topic::OrdersEvents.name())).await??;
    Ok(copies.iter().filter_map(|copy| std::str::from_utf8(copy.key()?).ok()?.parse().ok()).collect())
}

/// Acknowledged orders that are on no topic are gone for good: exactly those that were unpublished.
async fn note_lost(stage: &mut Stage, load: &Load, unpublished: &HashSet<Uuid>, outcome: &mut Outcome) -> anyhow::Result<u64> {
    let (acknowledged, published) = (load.acknowledged(), published(stage).await?);
    let known: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM orders").fetch_all(&mut stage.sql("orders").await?).await?;
    let known: HashSet<Uuid> = known.into_iter().collect();
    let lost: HashSet<Uuid> = acknowledged.into_iter().filter(|id| !published.contains(id) && !known.contains(id)).collect();
    for id in lost.difference(unpublished) {
        outcome.broken.push(format!("order {id} was acknowledged and published, and is lost"));
    }
    for id in load.published().iter().filter(|id| lost.contains(*id)) {
        outcome.broken.push(format!("order {id} was acknowledged as published, and is lost"));
    }
    let count = u64::try_from(lost.len())?;
    stage.lost.extend(lost);
    Ok(count)
}

/// Loses the database of a system at rest and rebuilds it, killed `kills` times on the way: equal by hash, and nobody else has
/// seen or heard anything.
async fn at_rest(stage: &Stage, service: Service, kills: usize, dice: &mut Dice, outcome: &mut Outcome) -> anyhow::Result<()> {
    let (before, heard) = (content(stage, service).await?, spied(stage).await?);
    lose(stage, service).await?;
    for _ in 0..kills {
        refuses(stage, service).await?;
        word(stage, service).await?;
        tokio::time::sleep(Duration::from_millis(dice.roll(1_500))).await;
        stage.stack.kill(service).await?;
        stage.stack.launch(service).await?;
    }
    // a kill may have come after its end
    let state = until("the service says where it stands", SOON, || async {
        Ok(match shown(stage, service).await {
            Ok(seen) if seen.state == "needed" => Ok("needed"),
            Ok(_) if stage.stack.check(stack::Part::from(service)).await.is_ok() => Ok("live"),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    if state == "needed" {
        let took = rebuild(stage, service, outcome).await?;
        outcome.recoveries.push(took);
    }
    let after = content(stage, service).await?;
    for (table, before) in &before {
        let after = after.get(table);
        outcome.must(after == Some(before), || format!("{}.{table} was {before:?} and is {after:?}", service.name()));
    }
    outcome.must(before.len() == after.len() && before.contains_key("events"), || format!("{}: tables are missing", service.name()));
    let now = spied(stage).await?;
    outcome.must(now == heard, || format!("a rebuild of {} was heard of outside: {heard:?} became {now:?}", service.name()));
    Ok(())
}
