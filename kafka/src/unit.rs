//! The unit of work: everything one transaction decides and writes, whoever asked for it (a batch of records, an HTTP
//! request, a deadline, an effect's result). Decisions are made in memory on loaded, locked state; then one statement
//! per table writes them, the outbox last.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use record::Record;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::PgConnection;

use crate::codec::Codec;
use crate::effects::{EffectRow, NewEffect};
use crate::failure::Failure;
use crate::hands::Claimed;
use crate::message::{Cause, HeaderText, MessageId, header};
use crate::retry::store::Post;
use crate::spans::Spans;
use crate::tally::Tallies;
use crate::topics::Partitions;

/// Microseconds since the Unix epoch, by the database's clock.
pub type Micros = i64;

/// The folded state of one stream. `Default` is the state before the first event.
pub trait Aggregate: Serialize + DeserializeOwned + Default + Clone + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Default + Clone + Send + Sync + 'static> Aggregate for T {}

/// A service's own rows in a unit: what its messages need loaded and locked, and what their decisions leave to write
/// (read models, counters). `()` for a service that has none.
pub trait Work: Default + Send + Sync + 'static {
    /// What a message needs, gathered over the batch before anything is loaded.
    type Needs: Default + Send + 'static;

    /// Loads and locks, in one ordered statement per table, after the streams are locked.
    fn load(&mut self, db: &mut PgConnection, needs: Self::Needs) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Writes what the decisions left, one statement per table.
    fn store(&mut self, db: &mut PgConnection) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

impl Work for () {
    type Needs = ();

    async fn load(&mut self, _: &mut PgConnection, (): ()) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn store(&mut self, _: &mut PgConnection) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

/// What the decisions of one unit need in memory.
pub struct Needs<W: Work> {
    pub(crate) streams: BTreeSet<String>,
    pub(crate) effects: BTreeSet<String>,
    /// The service's own part.
    pub work: W::Needs,
}

impl<W: Work> Default for Needs<W> {
    fn default() -> Self {
        Self { streams: BTreeSet::new(), effects: BTreeSet::new(), work: W::Needs::default() }
    }
}

impl<W: Work> fmt::Debug for Needs<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Needs").field("streams", &self.streams).field("effects", &self.effects).finish_non_exhaustive()
    }
}

impl<W: Work> Needs<W> {
    /// The aggregate's state will be read, and may be changed.
    pub fn stream(&mut self, stream: impl Into<String>) {
        self.streams.insert(stream.into());
    }

    /// The effects of this stream will be looked at or undone.
    pub fn effects(&mut self, stream: impl Into<String>) {
        self.effects.insert(stream.into());
    }
}

/// One loaded stream.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) version: i64,
    pub(crate) json: Option<String>,
    typed: Option<Box<dyn Any + Send + Sync>>,
    pub(crate) changed: bool,
}

/// A message staged for the outbox, an event or a command.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) id: MessageId,
    pub(crate) record: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Present for events: the stream and the version they got.
    pub(crate) event: Option<(String, i64)>,
    pub(crate) cause: MessageId,
    pub(crate) correlation: String,
}

/// A change to an effect that was loaded with [`Needs::effects`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EffectChange {
    /// Not called yet: it never will be.
    Drop { stream: String, step: String },
    /// Being called: its result must not stand.
    Undo { stream: String, step: String, cause: MessageId },
    /// Finished: its result is recorded in this unit.
    Done { stream: String, step: String },
    /// To be called again at a later time.
    Again { stream: String, step: String, delay_ms: i64 },
    /// To be called again at a later time, without a try being counted.
    Postpone { stream: String, step: String, delay_ms: i64 },
    /// Given up: its saga is told in this unit.
    Dead { effect: Box<EffectRow>, failure: Failure },
}

/// The service's own rows, which note that they were changed: what a failing handler did to them cannot be taken back.
#[derive(Debug, Default)]
pub struct Tracked<W> {
    rows: W,
    touched: bool,
}

