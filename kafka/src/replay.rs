//! What a service is shown of its own history, and all that it may do with it: fold a state, project rows. A replay has no
//! way to append, to send or to ask for an effect, so nothing can happen twice because it is read again.
//!
//! ```
//! fn replays<W: kafka::Work>(replay: &mut kafka::Replay<'_, W>) {
//!     replay.deadline("hold", 1);
//! }
//! ```
//! What does not compile:
//!
//! ```compile_fail,E0599
//! fn replays<W: kafka::Work>(replay: &mut kafka::Replay<'_, W>) {
//!     replay.effect("saga-1", "payment-1", "authorize", &());
//! }
//! ```
//! ```compile_fail,E0599
//! fn replays<W: kafka::Work, C: record::Record>(replay: &mut kafka::Replay<'_, W>, command: &C) {
//!     replay.send("saga-1", "hold", "1", command);
//! }
//! ```
//! ```compile_fail,E0599
//! fn replays<W: kafka::Work, E: record::Record>(replay: &mut kafka::Replay<'_, W>, event: &E) {
//!     replay.append("order-1", "1", event, &());
//! }
//! ```

use std::fmt;

use record::Record;

use crate::codec::Codec;
use crate::failure::Failure;
use crate::message::MessageId;
use crate::unit::{Aggregate, Micros, Work};

/// One event as it was recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub(crate) version: i64,
    pub(crate) record: String,
    pub(crate) cause: MessageId,
    pub(crate) at: Micros,
    pub(crate) schema: u32,
    pub(crate) datum: Vec<u8>,
}

impl Recorded {
    /// Its version in the stream, from 1.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The full name of its record type.
    #[must_use]
    pub fn record(&self) -> &str {
        &self.record
    }

    /// What caused it.
    #[must_use]
    pub fn cause(&self) -> MessageId {
        self.cause
    }

    /// When it was decided, by the clock of the database it was decided in.
    #[must_use]
    pub fn at(&self) -> Micros {
        self.at
    }
}

/// Everything that ever happened in one stream, in order, without a hole.
pub struct History<'a> {
    pub(crate) stream: &'a str,
    pub(crate) events: &'a [Recorded],
    pub(crate) codec: &'a Codec,
}

impl fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("stream", &self.stream).field("events", &self.events.len()).finish_non_exhaustive()
    }
}

impl<'a> History<'a> {
    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &'a str {
        self.stream
    }

    /// Its events.
    #[must_use]
    pub fn events(&self) -> &'a [Recorded] {
        self.events
    }

    /// The value of one of its events, an older writer's resolved to the schema of today.
    ///
    /// # Errors
    /// Permanent: it does not decode.
    pub fn read<T: Record>(&self, event: &Recorded) -> Result<T, Failure> {
        self.codec.decode(event.schema, &event.datum)
    }

    /// The failure of a history that this service cannot have written.
    #[must_use]
    pub fn unreadable(&self, what: impl fmt::Display) -> Failure {
        Failure::permanent("history_unreadable", format!("stream {}: {what}", self.stream))
    }
}

/// What replaying one stream leaves.
pub struct Replay<'a, W: Work> {
    /// The service's own rows.
    pub work: &'a mut W,
    pub(crate) state: Option<String>,
    pub(crate) deadline: Option<(String, Micros)>,
    pub(crate) awaits: bool,
}

impl<W: Work> fmt::Debug for Replay<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("state", &self.state).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl<'a, W: Work> Replay<'a, W> {
    pub(crate) fn new(work: &'a mut W) -> Self {
        Self { work, state: None, deadline: None, awaits: false }
    }

    /// The stream's state after its last event.
    ///
    /// # Errors
    /// Permanent: it cannot be written as JSON.
    pub fn state<A: Aggregate>(&mut self, state: &A) -> Result<(), Failure> {
        let json = serde_json::to_string(state)
            .map_err(|error| Failure::permanent("state_unwritable", format!("write the state of a stream: {error}")))?;
        self.state = Some(json);
        Ok(())
    }

    /// The saga of this stream waits for `step` until `due`.
    pub fn deadline(&mut self, step: &str, due: Micros) {
        self.deadline = Some((step.to_owned(), due));
    }

    /// Something is awaited: the runtime asks later, outside of any replay, which commands that takes
    /// ([`crate::Service::send_awaited`]), and sends those that never reached their topic.
    pub fn awaits(&mut self) {
        self.awaits = true;
    }
}
