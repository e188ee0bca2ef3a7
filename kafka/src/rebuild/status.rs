//! What the ops port knows of a rebuild, and how an operator's word reaches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use operation::{Rebuild, RebuildCheck, RebuildPlan, RebuildProgress};
use tokio::sync::Notify;

use super::Error;

/// Who wants the rebuild, and why: kept in the table of incarnations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// Where a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is not known yet.
    Starting,
    Live,
    Needed,
    Running,
    Failed,
    Done,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Needed => "needed",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }
}

#[derive(Debug)]
struct State {
    stage: Stage,
    plan: Option<RebuildPlan>,
    checks: Vec<RebuildCheck>,
    error: Option<(&'static str, String)>,
    wanted: Option<Wanted>,
    phase: (&'static str, Instant),
    began: Instant,
}

/// Shared between the ops port and the rebuild. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    state: Arc<Mutex<State>>,
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
    word: Arc<Notify>,
}

impl Default for Status {
    fn default() -> Self {
        let now = Instant::now();
        let state =
            State { stage: Stage::Starting, plan: None, checks: Vec::new(), error: None, wanted: None, phase: ("", now), began: now };
        Self { state: Arc::new(Mutex::new(state)), done: Arc::default(), total: Arc::default(), word: Arc::default() }
    }
}

impl Status {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // Every change is one assignment: what a panic leaves is whole.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn needed(&self, plan: RebuildPlan) {
        self.with(|state| {
            state.plan = Some(plan);
            if state.stage != Stage::Failed {
                state.stage = Stage::Needed;
            }
        });
    }

    /// Whether it is not known yet what the database needs.
    #[must_use]
    pub fn starts(&self) -> bool {
        self.with(|state| state.stage == Stage::Starting)
    }

    /// Whether the database waits for an operator's word.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.with(|state| matches!(state.stage, Stage::Needed | Stage::Failed))
    }

    /// The word.
    pub(crate) fn want(&self, wanted: Wanted) {
        self.with(|state| state.wanted = Some(wanted));
        self.word.notify_one();
    }

    /// Waits for the word.
    pub(crate) async fn wanted(&self) -> Wanted {
        loop {
            if let Some(wanted) = self.with(|state| state.wanted.take()) {
                return wanted;
            }
            self.word.notified().await;
        }
    }

    pub(crate) fn running(&self) {
        self.with(|state| {
            (state.stage, state.error, state.began) = (Stage::Running, None, Instant::now());
            state.checks.clear();
        });
    }

    /// The next phase; `total` is how much it has to do, 0 if that is not known.
    pub(crate) fn phase(&self, name: &'static str, total: u64) {
        tracing::info!(phase = name, total, "rebuild");
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.with(|state| state.phase = (name, Instant::now()));
    }

    pub(crate) fn add(&self, done: u64) {
        self.done.fetch_add(done, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, error: &Error) {
        self.with(|state| (state.stage, state.error) = (Stage::Failed, Some((error.code(), chain(error)))));
    }

    /// There is nothing to rebuild, or another process has.
    pub(crate) fn live(&self) {
        self.with(|state| state.stage = Stage::Live);
    }

    pub(crate) fn checked(&self, checks: Vec<RebuildCheck>) {
        self.with(|state| state.checks = checks);
    }

    pub(crate) fn done(&self) {
        self.with(|state| state.stage = Stage::Done);
    }

    /// As an operator sees it.
    #[must_use]
    pub fn shown(&self, service: &str) -> Rebuild {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        self.with(|state| Rebuild {
            service: service.to_owned(),
            state: state.stage.as_str().to_owned(),
            plan: state.plan.clone(),
            progress: (state.stage == Stage::Running).then(|| {
                let since = state.phase.1.elapsed().as_secs_f64().max(0.001);
                // counts far below what an f64 holds exactly
                let rate = f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / since;
                let seconds = state.began.elapsed().as_secs_f64();
                RebuildProgress { phase: state.phase.0.to_owned(), done, total, per_second: rate, seconds }
            }),
            checks: state.checks.clone(),
            code: state.error.as_ref().map(|(code, _)| (*code).to_owned()),
            error: state.error.as_ref().map(|(_, text)| text.clone()),
        })
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
