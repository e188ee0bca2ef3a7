//! One message ready to be decided, whether it comes from its topic or from where it was parked, and what a try of it gives.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::codec::Codec;
use crate::failure::{Class, Failure};
use crate::harm::{self, Blow};
use crate::message::{Cause, HeaderText, header};
use crate::retry::{Policy, Tiers};
use crate::route::{Body, Found, Meta, Route, Routes};
use crate::unit::{Unit, Work};

/// A larger value is not decoded. Source: Kafka's default for `max.message.bytes`, which our own records never reach.
const VALUE_BYTES_MAX: usize = 1_048_588;

/// A message with the handler that decides it.
pub(super) struct Item<'a, W: Work> {
    /// The handler; of a message that cannot be read, the one its `ce_type` names, if any.
    pub(super) route: Option<&'a Route<W>>,
    pub(super) meta: Meta,
    /// Its decoded value, or why it has none.
    pub(super) body: Result<Body, Failure>,
    /// The context in which the message was created.
    pub(super) created: Option<trace::Context>,
}

/// What reading a message's bytes gave.
pub(super) enum Read<'a, W: Work> {
    /// It is decided, or fails for good.
    Item(Option<&'a Route<W>>, Result<Body, Failure>),
    /// Its type is passed over on purpose.
    Ignored,
    /// The registry does not say what it is.
    Hold(Failure),
}

/// Decodes and routes. `identified` tells whether it has an id of its own.
pub(super) async fn read<'a, W: Work>(
    codec: &Codec,
    routes: &'a Routes<W>,
    topic: &str,
    (identified, headers, value): (bool, &[u8], Option<&[u8]>),
) -> Read<'a, W> {
    match decode(codec, routes, topic, identified, value).await {
        Ok(Some((route, body))) => Read::Item(Some(route), Ok(body)),
        Ok(None) => Read::Ignored,
        Err((_, failure)) if failure.class == Class::Infrastructure => Read::Hold(failure),
        Err((route, failure)) => Read::Item(route.or_else(|| named(routes, topic, headers)), Err(failure)),
    }
}

type Unread<'a, W> = (Option<&'a Route<W>>, Failure);

async fn decode<'a, W: Work>(
    codec: &Codec,
    routes: &'a Routes<W>,
    topic: &str,
    identified: bool,
    value: Option<&[u8]>,
) -> Result<Option<(&'a Route<W>, Body)>, Unread<'a, W>> {
    if let Some(bytes) = value.map(<[u8]>::len).filter(|bytes| *bytes > VALUE_BYTES_MAX) {
        return Err((None, Failure::permanent("oversize", format!("the value has {bytes} bytes, {VALUE_BYTES_MAX} are the most"))));
    }
    let (schema, datum) = Codec::split(value).map_err(|failure| (None, failure))?;
    let name = codec.full_name(schema).await.map_err(|failure| (None, failure))?;
    let route = match routes.find(topic, &name) {
        Found::Route(route) => route,
        Found::Ignored => return Ok(None),
        Found::Unknown => return Err((None, Failure::permanent("wrong_record_type", format!("no route for {name} on {topic}")))),
    };
    if !identified {
        return Err((Some(route), Failure::permanent("header_missing", "the record has no ce_id")));
    }
    let body = (route.decode)(codec, schema, &datum).map_err(|failure| (Some(route), failure))?;
    Ok(Some((route, body)))
}

/// The route that the headers of an unreadable message name: it says what becomes of its followers.
fn named<'a, W: Work>(routes: &'a Routes<W>, topic: &str, headers: &[u8]) -> Option<&'a Route<W>> {
    let (_, record) = HeaderText::parse(headers).find(|(name, _)| *name == header::CE_TYPE)?;
    match routes.find(topic, record) {
        Found::Route(route) => Some(route),
        Found::Ignored | Found::Unknown => None,
    }
}

