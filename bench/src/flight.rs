//! Orders in flight: placed, and not yet seen to be decided.
//!
//! A load loop registers what it placed, a watcher tells what was decided, in either order. The permit that lets the next order start is
//! kept here and given back at the decision: this is what "256 in flight" means.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

/// Decisions kept for orders nobody has registered yet: a decision can outrun the answer to its own POST, and the topic also tells
/// of other people's orders. The oldest are forgotten; the sweep finds what was forgotten too early.
const EARLY_MAX: usize = 65_536;

/// How an order was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// `OrderConfirmed`.
    Confirmed,
    /// `OrderCancelled`.
    Cancelled,
    /// It waits for a person.
    Stuck,
}

/// An order that was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The id it was given.
    pub id: Uuid,
    /// Who placed it.
    pub customer: Arc<str>,
    /// Just before its POST was sent; at an open loop, when it should have been sent.
    pub sent_at: Instant,
    /// When the server says it accepted it.
    pub placed_at: Option<Timestamp>,
    /// Whether it belongs to the measured window.
    pub measured: bool,
}

/// An order that was placed and decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What was placed.
    pub placed: Placed,
    /// How it was decided.
    pub decision: Decision,
    /// When the watcher saw it.
    pub seen_at: Instant,
    /// The server's own instant of the decision, where the watcher is told it.
    pub decided_at: Option<Timestamp>,
}

/// What a watcher tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which order.
    pub id: Uuid,
    /// How it was decided.
    pub decision: Decision,
    /// When it was seen.
    pub at: Instant,
    /// The server's own instant.
    pub decided_at: Option<Timestamp>,
}

/// All orders of one load, open and done.
#[derive(Debug, Default)]
pub struct Flight(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<Uuid, (Placed, Option<OwnedSemaphorePermit>)>,
    early: HashMap<Uuid, Seen>,
    early_order: VecDeque<Uuid>,
    done: Vec<Done>,
    last_seen_at: Option<Instant>,
}

impl Flight {
    /// Registers a placed order; `permit` is given back when it is decided. The same order twice is one.
    pub fn placed(&self, placed: Placed, permit: Option<OwnedSemaphorePermit>) {
        let mut inner = self.lock();
        match inner.early.remove(&placed.id) {
            Some(seen) => inner.finish(placed, &seen),
            None => {
                inner.open.insert(placed.id, (placed, permit));
            }
        }
    }

    /// Takes what a watcher saw. Repeats are ignored.
    pub fn decided(&self, seen: &Seen) {
        let mut inner = self.lock();
        match inner.open.remove(&seen.id) {
            Some((placed, _permit)) => inner.finish(placed, seen),
            None => inner.keep_early(*seen),
        }
    }

    /// Orders that are open, with when they were sent.
    #[must_use]
    pub fn open(&self) -> Vec<Placed> {
        self.lock().open.values().map(|(placed, _)| placed.clone()).collect()
    }

    /// How many are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.lock().open.len()
    }

    /// How many are done.
    #[must_use]
    pub fn done_count(&self) -> usize {
        self.lock().done.len()
    }

    /// When the last decision of an order of ours was seen.
    #[must_use]
    pub fn last_seen_at(&self) -> Option<Instant> {
        self.lock().last_seen_at
    }

    /// Takes everything done so far.
    #[must_use]
    pub fn take_done(&self) -> Vec<Done> {
        std::mem::take(&mut self.lock().done)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn finish(&mut self, placed: Placed, seen: &Seen) {
        self.last_seen_at = Some(seen.at);
        self.done.push(Done { placed, decision: seen.decision, seen_at: seen.at, decided_at: seen.decided_at });
    }

    fn keep_early(&mut self, seen: Seen) {
        if self.early.insert(seen.id, seen).is_none() {
            self.early_order.push_back(seen.id);
        }
        if self.early_order.len() > EARLY_MAX
            && let Some(oldest) = self.early_order.pop_front()
        {
            self.early.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn placed(id: u128) -> Placed {
        Placed { id: Uuid::from_u128(id), customer: "c".into(), sent_at: Instant::now(), placed_at: None, measured: true }
    }

    fn seen(id: u128) -> Seen {
        Seen { id: Uuid::from_u128(id), decision: Decision::Confirmed, at: Instant::now(), decided_at: None }
    }

    #[test]
    fn a_decision_gives_the_permit_back() {
        let permits = Arc::new(Semaphore::new(1));
        let flight = Flight::default();
        flight.placed(placed(1), Some(Arc::clone(&permits).try_acquire_owned().unwrap()));
        assert_eq!((permits.available_permits(), flight.open_count()), (0, 1));
        flight.decided(&seen(1));
        assert_eq!((permits.available_permits(), flight.open_count(), flight.done_count()), (1, 0, 1));
    }

    #[test]
    fn a_decision_may_come_before_the_answer_to_the_post() {
        let permits = Arc::new(Semaphore::new(1));
        let flight = Flight::default();
        flight.decided(&seen(1));
        flight.placed(placed(1), Some(Arc::clone(&permits).try_acquire_owned().unwrap()));
        assert_eq!((permits.available_permits(), flight.open_count(), flight.done_count()), (1, 0, 1));
    }

    #[test]
    fn a_decision_told_twice_counts_once() {
        let flight = Flight::default();
        flight.placed(placed(1), None);
        flight.decided(&seen(1));
        flight.decided(&seen(1));
        assert_eq!(flight.take_done().len(), 1);
        assert_eq!(flight.done_count(), 0);
    }

    #[test]
    fn decisions_of_other_peoples_orders_are_forgotten_in_time() {
        let flight = Flight::default();
        for id in 0..u128::try_from(EARLY_MAX + 10).unwrap() {
            flight.decided(&seen(id));
        }
        let inner = flight.lock();
        assert_eq!((inner.early.len(), inner.early_order.len()), (EARLY_MAX, EARLY_MAX));
        assert!(!inner.early.contains_key(&Uuid::from_u128(9)) && inner.early.contains_key(&Uuid::from_u128(10)));
    }
}
