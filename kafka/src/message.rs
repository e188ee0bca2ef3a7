//! Message identity and the headers of a record.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The namespace of every derived id, so that ours never meet another system's version 5 ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_2a52_7f0d_4c55_9a7e_21c8_0b5d_e3a4);

/// The id of a message (`ce_id`), derived so that deciding the same thing twice gives the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// The `index`-th message (from 0) that handling `cause` produced; `step` tells apart an effect's result from the
    /// decision that asked for the effect.
    #[must_use]
    pub fn derived(cause: Self, step: Option<&str>, index: u32) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("{cause}/{}/{index}", step.unwrap_or_default()).as_bytes()))
    }

    /// The command of one step of one saga: the same however often it is sent.
    #[must_use]
    pub fn of_step(saga: &str, step: &str) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("{saga}#{step}").as_bytes()))
    }

    /// A cause from outside the log, such as an HTTP request's scope and idempotency key.
    #[must_use]
    pub fn external(scope: &str, key: &str) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("{scope}\n{key}").as_bytes()))
    }

    /// A record that is foreign or cannot be read: it has its place and no id of its own.
    #[must_use]
    pub fn of_place(topic: &str, partition: i32, offset: i64) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("{topic}/{partition}/{offset}").as_bytes()))
    }

    /// The key under which an outside party sees the effect of `step`; equal to the step's command id.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for MessageId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What made us act, and the story it belongs to. Copied into the headers of everything written because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `causation-id` of what is written.
    pub id: MessageId,
    /// `correlation-id`: the order, SKU or other subject the story is about.
    pub correlation: String,
    /// The effect step whose result is being recorded, if any: part of derived ids.
    pub step: Option<&'static str>,
    /// Where in which trace it is, when tracing is on: written into the headers of everything it causes.
    pub trace: Option<trace::Context>,
}

impl Cause {
    /// A cause that is not an effect's result.
    #[must_use]
    pub fn new(id: MessageId, correlation: impl Into<String>) -> Self {
        Self { id, correlation: correlation.into(), step: None, trace: None }
    }

    /// The same, in a trace.
    #[must_use]
    pub fn traced(self, trace: Option<trace::Context>) -> Self {
        Self { trace, ..self }
    }
}

/// Header names, one set everywhere. Source: `CloudEvents` Kafka protocol binding 1.0.2 (binary mode) and docs/guarantees.
pub mod header {
    #![allow(missing_docs, reason = "each constant is the header of that name")]
    pub const CE_ID: &str = "ce_id";
    pub const CE_TYPE: &str = "ce_type";
    pub const CE_SOURCE: &str = "ce_source";
    pub const CE_SUBJECT: &str = "ce_subject";
    pub const CE_TIME: &str = "ce_time";
    pub const CE_SPECVERSION: &str = "ce_specversion";
    pub const CONTENT_TYPE: &str = "content-type";
    pub const CAUSATION_ID: &str = "causation-id";
    pub const CORRELATION_ID: &str = "correlation-id";
    pub const STREAM: &str = "stream";
    pub const STREAM_VERSION: &str = "stream-version";
    pub const SRC: &str = "src";
    pub const SEQ: &str = "seq";
    /// W3C Trace Context, of the span in which the message was created.
    pub const TRACEPARENT: &str = "traceparent";
    pub const PREV: &str = "prev";
    /// Why a record with the `seq` of an earlier one is there again; readers drop it by its `seq` as any repeat.
    pub const REPEATED_BECAUSE: &str = "repeated-because";
}

/// Headers as the outbox stores them: UTF-8 lines `name: value`, each ended by a line feed. Readable in `psql`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderText(String);

impl HeaderText {
    /// Adds a header. Control characters in `value` become spaces, so that no value can forge a second header.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.push_str(name);
        self.0.push_str(": ");
        self.0.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.0.push('\n');
    }

    /// Adds a header as it came from Kafka. What is no plain text is kept as hexadecimal digits under `<name>;hex`.
    pub(crate) fn push_raw(&mut self, name: &str, value: Option<&[u8]>) {
        let value = value.unwrap_or_default();
        match std::str::from_utf8(value) {
            Ok(text) if !value.iter().any(u8::is_ascii_control) && !name.contains([':', '\n']) => {
                self.0.push_str(name);
                self.0.push_str(": ");
                self.0.push_str(text);
                self.0.push('\n');
            }
            _ => {
                let name: String = name.chars().filter(|c| !c.is_control() && *c != ':').collect();
                self.push(&format!("{name};hex"), &hex::encode(value));
            }
        }
    }

    /// The stored bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }

    /// Reads stored bytes back, in order. A line without `: ` is skipped: only [`HeaderText::push`] writes them.
    pub fn parse(bytes: &[u8]) -> impl Iterator<Item = (&str, &str)> {
        std::str::from_utf8(bytes).unwrap_or_default().lines().filter_map(|line| line.split_once(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_cannot_be_forged() {
        let mut text = HeaderText::default();
        text.push("ce_id", "1");
        text.push("correlation-id", "a\nsrc: evil/1");
        let bytes = text.into_bytes();
        let read: Vec<_> = HeaderText::parse(&bytes).collect();
        assert_eq!(read, [("ce_id", "1"), ("correlation-id", "a src: evil/1")]);
    }

    #[test]
    fn headers_that_are_no_text_are_kept_as_digits() {
        let mut text = HeaderText::default();
        text.push_raw("src", Some(b"orders/1"));
        text.push_raw("odd\nname", Some(b"\xff\n"));
        text.push_raw("none", None);
        assert_eq!(text.into_bytes(), b"src: orders/1\noddname;hex: ff0a\nnone: \n");
    }

    #[test]
    fn deciding_twice_gives_the_same_ids() {
        let cause = MessageId::external("c:POST /v1/orders", "k");
        assert_eq!(MessageId::derived(cause, None, 0), MessageId::derived(cause, None, 0));
        assert_ne!(MessageId::derived(cause, None, 0), MessageId::derived(cause, None, 1));
        assert_ne!(MessageId::derived(cause, Some("authorize"), 0), MessageId::derived(cause, None, 0));
    }
}
