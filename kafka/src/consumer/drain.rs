//! Trying what is parked: one transaction decides the heads that are due and, in their keys' order, the followers behind
//! them. Timers say when to look; the parked rows, locked, say what is to be done.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{PgConnection, Postgres, Row, Transaction};

use super::TopicPartition;
use super::assignment::{self, Move};
use super::item::{self, Fate, Item, Read, Tried};
use super::parking::Parked;
use super::timer::Wakes;
use crate::failure::Failure;
use crate::harm;
use crate::message::{HeaderText, header};
use crate::retry::post::{Say, Writer};
use crate::retry::store::{self, End, Post, Standing, TopicKey};
use crate::retry::{self, Letter, Policy, State};
use crate::route::{Found, Meta, Route, Routes};
use crate::spans::{self, Place};
use crate::store::{Retry, Units, retry_of};
use crate::unit::{Micros, Needs, Unit, Work};

/// Messages of one drain at most. Source: PROTOCOLS 3.
pub(super) const MOST: usize = 100;
/// How long a message waits that cannot be tried now and does not count a try: its breaker is open, the registry is away.
const POSTPONED_MICROS: Micros = 1_000_000;

/// What a drain is asked to look at.
pub(super) struct Ask<'a> {
    /// Retry partitions whose due timers are consumed by it.
    pub(super) moves: Vec<Move>,
    /// What those timers wake.
    pub(super) wakes: Vec<Wakes>,
    /// Look for heads without a timer too.
    pub(super) look: bool,
    /// Then also for those whose timer has not come yet though they are due: after a take-over it may wait in the outbox.
    pub(super) overdue: bool,
    /// The epochs of the partitions owned, retry partitions left out.
    pub(super) owned: &'a HashMap<TopicPartition, i64>,
    /// Handlers whose breaker is open.
    pub(super) open: &'a HashSet<String>,
}

/// How a drain ended.
pub(super) enum Outcome<W: Work> {
    /// Nothing was due. The database's clock.
    Nothing(Micros),
    /// A timer was looked at too early, by the database's clock.
    Early(Micros),
    /// A partition is another's.
    Fenced,
    /// Everything is written; COMMIT is next.
    Written(Box<Drained<W>>),
}

/// A drain ready to be committed.
pub(super) struct Drained<W: Work> {
    pub(super) tx: Transaction<'static, Postgres>,
    pub(super) unit: Unit<W>,
    pub(super) parked: Parked,
    pub(super) handled: u64,
    /// How late each head was that had a timer or was promoted, in microseconds.
    pub(super) late: Vec<Micros>,
}

/// What earlier tries of the same drain taught.
#[derive(Default)]
struct Learnt {
    /// These fail without being tried.
    failed: BTreeMap<i64, Failure>,
    /// Nobody can be told of their end.
    untold: HashSet<i64>,
    /// Messages to try at most.
    most: usize,
    /// The first message that was tried last.
    tried: Option<i64>,
}

/// Claims, decides and writes. Nothing is committed. A message whose writes the database refuses is searched by halves, and
/// fails then.
pub(super) async fn attempt<W: Work>(units: &Units, routes: &Routes<W>, ask: &Ask<'_>) -> Result<Outcome<W>, sqlx::Error> {
    let mut learnt = Learnt { most: MOST, ..Learnt::default() };
    loop {
        match decide(units, routes, ask, &mut learnt).await {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) => {}
            Err(error) if retry_of(&error) == Retry::Same => return Err(error),
            Err(error) => {
                let Some(pos) = learnt.tried else { return Err(error) };
                tracing::warn!(error = %error, most = learnt.most, "a drain is halved to find the message at fault");
                if learnt.most == 1 {
                    let text = format!("the database refuses what handling the record writes: {error}");
                    if learnt.failed.insert(pos, Failure::permanent("write_refused", text)).is_some() {
                        return Err(error);
                    }
                    learnt.most = MOST;
                } else {
                    learnt.most /= 2;
                }
            }
        }
    }
}

