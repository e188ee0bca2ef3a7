//! What operators decide about dead letters. Each decision is one transaction: the parked row, a row of `decisions`, and a
//! record on `<group>.dlq.decisions` through the outbox. A decision names the letter's `redrive_no`, so that the same
//! decision made twice, or by two operators at once, acts once.

use sqlx::PgConnection;

use super::letter::{Letter, State};
use super::post::{Say, Writer};
use super::store::{self, End, Post, TopicKey};
use crate::failure::Failure;
use crate::store::Units;
use crate::unit::Micros;

/// Letters of one call at most: a transaction of the outbox has 5,000 rows, a redrive writes two a letter.
pub const TARGETS_MAX: usize = 1_000;

/// A letter as the operator saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its number.
    pub pos: i64,
    /// How often it had been sent back then.
    pub redrive_no: i32,
}

impl From<&Letter> for Target {
    fn from(letter: &Letter) -> Self {
        Self { pos: letter.pos, redrive_no: letter.redrive_no }
    }
}

/// Who decides, and why: kept for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Tried again, with all its tries.
    Redriven,
    /// The same with other bytes.
    Edited(Vec<u8>),
    /// Counts as handled.
    Skipped,
    /// Counts as handled; its saga is ended by a person.
    Abandoned,
}

impl Decision {
    /// As stored.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Redriven => "redriven",
            Self::Edited(_) => "edited",
            Self::Skipped => "skipped",
            Self::Abandoned => "abandoned",
        }
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Edited(value) => Some(value),
            Self::Redriven | Self::Skipped | Self::Abandoned => None,
        }
    }
}

/// What became of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// Done now.
    Done,
    /// It is not there any more: handled, undone, skipped.
    Gone,
    /// Somebody decided about it since the operator looked.
    Changed,
    /// It is not dead: only dead letters are sent back.
    NotDead,
    /// It was not written by its topic's owner, or is an effect whose saga was told: it can only be skipped.
    OnlySkip,
}

impl Decided {
    /// As shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::NotDead => "not_dead",
            Self::OnlySkip => "only_skip",
        }
    }
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not answer or refused.
    #[error("decide about dead letters")]
    Database(#[from] sqlx::Error),
    /// The group's retry topics are not set up.
    #[error("write about dead letters")]
    Topics(#[from] Failure),
    /// More than [`TARGETS_MAX`] targets in one call.
    #[error("{0} letters in one call, {TARGETS_MAX} are the most")]
    TooMany(usize),
}

/// Sends dead letters back: each is tried again with all its tries, its followers after it, in the order of their key.
/// Answers in the order of `targets`.
///
/// # Errors
/// [`Error`]; nothing is decided then.
pub async fn redrive(units: &Units, targets: &[Target], by: &Operator) -> Result<Vec<Decided>, Error> {
    decide(units, targets, &Decision::Redriven, by).await
}

/// Sends one dead letter back with `value` in place of its bytes; the original ones stay in `<group>.dlq`. The caller has
/// validated `value` against the schema.
///
/// # Errors
/// As [`redrive`].
pub async fn edit(units: &Units, target: Target, value: Vec<u8>, by: &Operator) -> Result<Decided, Error> {
    one(decide(units, &[target], &Decision::Edited(value), by).await?)
}

/// Takes letters out unhandled; their followers go on. Also takes one that still waits for its next try.
///
/// # Errors
/// As [`redrive`].
pub async fn skip(units: &Units, targets: &[Target], by: &Operator) -> Result<Vec<Decided>, Error> {
    decide(units, targets, &Decision::Skipped, by).await
}

/// As [`skip`], said of a letter whose saga a person ends.
///
/// # Errors
/// As [`redrive`].
pub async fn abandon(units: &Units, targets: &[Target], by: &Operator) -> Result<Vec<Decided>, Error> {
    decide(units, targets, &Decision::Abandoned, by).await
}

fn one(decided: Vec<Decided>) -> Result<Decided, Error> {
    Ok(decided.into_iter().next().unwrap_or(Decided::Gone))
}

async fn decide(units: &Units, targets: &[Target], decision: &Decision, by: &Operator) -> Result<Vec<Decided>, Error> {
    if targets.len() > TARGETS_MAX {
        return Err(Error::TooMany(targets.len()));
    }
    let group = units.retry.group.as_str();
    let mut tx = units.begin().await?;
    let numbers: Vec<i64> = targets.iter().map(|target| target.pos).collect();
    lock(&mut tx, group, &numbers).await?;
    let now = store::clock(&mut tx).await?;
    let letters = store::lock_letters(&mut tx, group, &numbers).await?;
    let judged: Vec<(Decided, Option<&Letter>)> = targets
        .iter()
        .map(|target| {
            let letter = letters.iter().find(|letter| letter.pos == target.pos);
            (letter.map_or(Decided::Gone, |letter| judge(letter, *target, decision)), letter)
        })
        .collect();
    let mut chosen: Vec<&Letter> =
        judged.iter().filter(|(decided, _)| *decided == Decided::Done).filter_map(|(_, letter)| *letter).collect();
    chosen.sort_by_key(|letter| letter.pos);
    chosen.dedup_by_key(|letter| letter.pos);
    let posts = carry_out(&mut tx, units, &chosen, decision, by, now).await?;
    store::append(&mut tx, &posts).await?;
    tx.commit().await?;
    if !posts.is_empty() {
        units.relay.notify_one();
        metrics::counter!("dead_letter_decisions_total", "decision" => decision.as_str())
            .increment(u64::try_from(chosen.len()).unwrap_or_default());
    }
    Ok(judged.into_iter().map(|(decided, _)| decided).collect())
}

pub(super) fn judge(letter: &Letter, target: Target, decision: &Decision) -> Decided {
    let back = matches!(decision, Decision::Redriven | Decision::Edited(_));
    if letter.redrive_no != target.redrive_no {
        Decided::Changed
    } else if letter.state == State::Follower || (back && letter.state != State::Dead) {
        Decided::NotDead
    } else if back && (letter.class.as_deref() == Some("foreign") || letter.topic.starts_with(super::EFFECT_TOPIC)) {
        Decided::OnlySkip
    } else {
        Decided::Done
    }
}

/// Locks the keys of the letters, in order, before the letters themselves.
async fn lock(db: &mut PgConnection, group: &str, numbers: &[i64]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT 1 FROM blocked_key b
         WHERE b.consumer_group = $1 AND (b.topic, b.key) IN (SELECT p.topic, p.key FROM parked p WHERE p.pos = ANY($2) AND NOT p.alone)
         ORDER BY b.topic, b.key FOR UPDATE",
    )
    .bind(group)
    .bind(numbers)
    .execute(db)
    .await?;
    Ok(())
}

