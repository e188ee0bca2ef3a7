//! The table a service's reader starts from: which message is handled by what, on which topic, with which policy.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;

use record::Record;

use crate::codec::Codec;
use crate::failure::Failure;
use crate::message::{Cause, MessageId};
use crate::unit::{Needs, Unit, Work};

/// What becomes of a message's followers (same key) after its last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLast {
    /// They wait for redrive or skip: the message bears state.
    Hold,
    /// They go on: messages of this kind are independent.
    Release,
}

impl AfterLast {
    /// The word in the route table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
        }
    }
}

/// What a rebuild does with a message that this service handled before its database was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It is passed over: what it decided is among the events.
    Decided,
    /// It is handled again like every other one: its handler only projects, and the projection starts empty.
    Projects,
    /// It is decided again: it asks for calls to the outside, which are no events. What was answered is known by state and
    /// fence; what was not is asked for again under the same key.
    Calls,
}

/// What a handler knows of its message besides the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The message's own id (`ce_id`).
    pub id: MessageId,
    /// The story it belongs to (`correlation-id`).
    pub correlation: String,
    /// Its key: the order id or SKU.
    pub key: String,
    /// The span in which it is decided, when tracing is on.
    pub trace: Option<trace::Context>,
}

impl Meta {
    /// The cause of whatever handling this message writes.
    #[must_use]
    pub fn cause(&self) -> Cause {
        Cause::new(self.id, self.correlation.clone()).traced(self.trace)
    }
}

pub(crate) type Body = Box<dyn Any + Send + Sync>;
type Decode = Box<dyn Fn(&Codec, u32, &[u8]) -> Result<Body, Failure> + Send + Sync>;
type Ask<W> = Box<dyn Fn(&(dyn Any + Send + Sync), &mut Needs<W>) + Send + Sync>;
type GiveUp<W> = Box<dyn Fn(&mut Unit<W>, &Meta, &(dyn Any + Send + Sync), &Failure) -> Result<(), Failure> + Send + Sync>;
type Handle<W> = Box<dyn Fn(&mut Unit<W>, &Meta, &(dyn Any + Send + Sync)) -> Result<(), Failure> + Send + Sync>;

/// One handled message type.
pub struct Route<W: Work> {
    /// Topic it comes on.
    pub topic: &'static str,
    /// Its Avro full name.
    pub record: &'static str,
    /// Policy after the last attempt.
    pub after_last: AfterLast,
    /// The saga steps this message undoes; such a message is handled even when its key is blocked.
    pub compensates: &'static [&'static str],
    /// The saga step this message performs: a compensation of that step takes it out wherever it waits.
    pub performs: Option<&'static str>,
    /// Transient failures have no last attempt: the last tier repeats.
    pub endless: bool,
    /// What a rebuild does with a message that was handled before.
    pub again: Again,
    pub(crate) give_up: Option<GiveUp<W>>,
    pub(crate) decode: Decode,
    pub(crate) ask: Ask<W>,
    pub(crate) handle: Handle<W>,
}

impl<W: Work> fmt::Debug for Route<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("topic", &self.topic).field("record", &self.record).finish_non_exhaustive()
    }
}

/// All routes of one consumer group.
pub struct Routes<W: Work> {
    handled: HashMap<(&'static str, &'static str), Route<W>>,
    ignored: HashMap<(&'static str, &'static str), &'static str>,
    topics: Vec<&'static str>,
    last: Option<(&'static str, &'static str)>,
}

impl<W: Work> fmt::Debug for Routes<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("topics", &self.topics).field("handled", &self.handled.len()).finish_non_exhaustive()
    }
}

impl<W: Work> Default for Routes<W> {
    fn default() -> Self {
        Self { handled: HashMap::new(), ignored: HashMap::new(), topics: Vec::new(), last: None }
    }
}

