//! Where in which trace something is: what travels.

use std::fmt;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};

/// One span's place: its trace, its own id, and whether it is recorded. Written as the header `traceparent`.
///
/// Vendors' `tracestate` is not passed on, which the recommendation allows.
/// Source: W3C Trace Context, level 1, sections 3.2 and 3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) sampled: bool,
}

impl Context {
    /// Reads a `traceparent`. `None` for anything that is none, ids of zeros included. A later version than 00 may have
    /// more behind the flags.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let more = parts.next().is_some();
        let hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !hex(version, 2) || version == "ff" || (version == "00" && more) || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
            return None;
        }
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (trace != TraceId::INVALID && span != SpanId::INVALID).then_some(Self { trace, span, sampled })
    }

    /// The trace's id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    /// Whether its spans are recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The same span as the first of another trace: of something that belongs to several stories and links to them.
    #[must_use]
    pub fn in_a_trace_of_its_own(self) -> Self {
        Self { trace: RandomIdGenerator::default().new_trace_id(), ..self }
    }

    pub(crate) fn otel(self, remote: bool) -> SpanContext {
        let flags = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        SpanContext::new(self.trace, self.span, flags, remote, TraceState::default())
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_was_written_is_read() {
        let context = Context::parse(GOOD).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.to_string(), GOOD);
        let unsampled = GOOD.replace("-01", "-00");
        assert_eq!(Context::parse(&unsampled).unwrap().to_string(), unsampled);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        assert!(Context::parse(&format!("{}-more", GOOD.replacen("00", "cc", 1))).is_some());
        assert!(Context::parse(&format!("{GOOD}-more")).is_none());
    }

    #[test]
    fn what_is_none_is_passed_over() {
        let bad = [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\u{e9}",
        ];
        for text in bad {
            assert_eq!(Context::parse(text), None, "{text}");
        }
    }
}
