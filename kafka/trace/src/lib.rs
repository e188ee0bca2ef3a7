//! Traces, as OpenTelemetry has them: contexts that travel as W3C `traceparent`, spans with links, export over OTLP.
//!
//! Spans are made whole, when what they tell of has been committed: a unit of work may be decided several times, and only
//! the try that was committed is told of. So contexts are drawn first and spans are finished later, under the ids that
//! already travel with the messages; the SDK's tracer, which ends a span where it began, is left out, its samplers and
//! its exporting thread are used. Without an endpoint [`on`] is one load and nothing else is done.
#![warn(missing_docs)]

mod context;
mod export;
pub mod names;
mod span;
pub mod web;

pub use context::Context;
pub use export::{Error, Guard, Settings, start};
pub use opentelemetry::trace::SpanKind as Kind;
pub use span::{Span, emit, now};

/// Whether spans are exported. One load; everything else of this crate is to be asked only if so.
#[must_use]
pub fn on() -> bool {
    export::exporter().is_some()
}

/// The context of something that begins now below `parent`; it has an id of its own in its parent's trace. `None` when
/// tracing is off, and where the sampler records nothing that has no recorded parent: then nothing travels either.
#[must_use]
pub fn begin(parent: Option<Context>) -> Option<Context> {
    export::exporter()?.begin(parent)
}

/// The context in the header `traceparent` of a message or request, if tracing is on and the header reads.
#[must_use]
pub fn received(traceparent: Option<&str>) -> Option<Context> {
    if on() { traceparent.and_then(Context::parse) } else { None }
}
