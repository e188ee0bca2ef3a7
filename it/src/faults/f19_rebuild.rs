//! F19: the database of each service is lost, in the middle of a load and again at rest, and rebuilt from the topics; the
//! rebuild is killed at random moments first. Nothing published is lost or done twice, and what was at rest is equal by hash.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use operation::{Act, Rebuild};
use stack::Service;
use uuid::Uuid;

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
    let (mut lost_at_work, mut rebuilt) = (0, 0);
    for service in SERVICES {
        if service == Service::Orders {
            stage.arm(service, LAG);
            stage.stack.restart(service).await?;
        }
        let load = stage.load(orders, RATE);
        load.no_more();
        load.reaches(orders / 3).await?;
        let unpublished = lose(stage, service).await?;
        refuses(stage, service).await?;
        let took = rebuild(stage, service, &mut outcome).await?;
        outcome.recoveries.push(took);
        rebuilt += 1;
        if service == Service::Orders {
            lost_at_work += note_lost(stage, &load, &unpublished, &mut outcome).await?;
        }
        load.finish().await?;
    }
    outcome.judged(&stage.verdict().await?);
    for service in SERVICES {
        at_rest(stage, service, kills, &mut dice, &mut outcome).await?;
        rebuilt += 1;
    }
    outcome.judged(&stage.verdict().await?);
    outcome.reach("rebuilds", rebuilt);
    outcome.reach("rebuilds killed", u64::try_from(kills * SERVICES.len())?);
    outcome.figures.push(format!("{lost_at_work} acknowledged orders lost, each of them unpublished"));
    Ok(outcome)
}

/// Kills the service and drops its database; answers the orders that it had placed and not published.
async fn lose(stage: &Stage, service: Service) -> anyhow::Result<HashSet<Uuid>> {
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
    let count = u64::try_from(lost.len())?;
    stage.lost.extend(lost);
    Ok(count)
}

/// Until somebody gives the word nobody is served and nothing is rebuilt.
async fn refuses(stage: &Stage, service: Service) -> anyhow::Result<()> {
    until(&format!("{} says that it must be rebuilt", service.name()), SOON, || async {
        Ok(match shown(stage, service).await {
            Ok(seen) if seen.state == "needed" => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    let answer = http()?.get(stage.stack.service_url(service, 1)).send().await?;
    let (status, again) = (answer.status().as_u16(), answer.headers().contains_key("Retry-After"));
    anyhow::ensure!(status == 503 && again, "{} answers {status} while its database is lost, Retry-After: {again}", service.name());
    Ok(())
}

/// Gives the word and waits for the end; how long it took.
async fn rebuild(stage: &Stage, service: Service, outcome: &mut Outcome) -> anyhow::Result<Duration> {
    let began = Instant::now();
    word(stage, service).await?;
    let seen = until(&format!("{} is rebuilt", service.name()), 3 * SOON, || async {
        let seen = shown(stage, service).await?;
        anyhow::ensure!(seen.state != "failed", "the rebuild of {} failed: {:?} {:?}", service.name(), seen.code, seen.error);
        Ok(if seen.state == "done" { Ok(seen) } else { Err(format!("{:?}", seen.progress)) })
    })
    .await
    .with_context(|| stage.complaints())?;
    stage.stack.ready(service).await?;
    for check in seen.checks.iter().filter(|check| !check.holds) {
        outcome.broken.push(format!("{}: {}: {}", service.name(), check.what, check.found));
    }
    outcome.must(!seen.checks.is_empty(), || format!("{}: nothing was verified", service.name()));
    Ok(began.elapsed())
}

/// Loses the database of a system at rest and rebuilds it, killed `kills` times on the way: equal by hash, and nobody else has
/// seen or heard anything.
async fn at_rest(stage: &Stage, service: Service, kills: usize, dice: &mut Dice, outcome: &mut Outcome) -> anyhow::Result<()> {
    let (before, spied) = (content(stage, service).await?, spied(stage).await?);
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
    let now = self::spied(stage).await?;
    outcome.must(now == spied, || format!("a rebuild of {} was heard of outside: {spied:?} became {now:?}", service.name()));
    Ok(())
}

/// Rows and hash of every table that a rebuild brings back.
async fn content(stage: &Stage, service: Service) -> anyhow::Result<BTreeMap<String, (i64, String)>> {
    let rows: Vec<(String, i64, String)> =
        sqlx::query_as("SELECT name, row_count, hash FROM content_hash()").fetch_all(&mut stage.sql(service.name()).await?).await?;
    Ok(rows.into_iter().map(|(name, rows, hash)| (name, (rows, hash))).collect())
}

/// What the outside could notice: the ends of all topics, and what the payment provider was asked.
async fn spied(stage: &Stage) -> anyhow::Result<(Vec<Vec<i64>>, String)> {
    let bootstrap = stage.stack.kafka_bootstrap();
    let ends = tokio::task::spawn_blocking(move || {
        Topic::ALL.iter().map(|topic| replay::ends(&bootstrap, topic.name())).collect::<anyhow::Result<Vec<_>>>()
    })
    .await??;
    let asked = "SELECT md5(coalesce(string_agg(o::text, '' ORDER BY o::text), '')) FROM operations AS o";
    Ok((ends, sqlx::query_scalar(asked).fetch_one(&mut stage.sql("provider").await?).await?))
}

fn http() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()
}

async fn shown(stage: &Stage, service: Service) -> anyhow::Result<Rebuild> {
    let url = format!("{}/ops/rebuild", stage.stack.ops_url(service, 1));
    Ok(http()?.get(url).send().await?.error_for_status()?.json().await?)
}

async fn word(stage: &Stage, service: Service) -> anyhow::Result<()> {
    let url = format!("{}/ops/rebuild", stage.stack.ops_url(service, 1));
    let act = Act { who: "it".to_owned(), why: "its database was lost".to_owned(), execute: true };
    http()?.post(url).json(&act).send().await?.error_for_status()?;
    Ok(())
}
