//! Effects that are claimed at birth: a unit that asks for a call which nothing of its stream stands in front of writes the
//! row as `calling` under a lease, and hands it to this process's worker once it is committed. So a call costs no claim
//! of its own, and is still committed before it is made. Everything else waits as `pending` until the worker claims it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::breakers::Breakers;
use crate::effects::{EffectRow, NewEffect, State};
use crate::unit::{Unit, Work};

/// Calls under way at most, claimed at birth or later.
pub(crate) const CALLS: usize = 512;

/// An effect that is ours to call, and its place among the calls under way. Dropped with a unit that is not committed,
/// it gives the place back; one whose commit is in doubt is called when its lease has run out.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) effect: EffectRow,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Claimed {
    pub(crate) fn is(&self, new: &NewEffect) -> bool {
        self.effect.step == new.step && self.effect.stream == new.stream
    }
}

/// The places for calls, and the way to the worker while there is one.
#[derive(Debug)]
pub(crate) struct Hands {
    pub(crate) permits: Arc<Semaphore>,
    /// Bounded by the permits.
    worker: Mutex<Option<UnboundedSender<Claimed>>>,
    breakers: Mutex<Breakers>,
    /// Somebody found no place: the next one that is free must be told of.
    starved: AtomicBool,
}

impl Default for Hands {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(CALLS)),
            worker: Mutex::default(),
            breakers: Mutex::default(),
            starved: AtomicBool::new(false),
        }
    }
}

impl Hands {
    /// From now on effects are claimed at birth; they arrive here.
    pub(crate) fn open(&self) -> UnboundedReceiver<Claimed> {
        let (sender, receiver) = unbounded_channel();
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// From now on effects wait for a worker that claims them.
    pub(crate) fn close(&self) {
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Which steps are called at all.
    pub(crate) fn breakers(&self) -> MutexGuard<'_, Breakers> {
        // A panic elsewhere leaves counts that are whole.
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one call, if there is one.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.permits).try_acquire_owned().ok();
        if place.is_none() {
            self.starved.store(true, Ordering::Release);
        }
        place
    }

    /// Gives a place back. Whether somebody was refused one since this was last asked, and effects wait for it.
    pub(crate) fn give_back(&self, place: OwnedSemaphorePermit) -> bool {
        drop(place);
        self.starved.swap(false, Ordering::AcqRel)
    }

    /// Claims the new effects of `unit` that can be called as soon as it is committed, while there are places.
    pub(crate) fn claim<W: Work>(&self, unit: &Unit<W>) -> Vec<Claimed> {
        let mut claimed = Vec::new();
        if self.worker.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return claimed;
        }
        let barred: Vec<&str> = self.breakers().open().collect();
        let mut streams = HashSet::new();
        for new in &unit.new_effects {
            let behind_another = !streams.insert(new.stream.as_str());
            if behind_another || barred.contains(&new.step) || !unit.may_claim(new) {
                continue;
            }
            let Some(permit) = self.place() else { break };
            let effect = EffectRow {
                stream: new.stream.clone(),
                step: new.step.to_owned(),
                cause: new.cause,
                correlation: new.correlation.clone(),
                key: new.key,
                request: new.request.clone(),
                state: State::Calling,
                attempt: 0,
                undo: false,
                trace: new.trace,
            };
            claimed.push(Claimed { effect, permit });
        }
        claimed
    }

    /// Hands over what was claimed by a unit that is committed. Without a worker it is called when its lease has run out.
    pub(crate) fn take_over(&self, claimed: Vec<Claimed>) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(worker) = worker.as_ref() else { return };
        for claimed in claimed {
            if worker.send(claimed).is_err() {
                tracing::debug!("the worker has stopped; a claimed effect waits for its lease to run out");
            }
        }
    }
}
