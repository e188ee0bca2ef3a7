//! Saga deadlines: rows fired by the database's clock, by the process that owns the relay, and only when an answer cannot
//! be on its way: the command was published, and every topic we read was read to its end after the deadline.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::message::{Cause, MessageId};
use crate::relay;
use crate::service::Service;
use crate::store::{Retry, Units, retry_of};
use crate::unit::Needs;

/// Deadlines decided in one transaction at most.
const MOST: i64 = 100;
/// A longer silence than this counts as an outage, after which everything that ran out waits for the grace period.
const OUTAGE_MICROS: i64 = 10_000_000;

pub(crate) struct Firing<S: Service> {
    pub(crate) units: Units,
    pub(crate) service: Arc<S>,
    pub(crate) relay: Arc<relay::Status>,
    pub(crate) grace: Duration,
    /// The database was rebuilt just now: as after any outage, what ran out meanwhile waits.
    pub(crate) was_lost: bool,
}

/// Runs until `stop`.
pub(crate) async fn run<S: Service>(firing: Firing<S>, mut stop: watch::Receiver<bool>) {
    let mut seen: Option<i64> = None;
    // Sagas whose deadline cannot be decided: a defect, named once; they must not keep the others from firing.
    let mut refused: HashSet<String> = HashSet::new();
    let mut not_before = Instant::now() + if firing.was_lost { firing.grace } else { Duration::ZERO };
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if !firing.relay.owner() {
            seen = None;
            continue;
        }
        let clock = match clock(&firing).await {
            Ok(clock) => clock,
            Err(error) => {
                tracing::debug!(error = %error, "read the deadlines' clock");
                continue;
            }
        };
        // Read to the end until when; it stands still during an outage and jumps after it.
        let Some((read_to, now)) = clock else { continue };
        let before = seen.replace(read_to).unwrap_or_else(|| now.saturating_sub(OUTAGE_MICROS / 2).min(read_to));
        if read_to.saturating_sub(before) > OUTAGE_MICROS {
            tracing::info!(grace_ms = firing.grace.as_millis(), "deadlines wait after an outage");
            not_before = Instant::now() + firing.grace;
        }
        if Instant::now() < not_before {
            continue;
        }
        if let Err(error) = fire(&firing, read_to, &mut refused).await {
            let level = if retry_of(&error) == Retry::Same { "again" } else { "refused" };
            tracing::warn!(error = %error, level, "decide deadlines");
        }
    }
}

/// Until when all our partitions were read to their end, and now; both in microseconds of the database's clock. `None`
/// while some partition was never read to its end by its present owner.
async fn clock<S: Service>(firing: &Firing<S>) -> Result<Option<(i64, i64)>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT (extract(epoch FROM min(coalesce(caught_up_at, '-infinity'))) * 1000000)::numeric::text AS read_to,
                (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
         FROM progress WHERE consumer_group = $1 AND NOT starts_with(topic, $1 || '.retry.')",
    )
    .bind(S::NAME)
    .fetch_one(&firing.units.pool)
    .await?;
    let read_to: Option<String> = row.try_get("read_to")?;
    let read_to = read_to.and_then(|text| text.split('.').next().and_then(|whole| whole.parse::<i64>().ok()));
    Ok(read_to.zip(Some(row.try_get("now")?)))
}

async fn fire<S: Service>(firing: &Firing<S>, read_to: i64, refused: &mut HashSet<String>) -> Result<(), sqlx::Error> {
    let mut tx = firing.units.begin().await?;
    let before = read_to.min(firing.relay.published_before_micros());
    let due = sqlx::query(
        "SELECT saga, step FROM deadlines WHERE due_at < to_timestamp($1 / 1000000.0) AND saga <> ALL($3) ORDER BY due_at LIMIT $2",
    )
    .bind(before)
    .bind(MOST)
    .bind(refused.iter().map(String::as_str).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    if due.is_empty() {
        return tx.rollback().await;
    }
    let due: Vec<(String, String)> =
        due.iter().map(|row| Ok((row.try_get("saga")?, row.try_get("step")?))).collect::<Result<_, sqlx::Error>>()?;
    let mut needs = Needs::default();
    for (saga, _) in &due {
        needs.stream(saga.clone());
        firing.service.deadline_needs(saga, &mut needs);
    }
    let mut unit = firing.units.load(&mut tx, needs).await?;
    // Streams are locked before deadlines, as everywhere; what an answer disarmed in between is left alone.
    let armed = sqlx::query(
        "SELECT saga, step, traceparent FROM deadlines WHERE saga = ANY($1) AND due_at < to_timestamp($2 / 1000000.0) ORDER BY saga FOR UPDATE",
    )
    .bind(due.iter().map(|(saga, _)| saga.as_str()).collect::<Vec<_>>())
    .bind(before)
    .fetch_all(&mut *tx)
    .await?;
    let armed: HashMap<(String, String), Option<trace::Context>> = armed
        .iter()
        .map(|row| Ok(((row.try_get("saga")?, row.try_get("step")?), trace::received(row.try_get("traceparent")?))))
        .collect::<Result<_, sqlx::Error>>()?;
    for ((saga, step), armed) in due.iter().filter_map(|due| Some((due, *armed.get(due)?))) {
        let version = unit.version(saga).unwrap_or_default();
        let id = MessageId::external(saga, &format!("deadline of {step} at version {version}"));
        let trace = unit.spans.deadline(saga, step, armed);
        unit.because(Cause::new(id, saga.split_once('-').map_or(saga.as_str(), |(_, subject)| subject)).traced(trace));
        unit.deadline(saga, None);
        let decided = unit.outbox_rows();
        if let Err(failure) = firing.service.deadline(&mut unit, saga, before) {
            tracing::error!(saga = %saga, step = %step, code = failure.code, error = %failure, "a deadline cannot be decided; it is left alone until the next start");
            refused.insert(saga.clone());
            return tx.rollback().await;
        }
        if unit.outbox_rows() > decided {
            metrics::counter!("saga_deadlines_total", "step" => step.clone()).increment(1);
        }
    }
    firing.units.store(&mut tx, &mut unit).await?;
    tx.commit().await?;
    firing.units.committed(&mut unit);
    Ok(())
}
