//! The engine's part in failures: drains between batches, and breakers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::TopicPartition;
use super::assignment::{self, Move};
use super::drain::{self, Ask, Outcome};
use super::engine::{Engine, Part};
use super::item::{self, Item, Read, Tried};
use super::parking::Parked;
use super::source::{Fetched, lock};
use super::timer::Wakes;
use crate::harm;
use crate::message::MessageId;
use crate::route::Meta;
use crate::store::{Retry, retry_of};
use crate::unit::{Micros, Needs, Work};

/// How often heads without a timer are looked for when nothing says that there is one.
const LOOK: Duration = Duration::from_secs(1);
/// The same in the first seconds after a take-over, when timers may still wait for a relay, and for how long.
const LOOK_OVERDUE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How often lost timers are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// First and longest wait between two probes of an open breaker.
const PROBE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A handler whose messages are not routed away for now.
#[derive(Debug)]
pub(super) struct Breaker {
    code: &'static str,
    since: Instant,
    wait: Duration,
    probe_at: Instant,
    /// Which of its queued messages is probed next, so that one bad message cannot keep it open.
    nth: usize,
}

impl<W: Work> Engine<W> {
    /// Does one thing about failures if one is due. Whether it did.
    pub(super) async fn failures(&mut self) -> bool {
        if self.parts.is_empty() {
            return false;
        }
        let now = Instant::now();
        if let Some(handler) = self.breakers.iter().find(|(_, breaker)| breaker.probe_at <= now).map(|(handler, _)| handler.clone()) {
            self.probe(&handler).await;
            return true;
        }
        if self.sweep_at <= now {
            self.sweep().await;
            return true;
        }
        if self.drained || !self.drain_due(now) {
            return false;
        }
        self.drained = true;
        self.drain().await;
        true
    }

    /// When something about failures is due.
    pub(super) fn failures_at(&self) -> Option<Instant> {
        if self.parts.is_empty() {
            return None;
        }
        let timers = self.parts.values().filter_map(|part| part.timers.as_ref()?.front()).map(|timer| self.instant(timer.due_at()));
        let probes = self.breakers.values().map(|breaker| breaker.probe_at);
        timers.chain(probes).chain([self.look_at, self.sweep_at]).min()
    }

    fn drain_due(&self, now: Instant) -> bool {
        self.look_at <= now
            || self.parts.values().filter_map(|part| part.timers.as_ref()?.front()).any(|timer| self.instant(timer.due_at()) <= now)
    }

    /// When the database's clock will say `due_at`, as far as is known; the drain asks it again.
    fn instant(&self, due_at: Micros) -> Instant {
        let Some((read_at, clock)) = self.clock else { return Instant::now() };
        let wait = u64::try_from(due_at.saturating_sub(clock)).unwrap_or_default();
        // An hour at most: a timer from far away must not overflow.
        read_at + Duration::from_micros(wait.min(3_600_000_000))
    }

    async fn drain(&mut self) {
        let routes = Arc::clone(&self.routes);
        let (moves, wakes) = self.due_timers();
        let owned = self.owned();
        let look = self.look_at <= Instant::now();
        let overdue = self.assigned_at.elapsed() < LOOK_OVERDUE.1;
        let ask = Ask { moves, wakes, look, overdue, owned: &owned, open: &self.open };
        let outcome = drain::attempt(&self.units, &routes, &ask).await;
        let moves = ask.moves;
        match outcome {
            Ok(Outcome::Nothing(clock)) => {
                self.clock = Some((Instant::now(), clock));
                self.look_at = Instant::now() + if overdue { LOOK_OVERDUE.0 } else { LOOK };
            }
            Ok(Outcome::Early(clock)) => self.clock = Some((Instant::now(), clock)),
            Ok(Outcome::Fenced) => self.fenced(),
            Ok(Outcome::Written(drained)) => {
                let drain::Drained { tx, mut unit, parked, handled, late } = *drained;
                let committed = tx.commit().await;
                let lost = harm::point_async("R4.committed").await;
                let committed = if lost { Err(sqlx::Error::Protocol("the answer is lost on purpose".to_owned())) } else { committed };
                if let Err(error) = committed {
                    // The parked rows tell the next drain what became of it; the moved timers have to be settled first.
                    tracing::warn!(error = %error, "the outcome of a drain's commit is not known");
                    self.unsettled = Some(moves);
                    return self.wait();
                }
                if parked.promoted {
                    harm::point_async("R5.promoted").await;
                }
                if parked.dead > 0 {
                    harm::point_async("R6.dead").await;
                }
                self.clock = Some((Instant::now(), unit.now()));
                for late in late {
                    metrics::histogram!("retry_lateness_seconds", "group" => self.config.group.clone()).record(seconds(late));
                }
                metrics::counter!("retry_handled_total", "group" => self.config.group.clone()).increment(handled);
                self.advanced(&moves);
                self.known.freed(&parked.freed);
                self.parked(&parked);
                if look || handled > 0 {
                    self.look_at = Instant::now();
                }
                self.units.committed(&mut unit);
            }
            Err(error) => {
                let level = if retry_of(&error) == Retry::Same { "again" } else { "refused" };
                tracing::warn!(error = %error, level, "parked messages are tried again");
                self.wait();
            }
        }
    }