/// A head that may be tried, as seen before anything was locked.
struct Candidate {
    pos: i64,
    at: TopicPartition,
    key: Vec<u8>,
    alone: bool,
    attempt: i32,
    redrive_no: i32,
    story: Option<String>,
    wait: Micros,
}

async fn decide<W: Work>(units: &Units, routes: &Routes<W>, ask: &Ask<'_>, learnt: &mut Learnt) -> Result<Option<Outcome<W>>, sqlx::Error> {
    let group = units.retry.group.as_str();
    let mut tx = units.begin().await?;
    if !assignment::advance(&mut tx, group, &ask.moves).await? {
        tx.rollback().await?;
        return Ok(Some(Outcome::Fenced));
    }
    let now = store::clock(&mut tx).await?;
    let (mine, orphans): (Vec<Candidate>, Vec<Candidate>) =
        candidates(&mut tx, routes, group, ask).await?.into_iter().partition(|candidate| ask.owned.contains_key(&candidate.at));
    if mine.iter().chain(&orphans).any(|candidate| candidate.wait > 0) {
        tx.rollback().await?;
        return Ok(Some(Outcome::Early(now)));
    }
    // Another member owns the head: it finds it without this timer.
    untime(&mut tx, &orphans.iter().map(|candidate| candidate.pos).collect::<Vec<_>>()).await?;
    if mine.is_empty() && ask.moves.is_empty() {
        tx.rollback().await?;
        return Ok(Some(Outcome::Nothing(now)));
    }
    let epochs: HashSet<(TopicPartition, i64)> =
        mine.iter().filter_map(|candidate| Some((candidate.at.clone(), *ask.owned.get(&candidate.at)?))).collect();
    if !assignment::hold_epochs(&mut tx, group, &epochs.into_iter().collect::<Vec<_>>()).await? {
        tx.rollback().await?;
        return Ok(Some(Outcome::Fenced));
    }
    let mut letters = lock(&mut tx, group, &mine).await?;
    // Left for the next drain, which finds them without their timers.
    let left: Vec<i64> = letters.iter().skip(learnt.most).filter(|letter| letter.state == State::Head).map(|letter| letter.pos).collect();
    untime(&mut tx, &left).await?;
    letters.truncate(learnt.most);
    learnt.tried = letters.first().map(|letter| letter.pos);
    let mut items = Vec::with_capacity(letters.len());
    for letter in letters {
        items.push((read(units, routes, &letter).await, letter));
    }
    let mut needs = Needs::default();
    for (item, _) in &items {
        if let Verdict::Try(Item { route: Some(route), body: Ok(body), .. }) = item {
            (route.ask)(body.as_ref(), &mut needs);
        }
    }
    let unit = units.load(&mut tx, needs).await?;
    let mut drain = Drain { units, open: ask.open, unit, now, decided: Decided::default(), stopped: HashSet::new() };
    for (item, letter) in &items {
        if !drain.try_one(item, letter, learnt) {
            tx.rollback().await?;
            return Ok(None);
        }
    }
    let Drain { mut unit, decided, .. } = drain;
    let keys = mine.iter().filter(|candidate| !candidate.alone).map(|candidate| (candidate.at.topic.clone(), candidate.key.clone()));
    let (handled, late) = (decided.handled.len(), decided.late.clone());
    let (parked, posts) = decided.write(&mut tx, group, now, keys.collect()).await?;
    unit.posts = posts;
    units.store(&mut tx, &mut unit).await?;
    harm::point_async("R3.drained").await;
    let handled = u64::try_from(handled).unwrap_or_default();
    Ok(Some(Outcome::Written(Box::new(Drained { tx, unit, parked, handled, late }))))
}

