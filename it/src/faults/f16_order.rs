//! F16: the order of every key through failures, kills, and a death at each step of parking and draining.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::letters::{Child, Letters, Rules, fatal, key, number};
use super::{Outcome, SOON, Session, f15_deploy, percentile};

/// Messages a second.
const RATE: i64 = 1_000;
/// Between two kills.
const KILL_EVERY: Duration = Duration::from_secs(5);
/// Of a thousand messages, those that fail for a while and those that fail for good.
const RULES: Rules = Rules { broken: false, transient: 50, fatal: 5, panic_from: 0, stubborn_below: 0 };
/// Lateness of a retry while the consumer runs, by 99 of 100: in CI, where other programs share the cores, and at full size.
const LATE: (Duration, Duration) = (Duration::from_millis(2_000), Duration::from_millis(500));
/// A consumer that has its partitions looks for what fell due meanwhile within this time.
const WARM: Duration = Duration::from_millis(300);

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let (count, keys) = (i64::try_from(session.orders(40_000, 100_000))?, session.size(400, 1_000));
    let mut letters = Letters::start(false).await?;
    letters.rule(RULES).await?;
    let mut outcome = Outcome::default();
    let mut run = Kills { child: Some(letters.consumer("").await?), next: 0, kills: 0, down: Vec::new() };
    let (started, mut kill_at, mut expected) = (Instant::now(), Instant::now() + KILL_EVERY, HashMap::<String, Vec<i64>>::new());
    for i in 0..count {
        if i % 50 == 0 {
            sleep_until(started + Duration::from_millis(u64::try_from(i * 1_000 / RATE)?)).await;
            if Instant::now() >= kill_at {
                run.kill(&letters).await?;
                kill_at = Instant::now() + KILL_EVERY;
            } else {
                run.revive(&letters).await?;
            }
        }
        let n = number(i % keys, i);
        expected.entry(key(n)).or_default().push(n);
        letters.note(n).await?;
    }
    letters.flush().await?;
    run.all_points(&letters, session.size(45, 60)).await?;
    // whatever is dead by now is mended and sent back, with its followers behind it
    letters.rule(Rules::default()).await?;
    run.revive(&letters).await?;
    let mut sent_back = 0;
    let end = Instant::now() + 5 * SOON;
    while letters.count("SELECT count(*) FROM journal").await? < count && Instant::now() < end {
        sent_back += f15_deploy::send_back(&letters).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    letters.letterbox().handled(count, Duration::from_secs(1)).await?;
    letters.letterbox().empty().await?;
    let journal = letters.letterbox().journal().await?;
    let wrong = expected.iter().filter(|(key, numbers)| journal.get(*key) != Some(numbers)).count();
    outcome.must(wrong == 0 && journal.len() == expected.len(), || {
        let first = expected.iter().find(|(key, numbers)| journal.get(*key) != Some(numbers));
        let seen = first.and_then(|(key, _)| journal.get(key)).map_or(0, Vec::len);
        format!(
            "{wrong} keys were not handled in their order, each message once; the first has {seen} of {} entries",
            first.map_or(0, |(_, all)| all.len())
        )
    });
    let late = letters.letterbox().late(&run.down).await?;
    outcome.must(late.early == 0, || format!("{} messages were handled before they were due", late.early));
    let p99 = percentile(late.times.clone(), 0.99);
    outcome.must(p99 <= session.size(LATE.0, LATE.1), || {
        format!("lateness p99 is {p99:?}; the latest (message, due, handled) is {:?}; the consumer was down {:?}", late.latest, run.down)
    });
    outcome.reach("kills", run.kills);
    for point in kafka::harm::RETRY_POINTS.iter().skip(1) {
        outcome.reach(format!("deaths at {point}"), run.deaths(&letters, point));
    }
    outcome.reach("timers judged", u64::try_from(late.times.len())?);
    outcome.reach("messages that fail for good", u64::try_from(expected.values().flatten().filter(|n| fatal(&RULES, **n)).count())?);
    outcome.figures.push(format!(
        "{count} messages of {keys} keys; lateness p50 {} ms, p99 {} ms; {sent_back} letters sent back",
        percentile(late.times, 0.5).as_millis(),
        p99.as_millis()
    ));
    run.end().await?;
    letters.end().await;
    Ok(outcome)
}

/// The consumer, killed again and again: by a signal, or by itself at a step of parking and draining.
struct Kills {
    child: Option<Child>,
    next: usize,
    kills: u64,
    down: Vec<(Timestamp, Timestamp)>,
}

impl Kills {
    async fn kill(&mut self, letters: &Letters) -> anyhow::Result<()> {
        if let Some(child) = self.child.take() {
            child.kill().await?;
            self.kills += 1;
        }
        let points = kafka::harm::RETRY_POINTS;
        // R0 is where messages are decided: every other kill is as good; the last in the round is none
        self.next += 1;
        let point = points.get(self.next % (points.len() + 1)).filter(|point| **point != "R0.decided");
        self.start(letters, &point.map(|point| format!("{point}=1*return(abort)")).unwrap_or_default()).await
    }

    async fn start(&mut self, letters: &Letters, failpoints: &str) -> anyhow::Result<()> {
        let from = Timestamp::now();
        self.child = Some(letters.consumer(failpoints).await?);
        self.down.push((from, Timestamp::now() + WARM));
        Ok(())
    }

    /// Starts another one if it died by itself.
    async fn revive(&mut self, letters: &Letters) -> anyhow::Result<()> {
        let ended = match &mut self.child {
            Some(child) => child.ended()?,
            None => true,
        };
        if ended {
            // it was dead for a moment before that was seen
            if let Some((from, to)) = self.down.last_mut() {
                *to = (*to).max(*from);
            }
            let since = Timestamp::now() - Duration::from_millis(300);
            self.start(letters, "").await?;
            if let Some((from, _)) = self.down.last_mut() {
                *from = since;
            }
        }
        Ok(())
    }

    fn deaths(&self, letters: &Letters, point: &str) -> u64 {
        u64::try_from(letters.reached(point)).unwrap_or_default()
    }

    /// Every step that was not met under load is met now, while parked messages are left.
    async fn all_points(&mut self, letters: &Letters, seconds: u64) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(seconds);
        for point in kafka::harm::RETRY_POINTS.iter().skip(1) {
            while letters.reached(point) == 0 && Instant::now() < end {
                if let Some(child) = self.child.take() {
                    child.kill().await?;
                }
                self.start(letters, &format!("{point}=1*return(abort)")).await?;
                let patience = Instant::now() + Duration::from_secs(8);
                while letters.reached(point) == 0 && Instant::now() < patience {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            self.revive(letters).await?;
        }
        Ok(())
    }

    async fn end(self) -> anyhow::Result<()> {
        match self.child {
            Some(child) => child.kill().await,
            None => Ok(()),
        }
    }
}
