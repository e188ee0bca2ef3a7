//! A span that is told of when it is over.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{Link, SpanId, SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::context::Context;
use crate::export;
use crate::names::{KAFKA, Operation, attribute};

/// The instant, for spans.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a span's instants are compared with other machines' and decide nothing")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// A finished or unfinished span under an id that was drawn before. Nothing is exported until [`emit`].
#[derive(Debug, Clone)]
pub struct Span {
    data: SpanData,
}

impl Span {
    /// A span of `context`, below `parent`, that began at `began`. `remote` tells that the parent is another process's.
    #[must_use]
    pub fn new(kind: SpanKind, name: impl Into<Cow<'static, str>>, context: Context, parent: Option<Context>, began: SystemTime) -> Self {
        let remote = matches!(kind, SpanKind::Server | SpanKind::Consumer);
        let data = SpanData {
            span_context: context.otel(false),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| parent.span),
            parent_span_is_remote: parent.is_some() && remote,
            span_kind: kind,
            name: name.into(),
            start_time: began,
            end_time: began,
            attributes: Vec::with_capacity(10),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: export::scope(),
        };
        Self { data }
    }

    /// The span of a messaging operation on a topic.
    #[must_use]
    pub fn messaging(
        kind: SpanKind,
        operation: Operation,
        topic: &str,
        context: Context,
        parent: Option<Context>,
        began: SystemTime,
    ) -> Self {
        Self::new(kind, format!("{} {topic}", operation.as_str()), context, parent, began)
            .with(attribute::SYSTEM, KAFKA)
            .with(attribute::SYSTEM_NAME, KAFKA)
            .with(attribute::OPERATION_NAME, operation.as_str())
            .with(attribute::OPERATION_TYPE, operation.as_str())
            .with(attribute::DESTINATION, topic.to_owned())
    }

    /// The same, with an attribute of [`attribute`].
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.data.attributes.push(KeyValue::new(name, value));
        self
    }

    /// The same, linked to another span.
    #[must_use]
    pub fn linked(mut self, to: Context) -> Self {
        self.data.links.links.push(Link::with_context(to.otel(true)));
        self
    }

    /// The same, failed with a code of `docs/errors`.
    #[must_use]
    pub fn failed(mut self, code: &'static str) -> Self {
        self.data.status = Status::error(code);
        self.with(attribute::ERROR_TYPE, code)
    }
}

/// Ends the spans now and hands those that are recorded to the exporting thread. Never waits; what its queue cannot take is lost.
pub fn emit(spans: impl IntoIterator<Item = Span>) {
    let Some(exporter) = export::exporter() else { return };
    let now = now();
    for mut span in spans {
        if span.data.span_context.is_sampled() {
            span.data.end_time = now.max(span.data.start_time);
            exporter.take(span.data);
        }
    }
}