    /// Notes what a committed transaction parked.
    pub(super) fn parked(&mut self, parked: &Parked) {
        self.known.freed(&parked.freed);
        if parked.promoted {
            self.look_at = Instant::now();
        }
        if parked.retried > 0 {
            metrics::counter!("retry_parked_total", "group" => self.config.group.clone()).increment(parked.retried);
        }
        if parked.dead > 0 {
            metrics::counter!("dead_letters_total", "group" => self.config.group.clone()).increment(parked.dead);
        }
    }

    /// The due timers at the front of all retry partitions, and how far they move their partitions.
    fn due_timers(&self) -> (Vec<Move>, Vec<Wakes>) {
        let now = Instant::now();
        let (mut moves, mut wakes): (Vec<Move>, Vec<Wakes>) = (Vec::new(), Vec::new());
        for (at, part) in &self.parts {
            let Some(timers) = &part.timers else { continue };
            let room = drain::MOST.saturating_sub(wakes.len());
            let due: Vec<_> = timers.iter().take(room).take_while(|timer| self.instant(timer.due_at()) <= now).collect();
            let Some(last) = due.last() else { continue };
            let (to, hash) = (last.offset.saturating_add(1), last.hash);
            moves.push(Move { at: at.clone(), epoch: part.epoch, from: part.next, to, hash, links: Vec::new() });
            wakes.extend(due.into_iter().filter_map(|timer| timer.wakes.clone()));
        }
        (moves, wakes)
    }

    /// The partitions of messages that are ours, with their epochs.
    fn owned(&self) -> HashMap<TopicPartition, i64> {
        self.parts.iter().filter(|(_, part)| part.timers.is_none()).map(|(at, part)| (at.clone(), part.epoch)).collect()
    }

    /// Remembering what we parked ourselves tells everything about a key only if all its topics' partitions are ours.
    pub(super) fn know_whole_keys(&mut self) {
        let ours = |topic: &str, number: i32| self.parts.contains_key(&TopicPartition { topic: topic.to_owned(), partition: number });
        let whole = self.parts.iter().filter(|(_, part)| part.timers.is_none()).all(|(at, _)| {
            self.routes.topics().iter().all(|topic| {
                let exists = self.units.partitions.of(topic).map_or(true, |count| at.partition < count);
                !exists || ours(topic, at.partition)
            })
        });
        if !whole {
            tracing::warn!(group = %self.config.group, "a key's partitions are not all ours: what is parked is asked of the database each time");
            self.known.ask_always();
        }
    }

    async fn sweep(&mut self) {
        self.sweep_at = Instant::now() + SWEEP;
        if let Err(error) = drain::sweep(&self.units, &self.owned()).await {
            tracing::warn!(error = %error, "look for lost timers");
        }
        if self.known.overgrown() {
            let partitions: Vec<TopicPartition> = self.owned().into_keys().collect();
            let again = async {
                let mut db = self.units.pool.acquire().await?;
                assignment::known(&mut db, &self.config.group, &partitions).await
            };
            match again.await {
                // Nothing of ours is being committed now, so this is everything.
                Ok(known) => {
                    self.known = known;
                    self.know_whole_keys();
                }
                Err(error) => tracing::warn!(error = %error, "read what is parked"),
            }
        }
    }