/// Heads that the timers wake, and heads without a timer that are due. Not locked: what changes until they are is seen then.
async fn candidates<W: Work>(db: &mut PgConnection, routes: &Routes<W>, group: &str, ask: &Ask<'_>) -> Result<Vec<Candidate>, sqlx::Error> {
    const COLUMNS: &str = "p.pos, p.topic, p.partition, p.key, p.alone, p.attempt, p.redrive_no, p.record, p.correlation_id,
         (extract(epoch FROM p.due_at - clock_timestamp()) * 1000000)::bigint AS wait";
    let mut rows = Vec::new();
    if !ask.wakes.is_empty() {
        let statement = format!(
            "SELECT {COLUMNS} FROM unnest($2::text[], $3::int[], $4::bigint[], $5::int[], $6::int[]) AS t (topic, partition, record_offset, redrive_no, attempt)
             JOIN parked p ON p.consumer_group = $1 AND p.topic = t.topic AND p.partition = t.partition AND p.record_offset = t.record_offset
             WHERE p.state = 'head' AND p.redrive_no = t.redrive_no AND p.attempt = t.attempt"
        );
        rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(group)
            .bind(ask.wakes.iter().map(|w| w.topic.as_str()).collect::<Vec<_>>())
            .bind(ask.wakes.iter().map(|w| w.partition).collect::<Vec<_>>())
            .bind(ask.wakes.iter().map(|w| w.offset).collect::<Vec<_>>())
            .bind(ask.wakes.iter().map(|w| w.redrive_no).collect::<Vec<_>>())
            .bind(ask.wakes.iter().map(|w| w.attempt).collect::<Vec<_>>())
            .fetch_all(&mut *db)
            .await?;
    }
    if ask.look && rows.len() < MOST {
        let statement = format!(
            "SELECT {COLUMNS} FROM parked p
             WHERE p.consumer_group = $1 AND p.state = 'head' AND (NOT p.timed OR $5) AND p.due_at <= clock_timestamp()
               AND (p.topic, p.partition) IN (SELECT topic, partition FROM unnest($2::text[], $3::int[]) AS o (topic, partition))
             ORDER BY p.due_at, p.pos LIMIT $4"
        );
        let room = i64::try_from(MOST.saturating_sub(rows.len())).unwrap_or_default();
        let more = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(group)
            .bind(ask.owned.keys().map(|at| at.topic.as_str()).collect::<Vec<_>>())
            .bind(ask.owned.keys().map(|at| at.partition).collect::<Vec<_>>())
            .bind(room)
            .bind(ask.overdue)
            .fetch_all(&mut *db)
            .await?;
        let found: HashSet<i64> = rows.iter().filter_map(|row| row.try_get("pos").ok()).collect();
        rows.extend(more.into_iter().filter(|row| row.try_get("pos").is_ok_and(|pos: i64| !found.contains(&pos))));
    }
    let undoes = |topic: &str, record: Option<&str>| {
        record.is_some_and(|record| matches!(routes.find(topic, record), Found::Route(route) if !route.compensates.is_empty()))
    };
    rows.iter()
        .map(|row| {
            let topic: String = row.try_get("topic")?;
            let story = if undoes(&topic, row.try_get("record")?) { Some(row.try_get("correlation_id")?) } else { None };
            Ok(Candidate {
                pos: row.try_get("pos")?,
                at: TopicPartition { topic, partition: row.try_get("partition")? },
                key: row.try_get("key")?,
                alone: row.try_get("alone")?,
                attempt: row.try_get("attempt")?,
                redrive_no: row.try_get("redrive_no")?,
                story,
                wait: row.try_get("wait")?,
            })
        })
        .collect()
}

async fn untime(db: &mut PgConnection, heads: &[i64]) -> Result<(), sqlx::Error> {
    if !heads.is_empty() {
        sqlx::query("UPDATE parked SET timed = false WHERE pos = ANY($1)").bind(heads).execute(db).await?;
    }
    Ok(())
}

