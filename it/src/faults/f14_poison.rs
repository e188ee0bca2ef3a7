//! F14: one message in a hundred is poison, of six kinds.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use record::Record as _;
use tokio::time::{Instant, sleep_until};

use super::letters::{Letters, Note, Other, Rules, key, number};
use super::{Outcome, SOON, Session, percentile};

/// Messages a second.
const RATE: u32 = 400;
const KEYS: i64 = 100;
/// Keys from here on are poison's own.
const POISON: i64 = 1_000_000;
/// How much slower the others may be, in CI, where other programs share the cores, and at full size; and what the clock of a
/// busy machine may add.
const SLOWER: (f64, f64) = (4.0, 1.5);
const JITTER: Duration = Duration::from_millis(20);

/// The kinds, with the code each dies of.
const KINDS: [(&str, &str); 6] = [
    ("magic", "wrong_magic_byte"),
    ("damaged", "undecodable"),
    ("type", "wrong_record_type"),
    ("null", "null_value"),
    ("oversize", "oversize"),
    ("panic", "handler_panicked"),
];

type Sent = (Vec<u8>, Option<Vec<u8>>, &'static str);

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let count = i64::try_from(session.orders(2_000, 10_000))?;
    let mut letters = Letters::start(false).await?;
    letters.rule(Rules { panic_from: number(POISON, 0), ..Rules::default() }).await?;
    let child = letters.consumer("").await?;
    let mut outcome = Outcome::default();
    // first without poison: what the others are compared with
    let (clean, none) = load(&mut letters, 0, count, false).await?;
    let (beside, poison) = load(&mut letters, count, count, true).await?;
    outcome.must(none.is_empty(), || "there was poison where none should be".to_owned());
    letters.letterbox().handled(2 * count, SOON).await?;
    let journal = letters.letterbox().journal().await?;
    outcome
        .must(journal.values().map(Vec::len).sum::<usize>() == usize::try_from(2 * count)?, || "messages were lost or doubled".to_owned());
    let at = handled_at(&letters).await?;
    let p99 = |sent: &HashMap<i64, Timestamp>| percentile(sent.iter().filter_map(|(n, sent)| took(*sent, *at.get(n)?)).collect(), 0.99);
    let (before, during) = (p99(&clean), p99(&beside));
    outcome.must(during.as_secs_f64() <= before.as_secs_f64() * session.size(SLOWER.0, SLOWER.1) + JITTER.as_secs_f64(), || {
        format!("other keys' p99 is {during:?} beside poison, {before:?} without")
    });
    outcome.figures.push(format!("other keys' p99 {} ms without poison, {} ms beside it", before.as_millis(), during.as_millis()));
    judge(&letters, &poison, &mut outcome).await?;
    child.kill().await?;
    letters.end().await;
    Ok(outcome)
}

/// Writes `count` messages from number `first` on at the rate; with poison, one more in a hundred. When each was sent, and
/// the poison.
async fn load(letters: &mut Letters, first: i64, count: i64, poisoned: bool) -> anyhow::Result<(HashMap<i64, Timestamp>, Vec<Sent>)> {
    let (started, mut sent, mut poison) = (Instant::now(), HashMap::new(), Vec::new());
    for i in 0..count {
        sleep_until(started + Duration::from_secs(1) * u32::try_from(i)? / RATE).await;
        let n = number(i % KEYS, first + i);
        sent.insert(n, Timestamp::now());
        letters.note(n).await?;
        if poisoned && i % 100 == 50 {
            let kind = usize::try_from(i / 100)? % KINDS.len();
            let n = number(POISON + i, first + i);
            let (_, code) = KINDS.get(kind).copied().unwrap_or_default();
            let value = value(letters, kind, n)?;
            letters.write(Note::TOPIC, &key(n), n, value.as_deref()).await?;
            poison.push((key(n).into_bytes(), value, code));
        }
    }
    letters.flush().await?;
    Ok((sent, poison))
}

fn value(letters: &Letters, kind: usize, n: i64) -> anyhow::Result<Option<Vec<u8>>> {
    let whole = letters.encode(&Note { n })?;
    let prefix = whole.get(..5).unwrap_or_default();
    Ok(match kind {
        0 => Some([&[1], whole.get(1..).unwrap_or_default()].concat()),
        1 => Some([prefix, &[0xff; 12]].concat()),
        2 => Some(letters.encode(&Other { n })?),
        3 => None,
        4 => Some([prefix, &vec![7; 5_000_000]].concat()),
        _ => Some(whole),
    })
}

async fn handled_at(letters: &Letters) -> anyhow::Result<HashMap<i64, Timestamp>> {
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("SELECT n, (extract(epoch FROM at) * 1000000)::bigint FROM journal").fetch_all(letters.pool()).await?;
    rows.into_iter().map(|(n, micros)| Ok((n, Timestamp::from_microsecond(micros)?))).collect()
}

fn took(from: Timestamp, to: Timestamp) -> Option<Duration> {
    u64::try_from(to.as_microsecond() - from.as_microsecond()).ok().map(Duration::from_micros)
}

/// The dead-letter topic holds exactly the poison, bytes and reason whole.
async fn judge(letters: &Letters, poison: &[Sent], outcome: &mut Outcome) -> anyhow::Result<()> {
    let dead = letters.letterbox().dead().await?;
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, value, code) in poison {
        let found: Vec<_> = dead.iter().filter(|letter| letter.key == *key).collect();
        let whole = |letter: &&&super::letters::Dead| {
            letter.payload == value.as_deref().unwrap_or_default()
                && (letter.headers.get("orig-value").map(String::as_str) == Some("null")) == value.is_none()
                && letter.headers.get("error-code").map(String::as_str) == Some(*code)
                && letter.headers.get("orig-src").is_some_and(|src| src == "scribe/1")
        };
        let right = found.iter().filter(whole).count();
        outcome.must(found.len() == 1 && right == 1, || {
            format!("{code} of {} left {} dead letters, {right} of them whole", String::from_utf8_lossy(key), found.len())
        });
        *kinds.entry(code).or_default() += 1;
    }
    outcome.must(dead.len() == poison.len(), || format!("{} dead letters for {} messages of poison", dead.len(), poison.len()));
    for (kind, code) in KINDS {
        outcome.reach(format!("of kind {kind}"), kinds.get(code).copied().unwrap_or_default());
    }
    Ok(())
}