/// How a try ended.
#[derive(Debug)]
pub(super) enum Tried {
    /// Decided.
    Handled,
    /// Failed; the unit is as it was before.
    Failed(Failure),
    /// Our own infrastructure failed: nothing is to be concluded about the message.
    Hold(Failure),
    /// Failed, and the unit holds half of a decision: it must be thrown away.
    Torn(Failure),
}

impl<W: Work> Item<'_, W> {
    /// The name under which its failures are counted: its handler's, or the topic's when no handler is known. A topic's are
    /// counted among all its messages, a handler's among its own.
    pub(super) fn handler<'b>(&'b self, topic: &'b str) -> &'b str {
        self.route.map_or(topic, |route| route.record)
    }

    /// Whether it undoes steps, and so passes what is parked.
    pub(super) fn compensates(&self) -> &'static [&'static str] {
        self.route.map_or(&[], |route| route.compensates)
    }

    /// Decides it in `unit`. A panic is an outcome of its message.
    pub(super) fn decide(&self, unit: &mut Unit<W>) -> Tried {
        let (route, body) = match (self.route, &self.body) {
            (Some(route), Ok(body)) => (route, body),
            (_, Err(failure)) => return Tried::Failed(failure.clone()),
            (None, Ok(_)) => return Tried::Failed(Failure::permanent("wrong_record_type", "the message has no handler")),
        };
        if let Some(blow) = harm::blow(route.record, &self.meta.key) {
            return match blow {
                Blow::Transient => Tried::Failed(Failure::transient("harmed", "it fails on purpose")),
                Blow::Permanent => Tried::Failed(Failure::permanent("harmed", "it fails on purpose, for good")),
                Blow::Panic => Tried::Torn(Failure::permanent("handler_panicked", format!("the handler of {} panicked", route.record))),
            };
        }
        unit.begin_message();
        unit.because(self.meta.cause());
        match catch_unwind(AssertUnwindSafe(|| (route.handle)(unit, &self.meta, body.as_ref()))) {
            Ok(Ok(())) => Tried::Handled,
            Ok(Err(failure)) if failure.class == Class::Infrastructure => Tried::Hold(failure),
            Ok(Err(failure)) if unit.take_back() => Tried::Failed(failure),
            Ok(Err(failure)) => Tried::Torn(failure),
            Err(_panic) => Tried::Torn(Failure::permanent("handler_panicked", format!("the handler of {} panicked", route.record))),
        }
    }

    /// Writes what giving it up means for its saga. `false`: the unit must be thrown away, and this not be tried again.
    pub(super) fn give_up(&self, unit: &mut Unit<W>, failure: &Failure) -> bool {
        let (Some(route), Ok(body)) = (self.route, &self.body) else { return true };
        let Some(tell) = &route.give_up else { return true };
        unit.begin_message();
        // Other ids than the handler's own, which may still write them after a redrive.
        unit.because(Cause { step: Some("given up"), ..self.meta.cause() });
        let told = catch_unwind(AssertUnwindSafe(|| tell(unit, &self.meta, body.as_ref(), failure)));
        match told {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(message.id = %self.meta.id, code = error.code, error = %error, "a saga cannot be told that its step failed");
                unit.take_back()
            }
            Err(_panic) => false,
        }
    }
}

/// What becomes of a message after a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Tried again after this.
    Again(Duration),
    /// Given up.
    Dead,
}

/// The fate after failed try number `attempt` (from 1).
pub(super) fn fate<W: Work>(tiers: &Tiers, route: Option<&Route<W>>, attempt: i32, class: Class) -> Fate {
    match class {
        Class::Permanent | Class::Foreign => Fate::Dead,
        Class::Transient | Class::Infrastructure => {
            tiers.after(attempt, route.is_some_and(|route| route.endless)).map_or(Fate::Dead, Fate::Again)
        }
    }
}

/// What becomes of its followers. A message whose handler is not known may bear state.
pub(super) fn policy<W: Work>(route: Option<&Route<W>>, class: Class) -> Policy {
    match class {
        Class::Foreign => Policy::Release,
        Class::Permanent | Class::Transient | Class::Infrastructure => route.map_or(Policy::Hold, |route| route.after_last),
    }
}