impl<W> std::ops::Deref for Tracked<W> {
    type Target = W;

    fn deref(&self) -> &W {
        &self.rows
    }
}

impl<W> std::ops::DerefMut for Tracked<W> {
    fn deref_mut(&mut self) -> &mut W {
        self.touched = true;
        &mut self.rows
    }
}

/// A deadline as it stands in a unit: armed for a step at an instant, or disarmed.
type Deadline = Option<(String, Micros, Option<trace::Context>)>;

/// What one message's handler changed, to take it back when it fails.
#[derive(Default)]
struct Journal {
    on: bool,
    staged: usize,
    effects: usize,
    changes: usize,
    spans: usize,
    tallies: usize,
    streams: Vec<(String, Slot)>,
    deadlines: Vec<(String, Option<Deadline>)>,
    /// Something of an earlier message was taken out: only deciding the whole unit again brings it back.
    torn: bool,
}

impl EffectChange {
    /// Stream and step.
    fn place(&self) -> (&str, &str) {
        match self {
            Self::Drop { stream, step }
            | Self::Undo { stream, step, .. }
            | Self::Done { stream, step }
            | Self::Again { stream, step, .. }
            | Self::Postpone { stream, step, .. } => (stream, step),
            Self::Dead { effect, .. } => (&effect.stream, &effect.step),
        }
    }
}

/// Decisions of one transaction.
pub struct Unit<W: Work> {
    /// The service's own rows.
    pub work: Tracked<W>,
    journal: Journal,
    /// What leaves about messages that failed, behind everything staged.
    pub(crate) posts: Vec<Post>,
    now: Micros,
    codec: Arc<Codec>,
    partitions: Arc<Partitions>,
    cause: Option<Cause>,
    next_index: u32,
    pub(crate) streams: HashMap<String, Slot>,
    /// Those of every stream asked for, of one without any too.
    effects: HashMap<String, Vec<EffectRow>>,
    pub(crate) staged: Vec<Staged>,
    pub(crate) new_effects: Vec<NewEffect>,
    pub(crate) effect_changes: Vec<EffectChange>,
    /// New effects that are this process's to call once the unit is committed.
    pub(crate) claimed: Vec<Claimed>,
    pub(crate) deadlines: BTreeMap<String, Deadline>,
    /// Told of once it is committed.
    pub(crate) spans: Spans,
    pub(crate) tallies: Tallies,
}

impl<W: Work> fmt::Debug for Unit<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit").field("streams", &self.streams.len()).field("staged", &self.staged.len()).finish_non_exhaustive()
    }
}

impl<W: Work> Unit<W> {
    pub(crate) fn new(
        codec: Arc<Codec>,
        partitions: Arc<Partitions>,
        now: Micros,
        streams: HashMap<String, Slot>,
        effects: HashMap<String, Vec<EffectRow>>,
        work: W,
    ) -> Self {
        Self {
            work: Tracked { rows: work, touched: false },
            journal: Journal::default(),
            posts: Vec::new(),
            now,
            codec,
            partitions,
            cause: None,
            next_index: 0,
            streams,
            effects,
            staged: Vec::new(),
            new_effects: Vec::new(),
            effect_changes: Vec::new(),
            claimed: Vec::new(),
            deadlines: BTreeMap::new(),
            spans: Spans::begin(),
            tallies: Tallies::default(),
        }
    }

