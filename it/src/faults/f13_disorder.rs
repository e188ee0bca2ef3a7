//! F13: records of the owner's own hand are swapped, dropped or altered, or are gone before they were read. It is named
//! within a second, and nothing is applied out of order.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use stack::Service;

use super::replay::{self, Copy};
use super::{Outcome, SOON, Session, Stage, until};

/// Orders a second.
const RATE: u32 = 40;
/// Named within this time.
const NAMED: Duration = Duration::from_secs(1);
/// Ids of one database transaction. Source: `outbox_append()`.
const BLOCK_IDS: i64 = 8_192;

/// What is done to two records that follow the last one of a partition.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Swap,
    Drop,
    Alter,
}

struct Case {
    topic: &'static str,
    reader: Service,
    harm: Harm,
    /// What `/readyz` must say; an altered record may be a dead letter instead.
    code: &'static str,
}

const CASES: [Case; 3] = [
    Case { topic: "inventory.commands", reader: Service::Inventory, harm: Harm::Swap, code: "chain_gap" },
    Case { topic: "payments.commands", reader: Service::Payments, harm: Harm::Drop, code: "chain_gap" },
    Case { topic: "payments.events", reader: Service::Orders, harm: Harm::Alter, code: "undecodable" },
];

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let orders = session.orders(60, 60);
    let sabotaged = session.options().sabotage.is_some();
    let stage = session.stage_as_it_is().await?;
    let mut outcome = Outcome::default();
    stage.load(orders, RATE).finish().await?;
    stage.rest().await?;
    stage.polluted = true;
    if !sabotaged {
        for case in &CASES {
            attack(stage, case, &mut outcome).await?;
        }
        outcome.reach("partitions disordered", u64::try_from(CASES.len())?);
    }
    gone(stage, &mut outcome).await?;
    session.spoil().await;
    Ok(outcome)
}

/// The last record of `topic` in the first partition that has one, and the two that would follow it.
async fn next(stage: &Stage, topic: &'static str) -> anyhow::Result<[Copy; 2]> {
    let bootstrap = stage.stack.kafka_bootstrap();
    let copies = tokio::task::spawn_blocking(move || replay::read(&bootstrap, topic)).await??;
    // the newest by number: a topic that was replayed ends with repeats, in the same order
    let last = copies.iter().max_by_key(|copy| copy.number("seq").unwrap_or(0)).with_context(|| format!("{topic} is empty"))?;
    let seq = last.number("seq")?;
    let follow = |step: i64| {
        let id = uuid::Uuid::now_v7().to_string();
        let copy =
            last.clone().with("seq", &(seq + step * BLOCK_IDS).to_string()).with("prev", &(seq + (step - 1) * BLOCK_IDS).to_string());
        copy.with("ce_id", &id)
    };
    Ok([follow(1), follow(2)])
}

async fn attack(stage: &Stage, case: &Case, outcome: &mut Outcome) -> anyhow::Result<()> {
    let [first, second] = next(stage, case.topic).await?;
    let partition = first.partition;
    let sent = match case.harm {
        Harm::Swap => vec![second, first],
        Harm::Drop => vec![second],
        Harm::Alter => {
            let mut altered = first;
            // the schema id stays; what follows it breaks off
            altered.payload.iter_mut().for_each(|payload| payload.truncate(7));
            vec![altered]
        }
    };
    let (events, offset) = (events(stage, case.reader).await?, offset(stage, case, partition).await?);
    let (bootstrap, topic) = (stage.stack.kafka_bootstrap(), case.topic);
    tokio::task::spawn_blocking(move || replay::write(&bootstrap, topic, &sent)).await??;
    let since = Instant::now();
    let named = until(&format!("{:?} on {} is named", case.harm, case.topic), SOON, || async {
        let held = stage.held(case.reader, 1).await?;
        let dead = stage.count(case.reader.name(), "SELECT count(*) FROM parked WHERE state = 'dead'").await?;
        let named = held.contains(&format!("{}[{partition}]: {}", case.topic, case.code)) || (matches!(case.harm, Harm::Alter) && dead > 0);
        Ok(if named { Ok(since.elapsed()) } else { Err(format!("{} holds {held:?}", case.reader.name())) })
    })
    .await?;
    outcome.recoveries.push(named);
    outcome.must(named <= NAMED, || format!("{:?} on {} was named only after {named:?}", case.harm, case.topic));
    let now = (self::events(stage, case.reader).await?, self::offset(stage, case, partition).await?);
    outcome.must(now.0 == events, || format!("{:?} on {}: {} events were written", case.harm, case.topic, now.0 - events));
    let moved = now.1 != offset && !matches!(case.harm, Harm::Alter);
    outcome.must(!moved, || format!("{:?} on {}: read on from {offset} to {}", case.harm, case.topic, now.1));
    Ok(())
}

async fn events(stage: &Stage, service: Service) -> anyhow::Result<i64> {
    stage.count(service.name(), "SELECT count(*) FROM events").await
}

async fn offset(stage: &Stage, case: &Case, partition: i32) -> anyhow::Result<i64> {
    let sql = "SELECT next_offset FROM progress WHERE topic = $1 AND partition = $2";
    let mut db = stage.sql(case.reader.name()).await?;
    Ok(sqlx::query_scalar(sql).bind(case.topic).bind(partition).fetch_one(&mut db).await?)
}

/// Retention eats records before they were read: the reader says so instead of starting somewhere else.
async fn gone(stage: &Stage, outcome: &mut Outcome) -> anyhow::Result<()> {
    const TOPIC: &str = "inventory.events";
    stage.stack.terminate(Service::Orders).await?;
    let [first, second] = next(stage, TOPIC).await?;
    let (bootstrap, partition) = (stage.stack.kafka_bootstrap(), first.partition);
    let end = tokio::task::spawn_blocking(move || {
        replay::write(&bootstrap, TOPIC, &[first, second])?;
        let end = replay::ends(&bootstrap, TOPIC)?.get(usize::try_from(partition)?).copied();
        end.context("no such partition")
    })
    .await??;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", stage.stack.kafka_bootstrap()).create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, partition, Offset::Offset(end))?;
    admin.delete_records(&list, &AdminOptions::new()).await?;
    outcome.reach("partitions cut short", 1);
    let wanted = format!("{TOPIC}[{partition}]: offset_gone");
    // it starts, and is not ready: that is what it has to say
    let named = async {
        until("offset_gone is named", super::patience(true), || async {
            let held = stage.held(Service::Orders, 1).await.unwrap_or_default();
            Ok(if held.contains(&wanted) { Ok(()) } else { Err(format!("orders holds {held:?}")) })
        })
        .await
    };
    tokio::select! {
        named = named => {
            if let Err(error) = named {
                outcome.broken.push(format!("{error:#}"));
            }
        }
        // ready for a moment, until it has looked
        () = async {
            drop(stage.stack.restart(Service::Orders).await);
            std::future::pending::<()>().await;
        } => {}
    }
    Ok(())
}
