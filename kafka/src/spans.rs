//! Spans of what one transaction decides, told of when it is committed. Empty, and nothing else, while tracing is off.

use std::time::SystemTime;

use trace::names::{Operation, attribute};
use trace::{Context, Kind, Span};

use crate::failure::Failure;
use crate::message::{Cause, HeaderText, MessageId, header};

/// The spans of a unit of work.
#[derive(Debug)]
pub(crate) struct Spans {
    began: SystemTime,
    told: Vec<Span>,
}

/// Where a record was read.
pub(crate) struct Place<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// The context in which it was created.
    pub(crate) created: Option<Context>,
    /// Failed tries before this one.
    pub(crate) attempt: i32,
}

impl Spans {
    pub(crate) fn begin() -> Self {
        Self { began: if trace::on() { trace::now() } else { SystemTime::UNIX_EPOCH }, told: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.told.len()
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.told.truncate(len);
    }

    /// A message is staged: the context that travels with it.
    pub(crate) fn create(&mut self, topic: &'static str, id: MessageId, cause: &Cause) -> Option<Context> {
        let parent = cause.trace?;
        let context = trace::begin(Some(parent))?;
        if context.is_sampled() {
            let span = Span::messaging(Kind::Producer, Operation::Create, topic, context, Some(parent), self.began)
                .with(attribute::MESSAGE_ID, id.to_string())
                .with(attribute::CONVERSATION, cause.correlation.clone());
            self.told.push(span);
        }
        Some(context)
    }

    /// A record was tried; it failed with `failure`, or was decided.
    pub(crate) fn process(&mut self, meta: &crate::route::Meta, place: &Place<'_>, failure: Option<&Failure>) {
        let Some(context) = meta.trace.filter(Context::is_sampled) else { return };
        let mut span = Span::messaging(Kind::Consumer, Operation::Process, place.topic, context, place.created, self.began)
            .with(attribute::PARTITION, place.partition.to_string())
            .with(attribute::OFFSET, place.offset)
            .with(attribute::KEY, meta.key.clone())
            .with(attribute::GROUP, place.group.to_owned())
            .with(attribute::MESSAGE_ID, meta.id.to_string())
            .with(attribute::CONVERSATION, meta.correlation.clone());
        if place.attempt > 0 {
            span = span.with(attribute::ATTEMPT, i64::from(place.attempt));
        }
        if let Some(created) = place.created {
            span = span.linked(created);
        }
        self.told.push(match failure {
            Some(failure) => span.failed(failure.code),
            None => span,
        });
    }

    /// A saga's deadline ran out: the context of what is decided because of it.
    pub(crate) fn deadline(&mut self, saga: &str, step: &str, armed: Option<Context>) -> Option<Context> {
        let context = trace::begin(armed)?;
        if context.is_sampled() {
            let span = Span::new(Kind::Internal, format!("deadline {step}"), context, armed, self.began)
                .with(attribute::STEP, step.to_owned())
                .with(attribute::CONVERSATION, saga.to_owned());
            self.told.push(span);
        }
        Some(context)
    }

    /// The transaction is committed.
    pub(crate) fn tell(&mut self) {
        if !self.told.is_empty() {
            trace::emit(std::mem::take(&mut self.told));
        }
    }
}

/// The context in which a message was created, by its stored headers.
pub(crate) fn created(headers: &[u8]) -> Option<Context> {
    if !trace::on() {
        return None;
    }
    trace::received(HeaderText::parse(headers).find(|(name, _)| *name == header::TRACEPARENT).map(|(_, value)| value))
}

/// The contexts of creation of messages sent together on one topic, as one span each topic.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    topics: Vec<(String, i64, Vec<Context>)>,
}

impl Sent {
    /// One more message of the batch.
    pub(crate) fn add(&mut self, topic: &str, headers: &[u8]) {
        if !trace::on() {
            return;
        }
        let index = self.topics.iter().position(|(known, ..)| known == topic).unwrap_or_else(|| {
            self.topics.push((topic.to_owned(), 0, Vec::new()));
            self.topics.len().saturating_sub(1)
        });
        if let Some((_, count, contexts)) = self.topics.get_mut(index) {
            *count = count.saturating_add(1);
            contexts.extend(created(headers).filter(Context::is_sampled));
        }
    }

    /// The batch was sent and committed. A span of several messages belongs to no single one's trace: links lead to them.
    pub(crate) fn tell(self, began: SystemTime) {
        let spans = self.topics.into_iter().filter_map(|(topic, count, contexts)| {
            let parent = if let [one] = contexts.as_slice() { Some(*one) } else { None };
            let context = trace::begin(parent.or(contexts.first().copied()))?;
            let context = if parent.is_some() { context } else { context.in_a_trace_of_its_own() };
            let span = Span::messaging(Kind::Client, Operation::Send, &topic, context, parent, began).with(attribute::BATCH_COUNT, count);
            (!contexts.is_empty()).then(|| contexts.into_iter().fold(span, Span::linked))
        });
        trace::emit(spans);
    }
}
