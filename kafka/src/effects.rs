//! Outside effects: calls to the outside world as rows, written with the decision that asked for them, made by a worker
//! after that decision is committed, their results recorded in a unit of their own.
//!
//! A row is claimed (`calling` with a lease, committed) before its call; a lease that ran out is taken again under the
//! same key, so the other side must be idempotent by key. One effect of a stream at a time, in the order asked for.

use std::future::Future;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::failure::Failure;
use crate::message::MessageId;
use crate::unit::{Needs, Unit, Work};

/// Where an effect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not called yet.
    Pending,
    /// Being called under a lease.
    Calling,
    /// Its result is recorded.
    Done,
    /// A call failed in a way that leaves open whether it took effect; called again under the same key.
    Unknown,
    /// Undone before its first call.
    Dropped,
    /// Given up: its saga was told that the step failed.
    Dead,
}

impl State {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Calling => "calling",
            Self::Done => "done",
            Self::Unknown => "unknown",
            Self::Dropped => "dropped",
            Self::Dead => "dead",
        }
    }

    /// Whether it may still be called.
    pub(crate) fn is_open(self) -> bool {
        match self {
            Self::Pending | Self::Calling | Self::Unknown => true,
            Self::Done | Self::Dropped | Self::Dead => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Calling, Self::Done, Self::Unknown, Self::Dropped, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// One effect as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectRow {
    /// The stream it belongs to.
    pub stream: String,
    /// The saga step it performs.
    pub step: String,
    /// The message that asked for it.
    pub cause: MessageId,
    /// The story.
    pub correlation: String,
    /// The key under which the other side knows this call, the same at every try.
    pub key: MessageId,
    /// The request as the asking handler wrote it, JSON.
    pub request: String,
    /// Where it stands.
    pub state: State,
    /// Failed tries so far.
    pub attempt: i32,
    /// Whether a compensation arrived while it was being called.
    pub undo: bool,
    /// Where in which trace it was asked for.
    pub trace: Option<trace::Context>,
}

impl EffectRow {
    pub(crate) fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let state: String = row.try_get("state")?;
        Ok(Self {
            stream: row.try_get("stream")?,
            step: row.try_get("step")?,
            cause: MessageId::from(row.try_get::<uuid::Uuid, _>("cause")?),
            correlation: row.try_get("correlation_id")?,
            key: MessageId::from(row.try_get::<uuid::Uuid, _>("key")?),
            request: row.try_get("request")?,
            state: State::parse(&state).ok_or_else(|| sqlx::Error::Decode(format!("effect state {state}").into()))?,
            attempt: row.try_get("attempt")?,
            undo: row.try_get("undo")?,
            trace: trace::received(row.try_get("traceparent")?),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewEffect {
    pub(crate) stream: String,
    pub(crate) step: &'static str,
    pub(crate) cause: MessageId,
    pub(crate) correlation: String,
    pub(crate) key: MessageId,
    pub(crate) request: String,
    pub(crate) trace: Option<trace::Context>,
}

/// The outside, as one service sees it.
pub trait Effects<W: Work>: Send + Sync + 'static {
    /// What a call answers; a business "no" is an answer.
    type Answer: Send + Sync + 'static;

    /// The steps this service performs outside, for derived ids.
    const STEPS: &'static [&'static str];

    /// Makes the call. Must be idempotent by `effect.key`.
    ///
    /// # Errors
    /// The call failed or its outcome is not known: it is made again later under the same key.
    fn call(&self, effect: &EffectRow) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;

    /// Names what recording the answer needs loaded.
    fn ask(&self, effect: &EffectRow, needs: &mut Needs<W>);

    /// Records an answer. `effect.undo` tells that a compensation came while it was called: nothing may then be recorded
    /// that the compensation's own effect does not undo. The unit's cause is the message that asked for the effect.
    ///
    /// # Errors
    /// A defect: the effect stays `calling` and is called again when its lease runs out.
    fn record(&self, unit: &mut Unit<W>, effect: &EffectRow, answer: &Self::Answer) -> Result<(), Failure>;

    /// The effect has failed at its last try. `true` gives it up: whatever tells its saga and closes its fence has been
    /// written into `unit`, whose cause is the message that asked for the effect. `false`: it has no last try and is called
    /// again; so are undoing effects and those after the pivot.
    ///
    /// # Errors
    /// A defect: it is called again.
    fn give_up(&self, _unit: &mut Unit<W>, _effect: &EffectRow, _failure: &Failure) -> Result<bool, Failure> {
        Ok(false)
    }
}

/// Waits before the quick tries of one claimed call. Source: PROTOCOLS 2.2.
pub(crate) const QUICK_TRIES: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(250)];

/// How long a claimed effect belongs to its worker. Longer than the quick tries and a provider's timeout together.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
