//! F26: the payment provider is away while orders come in.

use std::time::{Duration, Instant};

use stack::Service;

use super::{Outcome, SOON, Session, until};
use crate::proxy::Mode;

/// Orders a second.
const RATE: u32 = 15;
/// All orders of the outage have ended after this.
const BACK: Duration = Duration::from_secs(60);

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    // longer than all the tries of a call last, with the stage's short waits; at full size two minutes with the default ones
    let (away, delays) = session.size((Duration::from_secs(12), None), (Duration::from_secs(120), Some("5000,30000,300000")));
    let stage = session.stage().await?;
    let mut outcome = Outcome::default();
    if let Some(delays) = delays {
        stage.stack.set_env(Service::Payments, "RETRY_DELAYS_MS", delays);
        stage.stack.kill(Service::Payments).await?;
        stage.stack.restart(Service::Payments).await?;
    }
    let dead_before = stage.count("payments", GIVEN_UP).await?;
    let cancelled_before = stage.count("orders", CANCELLED).await?;
    let load = stage.load(usize::try_from(u64::from(RATE) * away.as_secs())?, RATE);
    load.reaches(30).await?;
    stage.links.provider_db.set(Mode::Cut);
    let cut = Instant::now();
    until("calls have failed", SOON, || async {
        let failed = stage.count("payments", "SELECT count(*) FROM effects WHERE state = 'unknown'").await?;
        Ok(if failed > 0 { Ok(()) } else { Err("none yet".to_owned()) })
    })
    .await?;
    let accepted = load.accepted();
    tokio::time::sleep(away.saturating_sub(cut.elapsed())).await;
    let waiting = stage.count("payments", "SELECT count(*) FROM effects WHERE state IN ('pending', 'calling', 'unknown')").await?;
    outcome.reach("calls that waited at the end of the outage", u64::try_from(waiting)?);
    outcome.reach("orders accepted during the outage", u64::try_from(load.accepted().saturating_sub(accepted))?);
    stage.links.provider_db.set(Mode::Pass);
    let back = Instant::now();
    let heard = load.finish().await?;
    let dead = stage.count("payments", GIVEN_UP).await? - dead_before;
    outcome.must(dead == 0, || format!("{dead} calls or messages were given up"));
    until("the calls that waited are made", BACK * 6, || async {
        let open = stage.count("payments", "SELECT count(*) FROM effects WHERE state IN ('pending', 'calling', 'unknown')").await?;
        Ok(if open == 0 { Ok(()) } else { Err(format!("{open} are open")) })
    })
    .await?;
    outcome.recoveries.push(back.elapsed());
    outcome.judged(&stage.verdict().await?);
    let cancelled = stage.count("orders", CANCELLED).await? - cancelled_before;
    outcome.must(cancelled == 0, || format!("{cancelled} orders were cancelled because of the outage"));
    outcome.figures.push(format!("{} orders accepted in all, none given up", heard.accepted));
    if delays.is_some() {
        stage.stack.set_env(Service::Payments, "RETRY_DELAYS_MS", "200,1000,5000");
        stage.stack.kill(Service::Payments).await?;
        stage.stack.restart(Service::Payments).await?;
    }
    Ok(outcome)
}

const GIVEN_UP: &str = "SELECT (SELECT count(*) FROM effects WHERE state = 'dead') + (SELECT count(*) FROM parked)";
/// Orders that ended for another reason than what a customer or a shop can cause.
const CANCELLED: &str = "SELECT count(*) FROM orders WHERE reason IN ('failed', 'deadline')";