    /// The instant of this unit, by the database's clock.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.now
    }

    /// From here on everything written is because of `cause`. The runtime calls it before each handler; code that opens
    /// units itself (HTTP, deadlines) must call it before the first write.
    pub fn because(&mut self, cause: Cause) {
        self.cause = Some(cause);
        self.next_index = 0;
    }

    /// From here on what is written belongs to one message and can be taken back by [`Unit::take_back`].
    pub(crate) fn begin_message(&mut self) {
        self.work.touched = false;
        self.journal.on = true;
        self.journal.torn = false;
        self.journal.staged = self.staged.len();
        self.journal.effects = self.new_effects.len();
        self.journal.changes = self.effect_changes.len();
        self.journal.spans = self.spans.len();
        self.journal.tallies = self.tallies.len();
        self.journal.streams.clear();
        self.journal.deadlines.clear();
    }

    /// Takes back what was written since [`Unit::begin_message`]. `false`: that is not possible, since the service's own rows
    /// were touched too; the unit must be thrown away.
    pub(crate) fn take_back(&mut self) -> bool {
        if self.work.touched || self.journal.torn || !self.journal.on {
            return false;
        }
        self.staged.truncate(self.journal.staged);
        self.new_effects.truncate(self.journal.effects);
        self.effect_changes.truncate(self.journal.changes);
        self.spans.truncate(self.journal.spans);
        self.tallies.truncate(self.journal.tallies);
        while let Some((stream, slot)) = self.journal.streams.pop() {
            self.streams.insert(stream, slot);
        }
        while let Some((saga, before)) = self.journal.deadlines.pop() {
            match before {
                Some(armed) => self.deadlines.insert(saga, armed),
                None => self.deadlines.remove(&saga),
            };
        }
        true
    }

    /// The cause in force.
    ///
    /// # Errors
    /// Permanent `no_cause`: [`Unit::because`] was not called.
    pub fn cause(&self) -> Result<&Cause, Failure> {
        self.cause.as_ref().ok_or_else(|| Failure::permanent("no_cause", "write without a cause"))
    }

    /// The state of a stream after everything appended so far; the default when it has no events.
    ///
    /// # Errors
    /// Permanent: the stream was not asked for, or its stored state is not an `A`.
    pub fn state<A: Aggregate>(&mut self, stream: &str) -> Result<A, Failure> {
        let slot = self.streams.get_mut(stream).ok_or_else(|| not_loaded(stream))?;
        if let Some(state) = slot.typed.as_ref().and_then(|typed| typed.downcast_ref::<A>()) {
            return Ok(state.clone());
        }
        let Some(json) = &slot.json else { return Ok(A::default()) };
        let state: A = serde_json::from_str(json)
            .map_err(|error| Failure::permanent("state_unreadable", format!("read the state of {stream}: {error}")))?;
        slot.typed = Some(Box::new(state.clone()));
        Ok(state)
    }

    /// The version of a stream after everything appended so far; 0 when it has no events.
    ///
    /// # Errors
    /// Permanent: the stream was not asked for.
    pub fn version(&self, stream: &str) -> Result<i64, Failure> {
        self.streams.get(stream).map(|slot| slot.version).ok_or_else(|| not_loaded(stream))
    }

    /// Appends one event to `stream`, whose state is `state` from now on, and publishes it keyed by `key`.
    /// The event's position is the next version; another writer that got there first makes the whole unit be decided again.
    ///
    /// # Errors
    /// Permanent: the stream was not asked for, or the event does not fit its schema.
    pub fn append<E: Record, A: Aggregate>(&mut self, stream: &str, key: &str, event: &E, state: &A) -> Result<MessageId, Failure> {
        let cause = self.cause()?.clone();
        let json = serde_json::to_string(state)
            .map_err(|error| Failure::permanent("state_unwritable", format!("write the state of {stream}: {error}")))?;
        let slot = self.streams.get_mut(stream).ok_or_else(|| not_loaded(stream))?;
        let version = slot.version.saturating_add(1);
        let after = Slot { version, json: Some(json), typed: Some(Box::new(state.clone())), changed: true };
        let before = std::mem::replace(slot, after);
        if self.journal.on {
            self.journal.streams.push((stream.to_owned(), before));
        }
        let id = MessageId::derived(cause.id, cause.step, self.next_index);
        self.next_index = self.next_index.saturating_add(1);
        self.stage(id, cause, stream, Some(version), key, event)
    }

    /// Sends the command of one saga step. Its id follows from saga and step, so sending it again sends the same message.
    ///
    /// # Errors
    /// Permanent: the command does not fit its schema.
    pub fn send<C: Record>(&mut self, saga: &str, step: &str, key: &str, command: &C) -> Result<MessageId, Failure> {
        let cause = self.cause()?.clone();
        self.stage(MessageId::of_step(saga, step), cause, saga, None, key, command)
    }

    fn stage<T: Record>(
        &mut self,
        id: MessageId,
        cause: Cause,
        stream: &str,
        version: Option<i64>,
        key: &str,
        record: &T,
    ) -> Result<MessageId, Failure> {
        let payload = self.codec.encode(record)?;
        let mut headers = HeaderText::default();
        headers.push(header::CE_ID, &id.to_string());
        headers.push(header::CE_TYPE, T::FULL_NAME);
        headers.push(header::CE_SUBJECT, key);
        headers.push(header::CE_TIME, &rfc3339(self.now));
        headers.push(header::CAUSATION_ID, &cause.id.to_string());
        headers.push(header::CORRELATION_ID, &cause.correlation);
        headers.push(header::STREAM, stream);
        if let Some(version) = version {
            headers.push(header::STREAM_VERSION, &version.to_string());
        }
        if let Some(context) = self.spans.create(T::TOPIC, id, &cause) {
            headers.push(header::TRACEPARENT, &context.to_string());
        }
        self.staged.push(Staged {
            id,
            record: T::FULL_NAME,
            topic: T::TOPIC,
            partition: record::partition_for(key.as_bytes(), self.partitions.of(T::TOPIC)?),
            key: key.to_owned(),
            headers: headers.into_bytes(),
            payload,
            event: version.map(|version| (stream.to_owned(), version)),
            cause: cause.id,
            correlation: cause.correlation,
        });
        Ok(id)
    }

    /// Asks for an outside call, made by the effect worker after this unit is committed. One effect per (stream, step):
    /// asking again is ignored. Effects of a stream are called one at a time, in the order they were asked for.
    ///
    /// # Errors
    /// Permanent: the request cannot be written as JSON.
    pub fn effect(&mut self, saga: &str, stream: &str, step: &'static str, request: &impl Serialize) -> Result<(), Failure> {
        let cause = self.cause()?.clone();
        let request = serde_json::to_string(request)
            .map_err(|error| Failure::permanent("effect_unwritable", format!("write effect {step} of {stream}: {error}")))?;
        self.new_effects.push(NewEffect {
            stream: stream.to_owned(),
            step,
            cause: cause.id,
            correlation: cause.correlation,
            key: MessageId::of_step(saga, step),
            request,
            trace: cause.trace,
        });
        Ok(())
    }

    /// Whether `step` was asked for on `stream`, in this unit or before.
    #[must_use]
    pub fn effect_asked(&self, stream: &str, step: &str) -> bool {
        self.effects(stream).iter().any(|effect| effect.step == step)
            || self.new_effects.iter().any(|new| new.stream == stream && new.step == step)
    }

    /// The effects of a stream as loaded with [`Needs::effects`], oldest first.
    #[must_use]
    pub fn effects(&self, stream: &str) -> &[EffectRow] {
        self.effects.get(stream).map_or(&[], Vec::as_slice)
    }

    /// Undoes every effect of `stream` asked for so far: one that is not being called is dropped, one that is gets
    /// `undo_cause`, so that its result is not recorded. Whatever it did outside must be undone by an effect asked for next.
    ///
    /// # Errors
    /// Permanent: no cause.
    pub fn undo_effects(&mut self, stream: &str) -> Result<(), Failure> {
        let cause = self.cause()?.id;
        self.forget_effects(|new| new.stream == stream);
        for effect in self.effects.get(stream).into_iter().flatten() {
            let (stream, step) = (stream.to_owned(), effect.step.clone());
            match effect.state {
                crate::effects::State::Pending | crate::effects::State::Unknown => {
                    self.effect_changes.push(EffectChange::Drop { stream, step });
                }
                crate::effects::State::Calling => self.effect_changes.push(EffectChange::Undo { stream, step, cause }),
                crate::effects::State::Done | crate::effects::State::Dropped | crate::effects::State::Dead => {}
            }
        }
        Ok(())
    }

    /// Takes one effect that waits out of its stream's queue: it will not be called.
    pub fn drop_effect(&mut self, stream: &str, step: &str) {
        self.forget_effects(|new| new.stream == stream && new.step == step);
        let waits = |effect: &&EffectRow| {
            effect.step == step && matches!(effect.state, crate::effects::State::Pending | crate::effects::State::Unknown)
        };
        if self.effects(stream).iter().any(|effect| waits(&effect)) {
            self.effect_changes.push(EffectChange::Drop { stream: stream.to_owned(), step: step.to_owned() });
        }
    }

    fn forget_effects(&mut self, which: impl Fn(&NewEffect) -> bool) {
        let earlier = self.new_effects.get(..self.journal.effects).unwrap_or(&self.new_effects);
        self.journal.torn |= earlier.iter().any(&which);
        self.new_effects.retain(|new| !which(new));
    }

    /// Whether nothing of its stream stands in front of a new effect: its stream's effects were loaded (so its row is locked
    /// and nobody adds one meanwhile), none of them is open, and none is this very step.
    pub(crate) fn may_claim(&self, new: &NewEffect) -> bool {
        self.effects.get(&new.stream).is_some_and(|known| !known.iter().any(|effect| effect.state.is_open() || effect.step == new.step))
    }

    /// Whether some effect may be claimable once this is committed: one that was asked for and not claimed, or one that
    /// waited behind what this unit has ended.
    pub(crate) fn leaves_effects(&self) -> bool {
        self.new_effects.len() > self.claimed.len()
            || self.effect_changes.iter().any(|change| {
                let (stream, step) = change.place();
                self.effects(stream).iter().any(|effect| effect.step != step && effect.state.is_open())
            })
    }

    /// Arms the saga's one deadline, replacing an earlier one; `None` disarms it.
    pub fn deadline(&mut self, saga: &str, armed: Option<(&str, Micros)>) {
        let trace = self.cause.as_ref().and_then(|cause| cause.trace);
        let before = self.deadlines.insert(saga.to_owned(), armed.map(|(step, due)| (step.to_owned(), due, trace)));
        if self.journal.on {
            self.journal.deadlines.push((saga.to_owned(), before));
        }
    }

    /// Adds one to a counter of the service's own, once the unit is committed.
    pub fn count(&mut self, name: &'static str, label: &'static str, value: impl Into<String>) {
        self.tallies.count(name, label, value.into());
    }

    /// Adds a duration in seconds to a histogram of the service's own, once the unit is committed.
    pub fn took(&mut self, name: &'static str, label: &'static str, value: impl Into<String>, seconds: f64) {
        self.tallies.took(name, label, value.into(), seconds);
    }

    /// Whether anything was decided.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
            && self.posts.is_empty()
            && self.new_effects.is_empty()
            && self.effect_changes.is_empty()
            && self.deadlines.is_empty()
    }

    /// Rows this unit adds to the outbox; a unit is refused by the database above 5,000.
    #[must_use]
    pub fn outbox_rows(&self) -> usize {
        self.staged.len().saturating_add(self.posts.len())
    }
}

fn not_loaded(stream: &str) -> Failure {
    Failure::permanent("stream_not_loaded", format!("stream {stream} is used but was not asked for"))
}

/// An instant as RFC 3339 in UTC with microseconds.
#[must_use]
pub fn rfc3339(micros: Micros) -> String {
    jiff::Timestamp::from_microsecond(micros).map(|instant| format!("{instant:.6}")).unwrap_or_default()
}