/// Locks keys and letters; answers the heads that are still what they were, and followers behind them, in the order of their
/// numbers: each key's part is a beginning of its queue.
async fn lock(db: &mut PgConnection, group: &str, mine: &[Candidate]) -> Result<Vec<Letter>, sqlx::Error> {
    if mine.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<TopicKey> =
        mine.iter().filter(|candidate| !candidate.alone).map(|candidate| (candidate.at.topic.clone(), candidate.key.clone())).collect();
    let stories: Vec<&str> = mine.iter().filter_map(|candidate| candidate.story.as_deref()).collect();
    store::lock_keys(db, group, &keys, &stories).await?;
    let mut letters = store::lock_letters(db, group, &mine.iter().map(|candidate| candidate.pos).collect::<Vec<_>>()).await?;
    let asked: HashMap<i64, (i32, i32)> = mine.iter().map(|candidate| (candidate.pos, (candidate.attempt, candidate.redrive_no))).collect();
    letters.retain(|letter| letter.state == State::Head && asked.get(&letter.pos) == Some(&(letter.attempt, letter.redrive_no)));
    let room = i64::try_from(MOST.saturating_sub(letters.len())).unwrap_or_default();
    // Only behind heads that are tried now: what follows a head that changed meanwhile is that head's.
    let tried: HashSet<(&str, &[u8])> =
        letters.iter().filter(|letter| !letter.alone).map(|letter| (letter.topic.as_str(), letter.key.as_slice())).collect();
    let behind: Vec<TopicKey> = keys.into_iter().filter(|(topic, key)| tried.contains(&(topic.as_str(), key.as_slice()))).collect();
    drop(tried);
    letters.extend(store::lock_followers(db, group, &behind, room).await?);
    letters.sort_by_key(|letter| letter.pos);
    Ok(letters)
}

/// What is to be done with a letter.
enum Verdict<'a, W: Work> {
    Try(Item<'a, W>),
    /// Its type is passed over by now: it counts as handled.
    Pass,
    /// It cannot be read now.
    Wait(Failure),
}

async fn read<'a, W: Work>(units: &Units, routes: &'a Routes<W>, letter: &Letter) -> Verdict<'a, W> {
    let identified = HeaderText::parse(&letter.headers).any(|(name, _)| name == header::CE_ID);
    match item::read(&units.codec, routes, &letter.topic, (identified, &letter.headers, letter.value.as_deref())).await {
        Read::Item(route, body) => {
            let own = letter.header_pairs().find(|(name, _)| *name == header::CE_ID).and_then(|(_, id)| uuid::Uuid::parse_str(id).ok());
            let id = own.map_or(letter.message_id, Into::into);
            let key = String::from_utf8_lossy(&letter.key).into_owned();
            // In the trace it was created in, however often it is tried or sent back.
            let created = spans::created(&letter.headers);
            let meta = Meta { id, correlation: letter.correlation.clone(), key, trace: trace::begin(created) };
            Verdict::Try(Item { route, meta, body, created })
        }
        Read::Ignored => Verdict::Pass,
        Read::Hold(failure) => Verdict::Wait(failure),
    }
}

struct Drain<'a, W: Work> {
    units: &'a Units,
    open: &'a HashSet<String>,
    unit: Unit<W>,
    now: Micros,
    decided: Decided,
    stopped: HashSet<TopicKey>,
}

