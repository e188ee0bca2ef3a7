//! F15: a bad deploy: every message fails for a while, at the full rate.

use std::time::Duration;

use kafka::retry::{self, Filter, Operator, State, Target};
use tokio::time::{Instant, sleep_until};

use super::letters::{Letters, Rules, number};
use super::{Outcome, SOON, Session, until};

/// Messages a second.
const RATE: u32 = 500;
const KEYS: i64 = 1_000;
/// Dead letters of one bad deploy at most.
const DEAD_MAX: i64 = 10;
/// The full rate is back after this.
const BACK: Duration = Duration::from_secs(5);

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let broken = Duration::from_secs(session.size(6, 60));
    let mut letters = Letters::start(true).await?;
    let child = letters.consumer("").await?;
    let mut outcome = Outcome::default();
    let mut number_of = 0;
    write(&mut letters, &mut number_of, Duration::from_secs(2)).await?;
    letters.letterbox().handled(number_of, SOON).await?;
    let epochs = letters.epochs().await?;
    letters.rule(Rules { broken: true, ..Rules::default() }).await?;
    let before = number_of;
    write(&mut letters, &mut number_of, broken).await?;
    let dead = letters.count("SELECT count(*) FROM parked WHERE state = 'dead'").await?;
    outcome.reach("messages while everything failed", u64::try_from(number_of - before)?);
    outcome.must((1..=DEAD_MAX).contains(&dead), || format!("{dead} dead letters"));
    letters.rule(Rules::default()).await?;
    let fixed = Instant::now();
    // what waited and what still comes
    let waiting = number_of - dead;
    let rate = i64::from(RATE);
    until("messages are handled at the full rate", BACK, || async {
        let (handled, last): (i64, i64) =
            sqlx::query_as("SELECT count(*), count(*) FILTER (WHERE at > clock_timestamp() - interval '1 second') FROM journal")
                .fetch_one(letters.pool())
                .await?;
        Ok(if last >= rate || handled >= waiting {
            Ok(())
        } else {
            Err(format!("{last} in the last second, {handled} of {waiting} in all"))
        })
    })
    .await?;
    outcome.recoveries.push(fixed.elapsed());
    letters.letterbox().handled(waiting, 2 * SOON).await?;
    outcome.must(letters.epochs().await? == epochs, || "the group was rebalanced".to_owned());
    outcome.must(letters.count("SELECT count(*) FROM parked").await? == dead, || "more was parked than died".to_owned());
    send_back(&letters).await?;
    letters.letterbox().handled(number_of, SOON).await?;
    letters.letterbox().empty().await?;
    let (distinct, all) =
        (letters.count("SELECT count(DISTINCT n) FROM journal").await?, letters.count("SELECT count(*) FROM journal").await?);
    outcome.must(distinct == number_of && all == number_of, || format!("{distinct} of {number_of} were handled, {all} times"));
    outcome.figures.push(format!("{dead} dead letters, all sent back"));
    child.kill().await?;
    letters.end().await;
    Ok(outcome)
}

async fn write(letters: &mut Letters, number_of: &mut i64, time: Duration) -> anyhow::Result<()> {
    let started = Instant::now();
    for i in 0.. {
        let due = Duration::from_secs(1) * i / RATE;
        if due >= time {
            break;
        }
        sleep_until(started + due).await;
        letters.note(number(*number_of % KEYS, *number_of)).await?;
        *number_of += 1;
    }
    letters.flush().await
}

/// Sends every dead letter back.
pub(super) async fn send_back(letters: &Letters) -> anyhow::Result<usize> {
    let (units, mut done) = (letters.units().await?, 0);
    let by = Operator { who: "it".to_owned(), why: "the fault is mended".to_owned() };
    loop {
        let mut db = letters.pool().acquire().await?;
        let filter = Filter { state: Some(State::Dead), ..Filter::default() };
        let dead: Vec<Target> = retry::list(&mut db, &units.retry().group, &filter, 500).await?.iter().map(Target::from).collect();
        drop(db);
        if dead.is_empty() {
            return Ok(done);
        }
        done += dead.len();
        retry::redrive(&units, &dead, &by).await?;
    }
}
