//! The part of F19 about messages that failed: dead letters come back dead, with everything decided about them, and each of them
//! is handled once when it is sent back afterwards.

use kafka::relay;
use operation::{Decide, Decided, Letters, Target};
use stack::Service;

use super::f19_rebuild::lose;
use super::rebuilds::{http, rebuild, refuses};
use super::{Outcome, SOON, Session, Stage, until};

/// Orders a second.
const RATE: u32 = 20;
/// inventory-service fails for good on some placed orders: it counts what is asked for, and its letters are released.
const HARM: &str = "R0.decided=return(permanent/40/orders.OrderPlaced)";
/// Everything about letters but their numbers and times.
const LETTERS: &str = "SELECT concat_ws(' ', topic, partition, record_offset, encode(key, 'escape'), message_id, record, step, correlation_id, md5(value),
        policy, state, alone, attempt, redrive_no, error_class, error_code, error, fingerprint) FROM parked WHERE state = 'dead' ORDER BY 1";
const DECISIONS: &str = "SELECT concat_ws(' ', topic, partition, record_offset, message_id, redrive_no, decision, md5(value), who, why) FROM decisions ORDER BY 1";

pub(super) async fn run(session: &mut Session, outcome: &mut Outcome) -> anyhow::Result<()> {
    let orders = session.orders(30, 1_000);
    let stage = session.stage().await?;
    let service = Service::Inventory;
    stage.arm(service, HARM);
    stage.stack.restart(service).await?;
    stage.load(orders, RATE).finish().await?;
    read_to_end(stage).await?;
    stage.arm(service, "");
    stage.stack.restart(service).await?;
    let dead = letters(stage).await?;
    anyhow::ensure!(dead.len() > 2, "only {} letters are dead", dead.len());
    // one is sent back and handled; the others wait for a person
    let sent_back = dead.first().map(|letter| vec![*letter]).unwrap_or_default();
    redrive(stage, &sent_back).await?;
    until("the letter that was sent back is handled", SOON, || async {
        let left = stage.count("inventory", "SELECT count(*) FROM parked").await?;
        Ok(if usize::try_from(left)? == dead.len() - 1 { Ok(()) } else { Err(format!("{left} letters")) })
    })
    .await?;
    let before = (list(stage, LETTERS).await?, list(stage, DECISIONS).await?);
    published(stage).await?;
    lose(stage, service).await?;
    refuses(stage, service).await?;
    let took = rebuild(stage, service, outcome).await?;
    outcome.recoveries.push(took);
    let after = (list(stage, LETTERS).await?, list(stage, DECISIONS).await?);
    outcome.must(before == after, || format!("letters and decisions were {before:#?} and are {after:#?}"));
    outcome.reach("dead letters brought back", u64::try_from(after.0.len())?);
    // sent back at last, each counts once: the checker compares what was asked for with what was ordered
    let left = letters(stage).await?;
    redrive(stage, &left).await?;
    until("nothing is parked any more", SOON, || async {
        let left = stage.count("inventory", "SELECT count(*) FROM parked").await?;
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} letters")) })
    })
    .await?;
    outcome.judged(&stage.verdict().await?);
    Ok(())
}

async fn list(stage: &Stage, sql: &'static str) -> anyhow::Result<Vec<String>> {
    Ok(sqlx::query_scalar(sql).fetch_all(&mut stage.sql("inventory").await?).await?)
}

/// Waits until inventory has read everything that is on its topics now.
async fn read_to_end(stage: &Stage) -> anyhow::Result<()> {
    let now: i64 = stage.count("inventory", "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").await?;
    until("inventory has read everything", SOON, || async {
        let read = "SELECT coalesce((extract(epoch FROM min(coalesce(caught_up_at, '-infinity'))) * 1000)::numeric::text, '-Infinity')
                    FROM progress WHERE topic NOT LIKE '%.retry.%'";
        let read: String = sqlx::query_scalar(read).fetch_one(&mut stage.sql("inventory").await?).await?;
        let millis = read.split('.').next().and_then(|whole| whole.parse::<i64>().ok());
        Ok(if millis.is_some_and(|read| read > now) { Ok(()) } else { Err(format!("read until {read}, now is {now}")) })
    })
    .await
}

/// Waits until the relay has published what was written: what is only in the database would be lost with it.
async fn published(stage: &Stage) -> anyhow::Result<()> {
    let config = relay::Config {
        service: "inventory".to_owned(),
        bootstrap: stage.stack.kafka_bootstrap(),
        login: None,
        connect: stage.stack.reader_url("inventory").parse()?,
    };
    until("inventory's outbox is published", SOON, || async {
        let newest = stage.count("inventory", "SELECT coalesce(max(id), 0) FROM outbox").await?;
        let cursor = relay::newest_position(&config).await?.map_or(0, |position| position.cursor);
        Ok(if cursor >= newest { Ok(()) } else { Err(format!("published to {cursor} of {newest}")) })
    })
    .await
}

async fn letters(stage: &Stage) -> anyhow::Result<Vec<Target>> {
    let url = format!("{}/ops/dlq/letters?limit=500", stage.stack.ops_url(Service::Inventory, 1));
    let page: Letters = http()?.get(url).send().await?.error_for_status()?.json().await?;
    Ok(page.data.iter().map(|letter| Target { id: letter.id, redrive_no: letter.redrive_no }).collect())
}

async fn redrive(stage: &Stage, letters: &[Target]) -> anyhow::Result<()> {
    let url = format!("{}/ops/dlq/redrive", stage.stack.ops_url(Service::Inventory, 1));
    let decide = Decide { who: "it".to_owned(), why: "mended".to_owned(), letters: letters.to_vec(), execute: true };
    let decided: Decided = http()?.post(url).json(&decide).send().await?.error_for_status()?.json().await?;
    anyhow::ensure!(decided.results.iter().all(|result| result.outcome == "done"), "letters were not sent back: {decided:?}");
    Ok(())
}