#[derive(Default)]
struct Decided {
    handled: Vec<i64>,
    standings: Vec<(i64, Standing)>,
    undone: Vec<(String, &'static str)>,
    posts: Vec<Post>,
    late: Vec<Micros>,
    retried: u64,
    dead: u64,
}

impl<W: Work> Drain<'_, W> {
    /// `false`: something was learnt that needs everything to be decided again.
    fn try_one(&mut self, verdict: &Verdict<'_, W>, letter: &Letter, learnt: &mut Learnt) -> bool {
        let key = (letter.topic.clone(), letter.key.clone());
        if !letter.alone && self.stopped.contains(&key) {
            return true;
        }
        let item = match verdict {
            Verdict::Try(item) => item,
            Verdict::Pass => {
                self.decided.handled.push(letter.pos);
                return true;
            }
            Verdict::Wait(failure) => {
                self.postpone(letter, Some(failure));
                return true;
            }
        };
        if self.open.contains(item.handler(&letter.topic)) {
            self.postpone(letter, None);
            return true;
        }
        if let Some(due_at) = letter.due_at {
            self.decided.late.push(self.now.saturating_sub(due_at));
        }
        let tried = learnt.failed.get(&letter.pos).map_or_else(|| item.decide(&mut self.unit), |failure| Tried::Failed(failure.clone()));
        match tried {
            Tried::Handled => {
                self.tell(item, letter, None);
                self.decided.handled.push(letter.pos);
                self.decided.undone.extend(item.compensates().iter().map(|step| (letter.correlation.clone(), *step)));
            }
            Tried::Hold(failure) => self.postpone(letter, Some(&failure)),
            Tried::Torn(failure) => {
                learnt.failed.insert(letter.pos, failure);
                return false;
            }
            Tried::Failed(failure) => {
                self.tell(item, letter, Some(&failure));
                let dead = self.fail(item.route, letter, &failure);
                if dead && !learnt.untold.contains(&letter.pos) && !item.give_up(&mut self.unit, &failure) {
                    learnt.untold.insert(letter.pos);
                    return false;
                }
            }
        }
        true
    }

    fn tell(&mut self, item: &Item<'_, W>, letter: &Letter, failure: Option<&Failure>) {
        let place = Place {
            group: &self.units.retry.group,
            topic: &letter.topic,
            partition: letter.partition,
            offset: letter.offset,
            created: item.created,
            attempt: letter.attempt,
        };
        self.unit.spans.process(&item.meta, &place, failure);
    }

    /// Not now, and no try is counted: its key waits with it.
    fn postpone(&mut self, letter: &Letter, failure: Option<&Failure>) {
        tracing::debug!(message.id = %letter.message_id, code = failure.map(|failure| failure.code), "a parked message is not tried now");
        let standing = Standing {
            state: State::Head,
            alone: letter.alone,
            attempt: letter.attempt,
            timed: false,
            delay_ms: 0,
            due_at: Some(self.now.saturating_add(POSTPONED_MICROS)),
            failure: None,
        };
        self.decided.standings.push((letter.pos, standing));
        self.stop(letter);
    }

    fn stop(&mut self, letter: &Letter) {
        if !letter.alone {
            self.stopped.insert((letter.topic.clone(), letter.key.clone()));
        }
    }

    /// Whether the message is given up.
    fn fail(&mut self, route: Option<&Route<W>>, letter: &Letter, failure: &Failure) -> bool {
        let attempt = letter.attempt.saturating_add(1);
        let fate = item::fate(&self.units.retry.tiers, route, attempt, failure.class);
        tracing::warn!(message.id = %letter.message_id, attempt, code = failure.code, class = failure.class.as_str(), error = %failure, "a parked message failed again");
        let endless = route.is_some_and(|route| route.endless);
        let fingerprint = retry::fingerprint(&letter.topic, route.map(|route| route.record), failure);
        let mut standing = Standing {
            state: State::Dead,
            alone: letter.alone || letter.policy == Policy::Release,
            attempt,
            timed: false,
            delay_ms: 0,
            due_at: None,
            failure: Some((failure.clone(), fingerprint.clone())),
        };
        if let Fate::Again(delay) = fate {
            standing.state = State::Head;
            standing.alone = letter.alone;
            standing.timed = true;
            standing.delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            standing.due_at = Some(self.now.saturating_add(standing.delay_ms.saturating_mul(1_000)));
        }
        if !standing.alone {
            self.stop(letter);
        }
        let seen = Letter {
            attempt,
            first_failure_at: letter.first_failure_at.or(Some(self.now)),
            last_failure_at: Some(self.now),
            class: Some(failure.class.as_str().to_owned()),
            code: Some(failure.code.to_owned()),
            error: Some(failure.message.clone()),
            fingerprint: Some(fingerprint),
            ..letter.clone()
        };
        let writer = Writer { settings: &self.units.retry, partitions: &self.units.partitions };
        let say = Say { attempt, redrive_no: letter.redrive_no, timer_no: 0, endless, due_at: standing.due_at };
        let post = match fate {
            Fate::Again(delay) => {
                self.decided.retried += 1;
                writer.timer(&seen, delay, say)
            }
            Fate::Dead => {
                self.decided.dead += 1;
                writer.dead(&seen, say)
            }
        };
        match post {
            Ok(post) => self.decided.posts.push(post),
            // Its topic is not set up: found by the index, or listed, all the same.
            Err(error) => {
                tracing::error!(code = error.code, error = %error, "a failed message leaves no record");
                standing.timed = false;
            }
        }
        self.decided.standings.push((letter.pos, standing));
        fate == Fate::Dead
    }
}

