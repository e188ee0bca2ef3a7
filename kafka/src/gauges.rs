//! Depths and ages that only the database knows, looked at now and then; and the metrics' own upkeep.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::Row;
use tokio::sync::watch;

use crate::retry::tier_name;
use crate::store::Units;

/// How often. One look costs three index reads on what is usually empty.
const EVERY: Duration = Duration::from_secs(5);

/// Looks until `stop`.
pub(crate) async fn run(units: Units, group: &'static str, metrics: PrometheusHandle, mut stop: watch::Receiver<bool>) {
    let tiers: Vec<String> = units.retry.tiers.delays().iter().map(|delay| tier_name(*delay)).collect();
    let mut steps = BTreeSet::new();
    while !*stop.borrow() {
        // Without it samples pile up between two scrapes.
        metrics.run_upkeep();
        if let Err(error) = look(&units, group, &tiers, &mut steps).await {
            tracing::debug!(error = %error, "look at what waits");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

async fn look(units: &Units, group: &'static str, tiers: &[String], steps: &mut BTreeSet<String>) -> Result<(), sqlx::Error> {
    let parked = sqlx::query(
        "SELECT CASE WHEN state = 'head' THEN delay_ms END AS tier, state, count(*) AS messages,
                coalesce(extract(epoch FROM clock_timestamp() - min(coalesce(last_failure_at, first_failure_at))), 0)::float8 AS age
         FROM parked WHERE consumer_group = $1 GROUP BY 1, 2 ORDER BY 2, 1",
    )
    .bind(group)
    .fetch_all(&units.pool)
    .await?;
    for tier in tiers {
        metrics::gauge!("retry_in_flight", "group" => group, "tier" => tier.clone()).set(0.0);
    }
    let (mut dead, mut oldest, mut behind) = (0.0, 0.0, 0.0);
    for row in parked {
        let (state, messages, age): (String, i64, f64) = (row.try_get("state")?, row.try_get("messages")?, row.try_get("age")?);
        let messages = float(messages);
        match (state.as_str(), row.try_get::<Option<i64>, _>("tier")?) {
            ("dead", _) => (dead, oldest) = (messages, age),
            ("head", Some(delay_ms)) => {
                let tier = tier_name(Duration::from_millis(u64::try_from(delay_ms).unwrap_or_default()));
                metrics::gauge!("retry_in_flight", "group" => group, "tier" => tier).set(messages);
            }
            _ => behind += messages,
        }
    }
    metrics::gauge!("dlq_depth", "group" => group).set(dead);
    metrics::gauge!("dlq_oldest_age_seconds", "group" => group).set(oldest);
    metrics::gauge!("retry_followers", "group" => group).set(behind);
    let read_to: Option<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM clock_timestamp() - min(caught_up_at))::float8 FROM progress
         WHERE consumer_group = $1 AND NOT starts_with(topic, $1 || '.retry.')",
    )
    .bind(group)
    .fetch_one(&units.pool)
    .await?;
    metrics::gauge!("consumer_lag_seconds", "group" => group).set(read_to.unwrap_or_default());
    // Every saga that awaits something has one deadline armed; a step nobody awaits any more goes back to 0.
    let open = sqlx::query("SELECT step, count(*) AS sagas FROM deadlines GROUP BY step ORDER BY step").fetch_all(&units.pool).await?;
    for step in steps.iter() {
        metrics::gauge!("saga_open", "step" => step.clone()).set(0.0);
    }
    for row in open {
        let (step, sagas): (String, i64) = (row.try_get("step")?, row.try_get("sagas")?);
        metrics::gauge!("saga_open", "step" => step.clone()).set(float(sagas));
        steps.insert(step);
    }
    Ok(())
}

fn float(count: i64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