async fn carry_out(
    db: &mut PgConnection,
    units: &Units,
    letters: &[&Letter],
    decision: &Decision,
    by: &Operator,
    now: Micros,
) -> Result<Vec<Post>, Error> {
    if letters.is_empty() {
        return Ok(Vec::new());
    }
    let group = units.retry.group.as_str();
    let writer = Writer { settings: &units.retry, partitions: &units.partitions };
    let numbers: Vec<i64> = letters.iter().map(|letter| letter.pos).collect();
    let mut posts = Vec::with_capacity(letters.len() * 2);
    for letter in letters {
        posts.push(writer.decision(letter, decision, by, now)?);
    }
    match decision {
        Decision::Redriven | Decision::Edited(_) => {
            let first = units.retry.tiers.delays().first().copied().unwrap_or_default();
            for letter in letters {
                let value = decision.value().map_or_else(|| letter.value.clone(), |value| Some(value.to_vec()));
                let say =
                    Say { attempt: 0, redrive_no: letter.redrive_no.saturating_add(1), timer_no: 0, endless: false, due_at: Some(now) };
                posts.push(writer.timer(&Letter { value, ..(*letter).clone() }, first, say)?);
            }
            sqlx::query(
                "UPDATE parked SET state = 'head', attempt = 0, redrive_no = redrive_no + 1, timer_no = 0, timed = false, delay_ms = 0,
                        due_at = to_timestamp($2 / 1000000.0), value = coalesce($3, value)
                 WHERE pos = ANY($1)",
            )
            .bind(&numbers)
            .bind(now)
            .bind(decision.value())
            .execute(&mut *db)
            .await?;
        }
        Decision::Skipped | Decision::Abandoned => {
            let end = if *decision == Decision::Skipped { End::Skipped } else { End::Abandoned };
            store::finish(&mut *db, group, &numbers, end).await?;
            let keys: Vec<TopicKey> =
                letters.iter().filter(|letter| !letter.alone).map(|letter| (letter.topic.clone(), letter.key.clone())).collect();
            store::settle_keys(&mut *db, group, &keys).await?;
        }
    }
    note(db, group, letters, decision, by).await?;
    Ok(posts)
}

async fn note(db: &mut PgConnection, group: &str, letters: &[&Letter], decision: &Decision, by: &Operator) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO decisions (consumer_group, message_id, topic, partition, record_offset, redrive_no, decision, value, who, why)
         SELECT $1, message_id, topic, partition, record_offset, redrive_no, $2, $3, $4, $5
         FROM unnest($6::uuid[], $7::text[], $8::int[], $9::bigint[], $10::int[]) AS d (message_id, topic, partition, record_offset, redrive_no)",
    )
    .bind(group)
    .bind(decision.as_str())
    .bind(decision.value())
    .bind(&by.who)
    .bind(&by.why)
    .bind(letters.iter().map(|l| l.message_id.uuid()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.topic.as_str()).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.partition).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.offset).collect::<Vec<_>>())
    .bind(letters.iter().map(|l| l.redrive_no).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
