//! F12: every record of every topic comes a second time. Nothing changes, and each one is counted as a repeat.

use stack::Service;

use super::{Outcome, SOON, Session, Stage, replay, until};
use crate::checker::world::Topic;

/// Orders a second.
const RATE: u32 = 40;
const SERVICES: [Service; 3] = [Service::Orders, Service::Inventory, Service::Payments];
/// Positions and the like, which move when a record is passed over.
const MOVING: &str = "'progress', 'chain', '_sqlx_migrations'";

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let orders = session.orders(100, 2_000);
    let stage = session.stage().await?;
    let mut outcome = Outcome::default();
    stage.load(orders, RATE).finish().await?;
    outcome.judged(&stage.verdict().await?);
    // from here on the topics hold records twice, on purpose
    stage.polluted = true;
    let (before, counted) = (hashes(stage).await?, repeats(stage).await?);
    let (mut written, mut due) = (0_u64, 0_u64);
    for topic in Topic::ALL {
        let bootstrap = stage.stack.kafka_bootstrap();
        let copies = tokio::task::spawn_blocking(move || {
            let copies = replay::read(&bootstrap, topic.name())?;
            replay::write(&bootstrap, topic.name(), &copies)?;
            Ok::<usize, anyhow::Error>(copies.len())
        })
        .await??;
        let copies = u64::try_from(copies)?;
        written += copies;
        due += copies * u64::try_from(readers(stage, topic).await?)?;
        passed(stage, topic).await?;
    }
    outcome.reach("records replayed", written);
    let after = hashes(stage).await?;
    for ((table, before), (_, after)) in before.iter().zip(&after) {
        outcome.must(before == after, || format!("{table} is another after the replay"));
    }
    outcome.figures.push(format!("{} tables hashed", after.len()));
    let repeats = repeats(stage).await? - counted;
    outcome.must(repeats >= due, || format!("{repeats} repeats were counted, {due} were read"));
    outcome.figures.push(format!("{repeats} repeats counted, {due} read"));
    for service in SERVICES {
        let held = stage.held(service, 1).await?;
        outcome.must(held.is_empty(), || format!("{} holds {held}", service.name()));
    }
    Ok(outcome)
}

/// A hash of every table of every service, but for positions.
async fn hashes(stage: &Stage) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let mut hashes = Vec::new();
    for service in SERVICES {
        let mut db = stage.sql(service.name()).await?;
        let list = format!(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND relname NOT IN ({MOVING}) ORDER BY 1"
        );
        let tables: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(list)).fetch_all(&mut db).await?;
        for table in tables {
            // names come from the catalogue
            let sql = format!("SELECT md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {table} AS t");
            hashes.push((format!("{}.{table}", service.name()), sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut db).await?));
        }
    }
    Ok(hashes)
}

/// Repeats counted by all services.
async fn repeats(stage: &Stage) -> anyhow::Result<u64> {
    let mut sum = 0.0;
    for service in SERVICES {
        sum += stage.metric(service, 1, "messaging_repeats_total").await?;
    }
    // a counter of records, far below what an f64 holds exactly
    Ok(std::time::Duration::from_secs_f64(sum).as_secs())
}

/// How many services read `topic`.
async fn readers(stage: &Stage, topic: Topic) -> anyhow::Result<usize> {
    let mut readers = 0;
    for service in SERVICES {
        readers += usize::from(!offsets(stage, service, topic).await?.is_empty());
    }
    Ok(readers)
}

async fn offsets(stage: &Stage, service: Service, topic: Topic) -> anyhow::Result<Vec<i64>> {
    let sql = "SELECT next_offset FROM progress WHERE topic = $1 ORDER BY partition";
    Ok(sqlx::query_scalar(sql).bind(topic.name()).fetch_all(&mut stage.sql(service.name()).await?).await?)
}

/// Waits until every reader of `topic` has passed its end.
async fn passed(stage: &Stage, topic: Topic) -> anyhow::Result<()> {
    let bootstrap = stage.stack.kafka_bootstrap();
    let ends = tokio::task::spawn_blocking(move || replay::ends(&bootstrap, topic.name())).await??;
    until(&format!("{topic} is read to its end again"), SOON, || async {
        for service in SERVICES {
            let offsets = offsets(stage, service, topic).await?;
            if offsets.iter().zip(&ends).any(|(next, end)| next < end) {
                return Ok(Err(format!("{} is at {offsets:?} of {ends:?}", service.name())));
            }
        }
        Ok(Ok(()))
    })
    .await
}
