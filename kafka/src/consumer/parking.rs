//! What a transaction parks, gathered in memory while it decides and written just before its outbox rows.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::item::{Fate, Item, fate, policy};
use super::source::Fetched;
use crate::failure::{Class, Failure};
use crate::message::MessageId;
use crate::retry::post::{Say, Writer};
use crate::retry::store::{self, NewLetter, Post, Standing, TopicKey};
use crate::retry::{self, Letter, Policy, State};
use crate::store::Units;
use crate::unit::{Micros, Work};

/// The messages of one batch that leave the main stream.
#[derive(Debug)]
pub(super) struct Parking {
    now: Micros,
    blocked: HashSet<TopicKey>,
    keys: Vec<(TopicKey, i32)>,
    letters: Vec<(NewLetter, Leaves)>,
    undone: Vec<(String, &'static str)>,
}

/// What leaves about a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Nothing,
    Timer { endless: bool },
    Dead { endless: bool },
}

/// What the engine remembers of a parking that is being committed.
#[derive(Debug, Default)]
pub(super) struct Parked {
    pub(super) keys: Vec<TopicKey>,
    pub(super) stories: Vec<String>,
    pub(super) freed: Vec<TopicKey>,
    /// A follower became head: there is something to run.
    pub(super) promoted: bool,
    pub(super) retried: u64,
    pub(super) dead: u64,
}

impl Parking {
    pub(super) fn new(now: Micros, blocked: Vec<TopicKey>) -> Self {
        Self { now, blocked: blocked.into_iter().collect(), keys: Vec::new(), letters: Vec::new(), undone: Vec::new() }
    }

    pub(super) fn blocks_record(&self, record: &Fetched) -> bool {
        !self.blocked.is_empty() && self.blocked.contains(&(record.at.topic.clone(), record.key.clone()))
    }

    /// Whether a message of its key failed in this very batch.
    pub(super) fn failed_here(&self, record: &Fetched) -> bool {
        self.keys.iter().any(|((topic, key), _)| *topic == record.at.topic && *key == record.key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty() && self.undone.is_empty()
    }

    /// Parks a message behind those of its key.
    pub(super) fn follow<W: Work>(&mut self, record: &Fetched, item: &Item<'_, W>) {
        let standing =
            Standing { state: State::Follower, alone: false, attempt: 0, timed: false, delay_ms: 0, due_at: None, failure: None };
        let policy = policy(item.route, Class::Permanent);
        self.letters.push((letter(record, item, policy, standing), Leaves::Nothing));
    }

    /// Parks a message that failed at its first try.
    pub(super) fn fail<W: Work>(&mut self, units: &Units, record: &Fetched, item: &Item<'_, W>, failure: Failure) -> Fate {
        let fate = fate(&units.retry.tiers, item.route, 1, failure.class);
        let policy = policy(item.route, failure.class);
        // A compensation does not stand in its key's queue: it would wait for the very message that it undoes.
        let alone = match fate {
            Fate::Again(_) => !item.compensates().is_empty(),
            Fate::Dead => policy == Policy::Release,
        };
        let endless = item.route.is_some_and(|route| route.endless);
        let fingerprint = retry::fingerprint(&record.at.topic, item.route.map(|route| route.record), &failure);
        let (state, timed, delay_ms, due_at, leaves) = match fate {
            Fate::Again(delay) => {
                let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                (State::Head, true, delay_ms, Some(self.now.saturating_add(delay_ms.saturating_mul(1_000))), Leaves::Timer { endless })
            }
            Fate::Dead => (State::Dead, false, 0, None, Leaves::Dead { endless }),
        };
        let standing = Standing { state, alone, attempt: 1, timed, delay_ms, due_at, failure: Some((failure, fingerprint)) };
        if !alone {
            let key = (record.at.topic.clone(), record.key.clone());
            self.keys.push((key.clone(), record.at.partition));
            self.blocked.insert(key);
        }
        self.letters.push((letter(record, item, policy, standing), leaves));
        fate
    }

    /// `steps` of `story` are undone: their messages are taken out, those parked in this batch too.
    pub(super) fn undo(&mut self, story: &str, steps: &'static [&'static str]) {
        for (letter, leaves) in &mut self.letters {
            if letter.correlation == story
                && letter.step.is_some_and(|step| steps.contains(&step))
                && matches!(leaves, Leaves::Timer { .. })
            {
                *leaves = Leaves::Nothing;
            }
        }
        self.undone.extend(steps.iter().map(|step| (story.to_owned(), *step)));
    }

