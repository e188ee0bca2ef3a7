//! F22: thousands of dead letters sent back by two operators at once, under kills of consumer and operators.

use std::collections::HashMap;
use std::time::Duration;

use kafka::Units;
use kafka::retry::{self, Decided, Filter, Operator, State, Target};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::letters::{Letters, Rules, fatal, key, number};
use super::{Outcome, SOON, Session, until};

/// Of a thousand messages, those that die at first.
const RULES: Rules = Rules { broken: false, transient: 0, fatal: 166, panic_from: 0, stubborn_below: 0 };
/// Letters of one call, as the command line sends them.
const AT_ONCE: i64 = 50;

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let (wanted, keys, kills) = (i64::try_from(session.orders(500, 5_000))?, session.size(20, 200), session.size(4, 20));
    let mut dice = session.dice();
    let mut letters = Letters::start(true).await?;
    letters.rule(RULES).await?;
    let mut child = letters.consumer("").await?;
    let mut outcome = Outcome::default();
    // by key: those that pass, and those that die first
    let mut expected: HashMap<String, (Vec<i64>, Vec<i64>)> = HashMap::new();
    let (mut written, mut dying) = (0, 0);
    while dying < wanted {
        let n = number(written % keys, written);
        let dies = fatal(&RULES, n);
        let lists = expected.entry(key(n)).or_default();
        if dies {
            lists.1.push(n);
        } else {
            lists.0.push(n);
        }
        dying += i64::from(dies);
        written += 1;
        letters.note(n).await?;
    }
    letters.flush().await?;
    letters.letterbox().handled(written - dying, 3 * SOON).await?;
    until("all that dies is dead", SOON, || async {
        let dead = letters.count("SELECT count(*) FROM parked WHERE state = 'dead'").await?;
        Ok(if dead == dying { Ok(()) } else { Err(format!("{dead} of {dying}")) })
    })
    .await?;
    letters.rule(Rules::default()).await?;
    let units = letters.units().await?;
    let mut operators = ["first", "second"].map(|who| operator(units.clone(), who));
    for kill in 0..kills {
        // spread over the work, whatever its speed
        let left = dying - dying * i64::from(kill) / i64::from(kills);
        until("some letters are left to send back", SOON, || async {
            let dead = letters.count("SELECT count(*) FROM parked WHERE state = 'dead'").await?;
            Ok(if dead <= left { Ok(()) } else { Err(format!("{dead} are dead, {left} waited for")) })
        })
        .await?;
        if let Some((operator, who)) = operators.iter_mut().zip(["first", "second"]).nth(usize::try_from(dice.roll(2))?) {
            operator.abort();
            *operator = self::operator(units.clone(), who);
        }
        child.kill().await?;
        child = letters.consumer("").await?;
    }
    let since = Instant::now();
    for operator in operators {
        operator.await??;
    }
    letters.letterbox().handled(written, 3 * SOON).await?;
    letters.letterbox().empty().await?;
    let journal = letters.letterbox().journal().await?;
    for (key, (alive, dead)) in &expected {
        let seen = journal.get(key).cloned().unwrap_or_default();
        let (late, first): (Vec<i64>, Vec<i64>) = seen.iter().partition(|n| fatal(&RULES, **n));
        outcome.must(first == *alive && late == *dead, || {
            format!("key {key}: {} and {} were handled of {} and {}, or not in order", first.len(), late.len(), alive.len(), dead.len())
        });
    }
    let decided = letters.count("SELECT count(*) FROM decisions WHERE decision = 'redriven'").await?;
    let told = letters.count("SELECT count(*) FROM outbox WHERE topic = 'letters.dlq.decisions'").await?;
    outcome.must(decided == dying && told == dying, || format!("{decided} decisions, {told} records of them, {dying} letters"));
    outcome.reach("letters sent back", u64::try_from(decided)?);
    outcome.reach("kills of the consumer and of an operator", u64::try_from(kills)?);
    outcome
        .figures
        .push(format!("{dying} letters of {keys} keys; the last of them {:.1} s after the last kill", since.elapsed().as_secs_f64()));
    child.kill().await?;
    letters.end().await;
    Ok(outcome)
}

/// Sends back what is dead, page by page, until nothing is; as `ops dlq redrive` does it.
fn operator(units: Units, who: &'static str) -> JoinHandle<anyhow::Result<u64>> {
    tokio::spawn(async move {
        let by = Operator { who: who.to_owned(), why: "the fault is mended".to_owned() };
        let mut done = 0;
        loop {
            let mut db = units.pool().acquire().await?;
            let filter = Filter { state: Some(State::Dead), ..Filter::default() };
            let dead: Vec<Target> = retry::list(&mut db, &units.retry().group, &filter, AT_ONCE).await?.iter().map(Target::from).collect();
            drop(db);
            if dead.is_empty() {
                return Ok(done);
            }
            let decided = retry::redrive(&units, &dead, &by).await?;
            done += u64::try_from(decided.iter().filter(|decided| **decided == Decided::Done).count())?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}