impl Decided {
    async fn write(
        self,
        db: &mut PgConnection,
        group: &str,
        now: Micros,
        mut keys: Vec<TopicKey>,
    ) -> Result<(Parked, Vec<Post>), sqlx::Error> {
        store::finish(db, group, &self.handled, End::Handled).await?;
        store::stand(db, group, now, &self.standings).await?;
        keys.extend(store::undo(db, group, &self.undone).await?);
        let settled = store::settle_keys(db, group, &keys).await?;
        let parked = Parked {
            promoted: settled.promoted > 0,
            freed: settled.freed,
            keys: Vec::new(),
            stories: Vec::new(),
            retried: self.retried,
            dead: self.dead,
        };
        Ok((parked, self.posts))
    }
}

/// Sets the timer of every head anew that is overdue by twice its delay and 30 s: its record is lost. Answers how many.
pub(super) async fn sweep(units: &Units, owned: &HashMap<TopicPartition, i64>) -> Result<usize, sqlx::Error> {
    let group = units.retry.group.as_str();
    let mut tx = units.begin().await?;
    let statement = format!(
        "UPDATE parked p SET timer_no = p.timer_no + 1
         WHERE p.pos IN (SELECT o.pos FROM parked o
                         WHERE o.consumer_group = $1 AND o.state = 'head' AND o.timed
                           AND o.due_at < clock_timestamp() - (o.timer_no + 1) * (2 * o.delay_ms * interval '1 millisecond' + interval '30 seconds')
                           AND (o.topic, o.partition) IN (SELECT topic, partition FROM unnest($2::text[], $3::int[]) AS w (topic, partition))
                         ORDER BY o.due_at LIMIT 500 FOR UPDATE SKIP LOCKED)
         RETURNING {}",
        retry::COLUMNS
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(group)
        .bind(owned.keys().map(|at| at.topic.as_str()).collect::<Vec<_>>())
        .bind(owned.keys().map(|at| at.partition).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await?;
    if rows.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    let writer = Writer { settings: &units.retry, partitions: &units.partitions };
    let tiers = units.retry.tiers.delays();
    let mut posts = Vec::with_capacity(rows.len());
    for row in &rows {
        let letter = Letter::from_row(row)?;
        let tier = usize::try_from(letter.attempt.saturating_sub(1)).unwrap_or_default();
        let Some(delay) = tiers.get(tier).or(tiers.first()).copied() else { continue };
        let say = Say {
            attempt: letter.attempt,
            redrive_no: letter.redrive_no,
            timer_no: letter.timer_no,
            endless: false,
            due_at: letter.due_at,
        };
        match writer.timer(&letter, delay, say) {
            Ok(post) => posts.push(post),
            Err(error) => tracing::error!(code = error.code, error = %error, "a timer cannot be set anew"),
        }
    }
    store::append(&mut tx, &posts).await?;
    tx.commit().await?;
    units.relay.notify_one();
    tracing::warn!(count = posts.len(), "timers of overdue messages are set anew");
    Ok(posts.len())
}
