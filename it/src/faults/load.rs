//! The load: baskets placed at a steady rate, each asked for again under its key until its answer is final.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reqwest::Method;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep_until;
use uuid::Uuid;

use super::baskets::Basket;
use super::client::{Client, order};

/// Between two tries of one order.
const AGAIN: Duration = Duration::from_millis(200);
/// How long an order may be without a final answer.
const FINAL_WITHIN: Duration = Duration::from_secs(180);

/// What is placed, and how fast.
#[derive(Debug, Clone)]
pub struct Placing {
    /// Prefix of the idempotency keys, of this load alone.
    pub name: String,
    /// So many at least, and on until [`Load::finish`].
    pub orders: usize,
    /// Orders a second, whatever becomes of them.
    pub rate: u32,
    /// Every second order asks to be answered once it is published.
    pub published: bool,
}

/// One try of one order.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// When it was sent.
    pub at: Instant,
    /// How long the answer took.
    pub took: Duration,
    /// Its status; none when no answer came.
    pub status: Option<u16>,
    /// Whether it said when to ask again.
    pub retry_after: bool,
}

#[derive(Debug, Default)]
struct Shared {
    finish: AtomicBool,
    accepted: AtomicUsize,
    refused: AtomicUsize,
    orders: Mutex<Vec<Uuid>>,
    published: Mutex<Vec<Uuid>>,
    answers: Mutex<Vec<Answered>>,
}

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Load {
    pub(super) fn start(client: Client, baskets: Arc<Vec<Basket>>, placing: Placing) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(place_all(client, baskets, placing, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Places no more than its number of orders: what piles up while nobody is served would be a fault of its own.
    pub fn no_more(&self) {
        self.shared.finish.store(true, Ordering::Release);
    }

    /// Orders accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// The orders acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<Uuid> {
        self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those of them that were answered as published.
    #[must_use]
    pub fn published(&self) -> Vec<Uuid> {
        self.shared.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Orders that had their final answer so far, accepted or refused.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.accepted() + self.shared.refused.load(Ordering::Relaxed)
    }

    /// Waits until `count` orders have been accepted.
    ///
    /// # Errors
    /// That did not happen in time, or the load has failed.
    pub async fn reaches(&self, count: usize) -> anyhow::Result<()> {
        super::until(&format!("{count} orders are accepted"), 3 * super::SOON, || async {
            anyhow::ensure!(!self.task.is_finished() || self.accepted() >= count, "the load ended with {} orders", self.accepted());
            Ok(if self.accepted() >= count { Ok(()) } else { Err(format!("{} accepted", self.accepted())) })
        })
        .await
    }

    /// Ends the load when its number of orders is placed and answered.
    ///
    /// # Errors
    /// An order had no final answer in time.
    pub async fn finish(self) -> anyhow::Result<Finished> {
        self.shared.finish.store(true, Ordering::Release);
        self.task.await.context("the load")??;
        let answers = std::mem::take(&mut *self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Finished { accepted: self.shared.accepted.load(Ordering::Relaxed), answers })
    }
}

/// What a load that ended has heard.
#[derive(Debug)]
pub struct Finished {
    /// Orders accepted.
    pub accepted: usize,
    /// Every try.
    pub answers: Vec<Answered>,
}

impl Finished {
    /// The tries that were sent between `from` and `to`.
    pub fn between(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Answered> {
        self.answers.iter().filter(move |answer| answer.at >= from && answer.at < to)
    }
}

/// The time that `share` (0 to 1) of `times` did not exceed; zero if there are none.
#[must_use]
pub fn percentile(mut times: Vec<Duration>, share: f64) -> Duration {
    times.sort();
    let index = Duration::from_secs_f64(share.clamp(0.0, 1.0) * f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX))).as_secs();
    let last = times.len().saturating_sub(1);
    times.get(usize::try_from(index).unwrap_or(last).min(last)).copied().unwrap_or_default()
}

async fn place_all(client: Client, baskets: Arc<Vec<Basket>>, placing: Placing, shared: Arc<Shared>) -> anyhow::Result<()> {
    let started = tokio::time::Instant::now();
    let mut running = JoinSet::new();
    for number in 0.. {
        if number >= placing.orders && shared.finish.load(Ordering::Acquire) {
            break;
        }
        let due = started + Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / placing.rate.max(1);
        sleep_until(due).await;
        let basket = number.checked_rem(baskets.len()).and_then(|index| baskets.get(index)).cloned().context("no baskets")?;
        running.spawn(place(
            client.of(&format!("household-{}", basket.household)),
            basket,
            number,
            (placing.name.clone(), placing.published && number % 2 == 0),
            Arc::clone(&shared),
        ));
        while let Some(ended) = running.try_join_next() {
            ended.context("place an order")??;
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.context("place an order")??;
    }
    Ok(())
}

/// Cards of all moods: one in ten is declined, some are slow, flaky or time out.
fn token(number: usize) -> &'static str {
    match number % 20 {
        3 | 13 => "tok_declined",
        7 => "tok_flaky",
        11 => "tok_slow",
        17 => "tok_timeout",
        _ => "tok_ok",
    }
}

async fn place(
    client: Client,
    basket: Basket,
    number: usize,
    (name, published): (String, bool),
    shared: Arc<Shared>,
) -> anyhow::Result<()> {
    let (key, body) = (format!("{name}-{number}"), order(&basket.lines, token(number)));
    let began = Instant::now();
    // one client in twenty asks again although it has its answer
    let mut answers_wanted = if number % 20 == 9 { 2 } else { 1 };
    loop {
        let at = Instant::now();
        let mut request = client.request(Method::POST, "/v1/orders").header("Idempotency-Key", &key).json(&body);
        if published {
            request = request.header("Prefer", "ack=published");
        }
        let answer = client.send(request).await?;
        let status = answer.as_ref().map(|answer| answer.status);
        let retry_after = answer.as_ref().is_some_and(|answer| answer.headers.contains_key("Retry-After"));
        shared.answers.lock().unwrap_or_else(PoisonError::into_inner).push(Answered { at, took: at.elapsed(), status, retry_after });
        match status {
            Some(202) => {
                answers_wanted -= 1;
                if let Some(id) = answer.as_ref().and_then(super::Answer::id) {
                    shared.orders.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                    let applied = answer.as_ref().and_then(|answer| answer.headers.get("Preference-Applied")?.to_str().ok());
                    if applied == Some("ack=published") {
                        shared.published.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                    }
                }
                if answers_wanted == 0 {
                    shared.accepted.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
            Some(422) => {
                shared.refused.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            // 408: two busy cores may be slow to send a body
            Some(408 | 409 | 429 | 500..) | None => {}
            Some(other) => anyhow::bail!("order {key} was answered {other}"),
        }
        anyhow::ensure!(began.elapsed() < FINAL_WITHIN, "order {key} has no final answer after {FINAL_WITHIN:?}; the last one: {status:?}");
        tokio::time::sleep(AGAIN).await;
    }
}
