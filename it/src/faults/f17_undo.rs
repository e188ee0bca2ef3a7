//! F17: commands that wait in the last tier, are dead, or were just sent back, against their compensations.

use std::time::Duration;

use kafka::retry::{self, Filter, Operator, State, Target};
use record::Record as _;

use super::letters::{Letters, Rules, Undo, key, number};
use super::{Outcome, SOON, Session, until};

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let count = i64::try_from(session.orders(60, 300))?;
    let mut dice = session.dice();
    let mut letters = Letters::start(false).await?;
    letters.rule(Rules { stubborn_below: number(count, 0), ..Rules::default() }).await?;
    let child = letters.consumer("").await?;
    let mut outcome = Outcome::default();
    for i in 0..count {
        letters.note(number(i, 1)).await?;
    }
    letters.flush().await?;
    waits(&letters, "every command waits in the last tier", "SELECT count(*) FROM parked WHERE state = 'head' AND attempt = 3", count)
        .await?;
    let latest: i64 = letters.count("SELECT (extract(epoch FROM max(due_at)) * 1000000)::bigint FROM parked").await?;
    // a third dies first; the others would take effect at their next try
    let dies = count / 3;
    letters.rule(Rules { stubborn_below: number(dies, 0), ..Rules::default() }).await?;
    let (mut parked, mut raced) = (0_u64, 0_u64);
    for i in dies..count {
        if i % 2 == 0 {
            undo(&mut letters, i).await?;
            parked += 1;
        }
    }
    letters.flush().await?;
    // a consumer that dies meanwhile changes nothing
    child.kill().await?;
    let child = letters.consumer("").await?;
    for i in (dies..count).filter(|i| i % 2 == 1) {
        let wait: i64 = sqlx::query_scalar(
            "SELECT coalesce((extract(epoch FROM max(due_at) - clock_timestamp()) * 1000)::bigint, 0) FROM parked WHERE key = $1",
        )
        .bind(key(number(i, 1)).into_bytes())
        .fetch_one(letters.pool())
        .await?;
        let jitter = i64::try_from(dice.roll(60))?;
        tokio::time::sleep(Duration::from_millis(u64::try_from((wait - jitter).max(0))?)).await;
        undo(&mut letters, i).await?;
        letters.flush().await?;
        raced += 1;
    }
    waits(&letters, "a third of them is dead", "SELECT count(*) FROM parked WHERE state = 'dead'", dies).await?;
    letters.rule(Rules::default()).await?;
    let units = letters.units().await?;
    let mut db = letters.pool().acquire().await?;
    let dead: Vec<Target> = retry::list(&mut db, &units.retry().group, &Filter { state: Some(State::Dead), ..Filter::default() }, 1_000)
        .await?
        .iter()
        .map(Target::from)
        .collect();
    drop(db);
    let by = Operator { who: "it".to_owned(), why: "races its compensation".to_owned() };
    for (i, some) in (0..dies).zip(dead.chunks(1)) {
        if i % 2 == 0 {
            undo(&mut letters, i).await?;
            letters.flush().await?;
            retry::redrive(&units, some, &by).await?;
        } else {
            retry::redrive(&units, some, &by).await?;
            undo(&mut letters, i).await?;
        }
    }
    letters.flush().await?;
    waits(&letters, "every compensation took effect", "SELECT count(*) FROM journal WHERE n = -1", count).await?;
    letters.letterbox().empty().await?;
    until("the last timer has fired", SOON, || async {
        let now = letters.count("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").await?;
        Ok(if now > latest + 2_000_000 { Ok(()) } else { Err("not yet".to_owned()) })
    })
    .await?;
    let journal = letters.letterbox().journal().await?;
    let mut undone = 0;
    for i in 0..count {
        let entries = journal.get(&key(number(i, 1))).cloned().unwrap_or_default();
        let right = matches!(entries.as_slice(), [-1] | [_, -1]);
        outcome.must(right, || format!("key {i}: {entries:?}; nothing may follow the compensation"));
        undone += i64::from(right);
    }
    outcome.reach("commands undone while they waited in the last tier", parked);
    outcome.reach("commands undone as they fell due", raced);
    outcome.reach("dead commands sent back and undone", u64::try_from(dies)?);
    outcome.figures.push(format!(
        "{undone} of {count} undone, {} had taken effect before",
        journal.values().filter(|entries| entries.len() == 2).count()
    ));
    child.kill().await?;
    letters.end().await;
    Ok(outcome)
}

async fn undo(letters: &mut Letters, i: i64) -> anyhow::Result<()> {
    let n = number(i, 1);
    let value = letters.encode(&Undo { n })?;
    letters.write(Undo::TOPIC, &key(n), n, Some(&value)).await
}

async fn waits(letters: &Letters, what: &str, sql: &'static str, count: i64) -> anyhow::Result<()> {
    until(what, SOON, || async {
        let now = letters.count(sql).await?;
        Ok(if now == count { Ok(()) } else { Err(format!("{now} of {count}")) })
    })
    .await
}