impl<W: Work> Routes<W> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Handles `T`: `ask` names what its decision needs loaded, `handle` decides and writes into the unit. `handle` must be
    /// deterministic: it is run again when another writer got there first.
    #[must_use]
    pub fn on<T: Record>(
        mut self,
        after_last: AfterLast,
        ask: impl Fn(&T, &mut Needs<W>) + Send + Sync + 'static,
        handle: impl Fn(&mut Unit<W>, &Meta, &T) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        let wrong = || Failure::permanent("body_type_mismatch", format!("the decoded value is not a {}", T::FULL_NAME));
        let route = Route {
            topic: T::TOPIC,
            record: T::FULL_NAME,
            after_last,
            compensates: &[],
            performs: None,
            endless: false,
            again: Again::Decided,
            give_up: None,
            decode: Box::new(|codec, id, datum| Ok(Box::new(codec.decode::<T>(id, datum)?) as Body)),
            ask: Box::new(move |body, needs| {
                if let Some(message) = body.downcast_ref::<T>() {
                    ask(message, needs);
                }
            }),
            handle: Box::new(move |unit, meta, body| handle(unit, meta, body.downcast_ref::<T>().ok_or_else(wrong)?)),
        };
        self.topic(T::TOPIC);
        self.handled.insert((T::TOPIC, T::FULL_NAME), route);
        self.last = Some((T::TOPIC, T::FULL_NAME));
        self
    }

    /// Marks the route added last as undoing `steps`: it is handled even when its key is blocked, takes the parked messages
    /// of those steps out, and is tried without end.
    #[must_use]
    pub fn compensates(self, steps: &'static [&'static str]) -> Self {
        self.change(|route| {
            route.compensates = steps;
            route.endless = true;
        })
    }

    /// Marks the route added last as performing `step` of its saga.
    #[must_use]
    pub fn performs(self, step: &'static str) -> Self {
        self.change(|route| route.performs = Some(step))
    }

    /// Marks the route added last as a step after the pivot: it is tried without end.
    #[must_use]
    pub fn endless(self) -> Self {
        self.change(|route| route.endless = true)
    }

    /// Marks the route added last as writing nothing but a projection: a rebuild applies every message of it.
    #[must_use]
    pub fn projects(self) -> Self {
        self.change(|route| route.again = Again::Projects)
    }

    /// Marks the route added last as asking for calls to the outside: a rebuild decides every message of it again.
    #[must_use]
    pub fn calls(self) -> Self {
        self.change(|route| route.again = Again::Calls)
    }

    /// What the route added last writes in the transaction that makes its message a dead letter: its saga is told, its fence
    /// is set. What its `ask` names is loaded. Not called for a message that cannot be decoded.
    #[must_use]
    pub fn gives_up<T: Record>(
        self,
        tell: impl Fn(&mut Unit<W>, &Meta, &T, &Failure) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        let wrong = || Failure::permanent("body_type_mismatch", format!("the decoded value is not a {}", T::FULL_NAME));
        self.change(move |route| {
            route.give_up =
                Some(Box::new(move |unit, meta, body, failure| tell(unit, meta, body.downcast_ref::<T>().ok_or_else(wrong)?, failure)));
        })
    }

    fn change(mut self, change: impl FnOnce(&mut Route<W>)) -> Self {
        if let Some(route) = self.last.and_then(|key| self.handled.get_mut(&key)) {
            change(route);
        }
        self
    }

    /// Reads past `T` on purpose, for the reason given.
    #[must_use]
    pub fn ignore<T: Record>(mut self, why: &'static str) -> Self {
        self.topic(T::TOPIC);
        self.ignored.insert((T::TOPIC, T::FULL_NAME), why);
        self
    }

    fn topic(&mut self, topic: &'static str) {
        if !self.topics.contains(&topic) {
            self.topics.push(topic);
        }
    }

    /// The topics to subscribe to.
    #[must_use]
    pub fn topics(&self) -> &[&'static str] {
        &self.topics
    }

    pub(crate) fn find(&self, topic: &str, record: &str) -> Found<'_, W> {
        // The maps are keyed by 'static strings; a borrowed pair compares equal to them.
        match self.handled.iter().find(|((t, r), _)| *t == topic && *r == record) {
            Some((_, route)) => Found::Route(route),
            None if self.ignored.keys().any(|(t, r)| *t == topic && *r == record) => Found::Ignored,
            None => Found::Unknown,
        }
    }

    /// The table as text, one line a message, sorted: the golden file of a service's routes.
    #[must_use]
    pub fn table(&self) -> String {
        let handled = self.handled.values().map(|route| {
            let compensates =
                if route.compensates.is_empty() { String::new() } else { format!(" · compensates {}", route.compensates.join(", ")) };
            format!("{} · {} · {}{compensates}\n", route.topic, route.record, route.after_last.as_str())
        });
        let ignored = self.ignored.iter().map(|((topic, record), why)| format!("{topic} · {record} · ignored: {why}\n"));
        let mut lines: Vec<String> = handled.chain(ignored).collect();
        lines.sort();
        lines.concat()
    }
}

pub(crate) enum Found<'a, W: Work> {
    Route(&'a Route<W>),
    Ignored,
    Unknown,
}
