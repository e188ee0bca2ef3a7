//! F3: the broker is killed, or stopped in order, under load. The door keeps accepting: orders wait in the outbox.

use std::time::{Duration, Instant};

use reqwest::Method;
use stack::{Part, Service};

use super::{Outcome, SOON, Session, Stage, percentile, until};

/// Orders a second.
const RATE: u32 = 40;
/// Everything that waited has been worked off within this time.
const DRAINED: Duration = Duration::from_secs(30);

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let (outages, orders) = (session.size(2, 10), session.orders(400, 4_000));
    // CI shares its two cores with debug builds
    // in CI other programs share the cores: there the door is open or shut, at full size it is quick as well
    let door = session.size(Duration::from_secs(1), Duration::from_millis(100));
    let mut dice = session.dice();
    let long = session.options().long;
    let stage = session.stage().await?;
    let mut outcome = Outcome::default();
    let load = stage.load(orders, RATE);
    let mut windows = Vec::new();
    for number in 0..outages {
        load.reaches(orders * (number + 1) / (outages + 2)).await?;
        let before = stage.open_orders().await?;
        stage.stack.kill(Part::Kafka).await?;
        let from = Instant::now();
        // 5 to 20 s, in CI 4 to 6
        let away = Duration::from_millis(if long { 5_000 + dice.roll(15_000) } else { 4_000 + dice.roll(2_000) });
        if number == 0 {
            unpublished(stage).await?;
        }
        tokio::time::sleep(away.saturating_sub(from.elapsed())).await;
        windows.push((from, Instant::now()));
        stage.stack.restart(Part::Kafka).await?;
        let back = Instant::now();
        stage.recovered(before).await?;
        outcome.recoveries.push(back.elapsed());
        if number == 0 {
            published(stage).await?;
            outcome.reach("orders that were not yet published", 1);
        }
    }
    outcome.reach("broker kills", u64::try_from(windows.len())?);
    graceful(stage, &mut outcome).await?;
    let heard = load.finish().await?;
    let mut times = Vec::new();
    for (from, to) in windows {
        for answer in heard.between(from, to) {
            outcome.must(matches!(answer.status, Some(202 | 422)), || {
                format!("an order was answered {:?} while only the broker was away", answer.status)
            });
            times.push(answer.took);
        }
    }
    outcome.reach("orders placed without a broker", u64::try_from(times.len())?);
    let p99 = percentile(times, 0.99);
    outcome.figures.push(format!("door without a broker p99 {} ms", p99.as_millis()));
    outcome.must(p99 <= door, || format!("the door's p99 without a broker is {p99:?}"));
    let slowest = outcome.slowest().unwrap_or_default();
    outcome.must(slowest <= DRAINED, || format!("what waited was worked off only after {slowest:?}"));
    outcome.judged(&stage.verdict().await?);
    Ok(outcome)
}

/// Key of the order that asks to be answered once it is published.
const CAREFUL: &str = "not-yet-published";

async fn careful(stage: &Stage) -> anyhow::Result<Option<super::Answer>> {
    let client = stage.client("careful");
    let body = super::order(&[("1095275".to_owned(), 1)], "tok_ok");
    client
        .send(client.request(Method::POST, "/v1/orders").header("Idempotency-Key", CAREFUL).header("Prefer", "ack=published").json(&body))
        .await
}

/// While the broker is away nothing is acknowledged as published.
async fn unpublished(stage: &Stage) -> anyhow::Result<()> {
    let answer = careful(stage).await?;
    let told = answer.as_ref().map(|answer| (answer.status, answer.json().get("code").and_then(|code| code.as_str().map(str::to_owned))));
    anyhow::ensure!(told == Some((504, Some("not_published".to_owned()))), "an order that cannot be published was answered {told:?}");
    Ok(())
}

/// The same key leads to the order that was placed then, and now it is published.
async fn published(stage: &Stage) -> anyhow::Result<()> {
    until("the order is published", SOON, || async {
        let answer = careful(stage).await?;
        let header = |name: &str| answer.as_ref().and_then(|answer| answer.headers.get(name)?.to_str().ok().map(str::to_owned));
        let told = (answer.as_ref().map(|answer| answer.status), header("Preference-Applied"), header("Idempotent-Replayed"));
        let wanted = (Some(202), Some("ack=published".to_owned()), Some("true".to_owned()));
        Ok(if told == wanted { Ok(()) } else { Err(format!("{told:?}")) })
    })
    .await
}

/// A broker that is stopped in order, and a service that starts without one: it says 503 and when to ask again, until the
/// broker is there.
async fn graceful(stage: &Stage, outcome: &mut Outcome) -> anyhow::Result<()> {
    stage.stack.terminate(Part::Kafka).await?;
    stage.stack.kill(Service::Orders).await?;
    let client = stage.client("without-broker");
    let refused = async {
        let refused = until("the door answers 503", SOON, || async {
            let body = super::order(&[("1095275".to_owned(), 1)], "tok_ok");
            let answer = client.post("/v1/orders", "without-broker", &body).await?;
            let status = answer.as_ref().map(|answer| answer.status);
            let told = answer.is_some_and(|answer| answer.status == 503 && answer.headers.contains_key("Retry-After"));
            Ok(if told { Ok(()) } else { Err(format!("{status:?}")) })
        })
        .await;
        stage.stack.restart(Part::Kafka).await?;
        refused
    };
    let (refused, restarted) = tokio::join!(refused, stage.stack.restart(Service::Orders));
    refused?;
    restarted?;
    outcome.reach("starts without a broker", 1);
    Ok(())
}
