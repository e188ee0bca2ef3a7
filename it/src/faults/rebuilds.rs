//! Having a service rebuild its database, as an operator does, and what must be seen of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use operation::{Act, Rebuild};
use stack::Service;

use super::{Outcome, SOON, Stage, replay, until};
use crate::checker::world::Topic;

/// Until somebody gives the word nobody is served and nothing is rebuilt.
pub(super) async fn refuses(stage: &Stage, service: Service) -> anyhow::Result<()> {
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
pub(super) async fn rebuild(stage: &Stage, service: Service, outcome: &mut Outcome) -> anyhow::Result<Duration> {
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

/// Rows and hash of every table that a rebuild brings back.
pub(super) async fn content(stage: &Stage, service: Service) -> anyhow::Result<BTreeMap<String, (i64, String)>> {
    let rows: Vec<(String, i64, String)> =
        sqlx::query_as("SELECT name, row_count, hash FROM content_hash()").fetch_all(&mut stage.sql(service.name()).await?).await?;
    Ok(rows.into_iter().map(|(name, rows, hash)| (name, (rows, hash))).collect())
}

/// What the outside could notice: the ends of all topics, and what the payment provider was asked.
pub(super) async fn spied(stage: &Stage) -> anyhow::Result<(Vec<Vec<i64>>, String)> {
    let bootstrap = stage.stack.kafka_bootstrap();
    let ends = tokio::task::spawn_blocking(move || {
        Topic::ALL.iter().map(|topic| replay::ends(&bootstrap, topic.name())).collect::<anyhow::Result<Vec<_>>>()
    })
    .await??;
    let asked = "SELECT md5(coalesce(string_agg(o::text, '' ORDER BY o::text), '')) FROM operations AS o";
    Ok((ends, sqlx::query_scalar(asked).fetch_one(&mut stage.sql("provider").await?).await?))
}

pub(super) fn http() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()
}

pub(super) async fn shown(stage: &Stage, service: Service) -> anyhow::Result<Rebuild> {
    let url = format!("{}/ops/rebuild", stage.stack.ops_url(service, 1));
    Ok(http()?.get(url).send().await?.error_for_status()?.json().await?)
}

pub(super) async fn word(stage: &Stage, service: Service) -> anyhow::Result<()> {
    let url = format!("{}/ops/rebuild", stage.stack.ops_url(service, 1));
    let act = Act { who: "it".to_owned(), why: "its database was lost".to_owned(), execute: true };
    http()?.post(url).json(&act).send().await?.error_for_status()?;
    Ok(())
}