    pub(super) fn open_breaker(&mut self, handler: &str, code: &'static str) {
        if self.breakers.contains_key(handler) {
            return;
        }
        let now = Instant::now();
        tracing::error!(handler, code, "breaker opens: too many messages fail alike, none is routed away any more");
        metrics::counter!("handler_breaker_opened_total", "handler" => handler.to_owned(), "code" => code).increment(1);
        metrics::gauge!("handler_breaker_open", "handler" => handler.to_owned()).set(1.0);
        let breaker = Breaker { code, since: now, wait: PROBE.0, probe_at: now + PROBE.0, nth: 0 };
        self.breakers.insert(handler.to_owned(), breaker);
        self.open.insert(handler.to_owned());
    }

    fn close_breaker(&mut self, handler: &str) {
        let Some(breaker) = self.breakers.remove(handler) else { return };
        tracing::info!(handler, code = breaker.code, open_ms = breaker.since.elapsed().as_millis(), "breaker closes: a message passed");
        metrics::gauge!("handler_breaker_open", "handler" => handler.to_owned()).set(0.0);
        self.open.remove(handler);
        self.windows.clear(handler);
        for (at, part) in &mut self.parts {
            if part.hold.as_ref().is_some_and(|hold| hold.breaker.as_deref() == Some(handler)) {
                part.hold = None;
                lock(&self.health.held).remove(at);
            }
        }
        self.look_at = Instant::now();
    }

    /// Decides one queued message of the handler and throws the decision away: whether it passes is all that is asked.
    async fn probe(&mut self, handler: &str) {
        let Some(breaker) = self.breakers.get(handler) else { return };
        let nth = breaker.nth;
        let passed = match self.sample(handler, nth).await {
            // Nothing of the handler is queued in our partitions any more, as after a rebalance.
            Ok(None) => !self.parts.values().any(|part| part.held_by(handler)),
            Ok(Some(passed)) => passed,
            Err(error) => {
                tracing::debug!(error = %error, handler, "probe");
                false
            }
        };
        if passed {
            return self.close_breaker(handler);
        }
        metrics::counter!("handler_breaker_probes_failed_total", "handler" => handler.to_owned()).increment(1);
        if let Some(breaker) = self.breakers.get_mut(handler) {
            breaker.nth = breaker.nth.wrapping_add(1);
            breaker.wait = (breaker.wait * 2).min(PROBE.1);
            breaker.probe_at = Instant::now() + breaker.wait;
        }
    }

    async fn sample(&self, handler: &str, nth: usize) -> Result<Option<bool>, sqlx::Error> {
        let queued: Vec<&Fetched> =
            self.parts.values().filter(|part| part.held_by(handler)).flat_map(|part| part.queue.iter().take(50)).collect();
        let mut items = Vec::new();
        for record in queued {
            let identified = record.id.is_some();
            let read =
                item::read(&self.units.codec, &self.routes, &record.at.topic, (identified, &record.headers, record.value.as_deref()));
            if let Read::Item(route, body) = read.await {
                let id = record.id.unwrap_or_else(|| MessageId::of_place(&record.at.topic, record.at.partition, record.offset));
                let meta = Meta {
                    id,
                    correlation: record.correlation.clone(),
                    key: String::from_utf8_lossy(&record.key).into_owned(),
                    trace: None,
                };
                let item = Item { route, meta, body, created: None };
                // What cannot be read never passes.
                if item.body.is_ok() && (item.handler(&record.at.topic) == handler || record.at.topic == handler) {
                    items.push(item);
                }
            }
        }
        let Some(item) = nth.checked_rem(items.len()).and_then(|nth| items.get(nth)) else { return Ok(None) };
        let mut tx = self.units.begin().await?;
        let mut needs = Needs::default();
        if let (Some(route), Ok(body)) = (item.route, &item.body) {
            (route.ask)(body.as_ref(), &mut needs);
        }
        let mut unit = self.units.load(&mut tx, needs).await?;
        let passed = match item.decide(&mut unit) {
            // It may have decided what the database refuses.
            Tried::Handled => self.units.store(&mut tx, &mut unit).await.is_ok(),
            Tried::Failed(_) | Tried::Torn(_) | Tried::Hold(_) => false,
        };
        tx.rollback().await?;
        Ok(Some(passed))
    }
}

impl Part {
    fn held_by(&self, handler: &str) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.breaker.as_deref() == Some(handler))
    }
}

fn seconds(micros: Micros) -> f64 {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default()).as_secs_f64()
}