    /// Writes everything but the outbox rows, which it answers. `perhaps` tells whether anything of the undone stories may be
    /// parked already.
    pub(super) async fn write(self, db: &mut PgConnection, units: &Units, perhaps: bool) -> Result<(Parked, Vec<Post>), sqlx::Error> {
        let group = units.retry.group.as_str();
        let writer = Writer { settings: &units.retry, partitions: &units.partitions };
        let mut parked = Parked::default();
        let mut posts = Vec::new();
        for (new, leaves) in &self.letters {
            let seen = seen(new, self.now);
            let say = |endless| Say { attempt: new.standing.attempt, redrive_no: 0, timer_no: 0, endless, due_at: new.standing.due_at };
            let post = match leaves {
                Leaves::Nothing => continue,
                Leaves::Timer { endless } => {
                    parked.retried += 1;
                    let delay = std::time::Duration::from_millis(u64::try_from(new.standing.delay_ms).unwrap_or_default());
                    writer.timer(&seen, delay, say(*endless))
                }
                Leaves::Dead { endless } => {
                    parked.dead += 1;
                    writer.dead(&seen, say(*endless))
                }
            };
            // Only a topic that set-up did not make: nothing may leave the stream then.
            posts.push(post.map_err(|failure| sqlx::Error::Configuration(failure.to_string().into()))?);
        }
        let letters: Vec<NewLetter> = self.letters.into_iter().map(|(letter, _)| letter).collect();
        store::park(&mut *db, group, self.now, &letters, &self.keys).await?;
        let here = |story: &str| letters.iter().any(|letter| letter.step.is_some() && letter.correlation == story);
        if !self.undone.is_empty() && (perhaps || self.undone.iter().any(|(story, _)| here(story))) {
            let keys = store::undo(&mut *db, group, &self.undone).await?;
            let settled = store::settle_keys(&mut *db, group, &keys).await?;
            (parked.freed, parked.promoted) = (settled.freed, settled.promoted > 0);
        }
        parked.keys = self.keys.into_iter().map(|(key, _)| key).collect();
        parked.stories = letters.into_iter().filter(|letter| letter.step.is_some()).map(|letter| letter.correlation).collect();
        Ok((parked, posts))
    }
}

fn letter<W: Work>(record: &Fetched, item: &Item<'_, W>, policy: Policy, standing: Standing) -> NewLetter {
    let foreign = standing.failure.as_ref().is_some_and(|(failure, _)| failure.class == Class::Foreign);
    let place = || MessageId::of_place(&record.at.topic, record.at.partition, record.offset);
    NewLetter {
        topic: record.at.topic.clone(),
        partition: record.at.partition,
        offset: record.offset,
        key: record.key.clone(),
        message_id: if foreign || item.body.is_err() { place() } else { item.meta.id },
        record: item.route.map(|route| route.record.to_owned()),
        // A stranger's record is no saga's.
        step: item.route.filter(|_| !foreign).and_then(|route| route.performs),
        correlation: item.meta.correlation.chars().filter(|c| *c != '\0').collect(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        recorded_at_ms: record.recorded_at_ms,
        policy,
        standing,
    }
}

/// The letter as its headers describe it.
fn seen(new: &NewLetter, now: Micros) -> Letter {
    let failure = new.standing.failure.as_ref();
    Letter {
        pos: 0,
        topic: new.topic.clone(),
        partition: new.partition,
        offset: new.offset,
        key: new.key.clone(),
        message_id: new.message_id,
        record: new.record.clone(),
        step: new.step.map(str::to_owned),
        correlation: new.correlation.clone(),
        value: new.value.clone(),
        headers: new.headers.clone(),
        recorded_at_ms: new.recorded_at_ms,
        policy: new.policy,
        state: new.standing.state,
        alone: new.standing.alone,
        attempt: new.standing.attempt,
        redrive_no: 0,
        due_at: new.standing.due_at,
        first_failure_at: failure.map(|_| now),
        last_failure_at: failure.map(|_| now),
        class: failure.map(|(failure, _)| failure.class.as_str().to_owned()),
        code: failure.map(|(failure, _)| failure.code.to_owned()),
        error: failure.map(|(failure, _)| failure.message.clone()),
        fingerprint: failure.map(|(_, fingerprint)| fingerprint.clone()),
        timer_no: 0,
    }
}
