//! The headers of a record, parsed; what is wrong with them is kept beside, for I8.

use uuid::Uuid;

/// Headers every record must have exactly once.
pub(super) const REQUIRED: [&str; 13] = [
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "ce_specversion",
    "content-type",
    "causation-id",
    "correlation-id",
    "stream",
    "src",
    "seq",
    "prev",
];

/// The `src` header: `<service>/<incarnation>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Src {
    /// The service that wrote the record.
    pub service: Box<str>,
    /// Which of its databases.
    pub incarnation: Uuid,
}

impl std::fmt::Display for Src {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.incarnation)
    }
}

/// One record's headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// `ce_id`: the message id.
    pub id: Option<Uuid>,
    /// `ce_type`: full name of the record type.
    pub full_name: Box<str>,
    /// `ce_source`: `/<service>`.
    pub source: Box<str>,
    /// `ce_subject`: the key.
    pub subject: Box<str>,
    /// `causation-id`: the message id of the cause.
    pub cause: Option<Uuid>,
    /// `correlation-id`: the story it belongs to.
    pub correlation: Box<str>,
    /// `stream`.
    pub stream: Box<str>,
    /// `stream-version`; commands have none.
    pub version: Option<i64>,
    /// `src`.
    pub src: Option<Src>,
    /// `seq`: the outbox id.
    pub seq: Option<i64>,
    /// `prev`: the seq of the record before it from this src in this partition.
    pub prev: Option<i64>,
    /// `repeated-because`: why a record that was there before is there again.
    pub repeated_because: Option<Box<str>>,
    /// What is wrong with them, in words.
    pub faults: Vec<String>,
}

impl Headers {
    /// Reads headers as they came, in order; a name that repeats keeps its first value and is a fault.
    pub fn parse<'h>(pairs: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>) -> Self {
        let mut headers = Self::default();
        let mut seen: Vec<&str> = Vec::with_capacity(16);
        for (name, value) in pairs {
            if seen.contains(&name) {
                headers.fault(format!("header {name} is there more than once"));
                continue;
            }
            seen.push(name);
            match value.map(std::str::from_utf8) {
                Some(Ok(text)) => headers.take(name, text),
                Some(Err(_)) => headers.fault(format!("header {name} is not UTF-8")),
                None => headers.fault(format!("header {name} is null")),
            }
        }
        for name in REQUIRED {
            if !seen.contains(&name) {
                headers.fault(format!("header {name} is missing"));
            }
        }
        headers
    }

    fn take(&mut self, name: &str, text: &str) {
        match name {
            "ce_id" => self.id = self.uuid(name, text),
            "ce_type" => self.full_name = text.into(),
            "ce_source" => self.source = text.into(),
            "ce_subject" => self.subject = text.into(),
            "ce_time" => self.expect(name, text, text.contains('T') && text.ends_with('Z'), "an RFC 3339 instant in UTC"),
            "ce_specversion" => self.expect(name, text, text == "1.0", "1.0"),
            "content-type" => self.expect(name, text, text == "application/avro", "application/avro"),
            "causation-id" => self.cause = self.uuid(name, text),
            "correlation-id" => self.correlation = text.into(),
            "stream" => self.stream = text.into(),
            "stream-version" => self.version = self.number(name, text),
            "repeated-because" => self.repeated_because = Some(text.into()),
            "seq" => self.seq = self.number(name, text),
            "prev" => self.prev = self.number(name, text),
            "src" => {
                let parsed = text.split_once('/').and_then(|(service, incarnation)| {
                    Some(Src { service: service.into(), incarnation: Uuid::parse_str(incarnation).ok()? })
                });
                self.expect(name, text, parsed.is_some(), "<service>/<incarnation>");
                self.src = parsed;
            }
            // traceparent and whatever comes later is nobody's proof
            _ => {}
        }
    }

    fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    fn expect(&mut self, name: &str, text: &str, holds: bool, wanted: &str) {
        if !holds {
            self.fault(format!("header {name} is {text:?}, not {wanted}"));
        }
    }

    fn uuid(&mut self, name: &str, text: &str) -> Option<Uuid> {
        let parsed = Uuid::parse_str(text).ok();
        self.expect(name, text, parsed.is_some(), "a UUID");
        parsed
    }

    fn number(&mut self, name: &str, text: &str) -> Option<i64> {
        let parsed = text.parse().ok();
        self.expect(name, text, parsed.is_some(), "a number");
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Vec<(&'static str, Option<&'static [u8]>)> {
        let values: [&[u8]; 13] = [
            b"01890000-0000-7000-8000-000000000001",
            b"orders.OrderPlaced",
            b"/orders",
            b"key",
            b"2026-11-23T06:00:00Z",
            b"1.0",
            b"application/avro",
            b"01890000-0000-7000-8000-000000000002",
            b"key",
            b"order-key",
            b"orders/01890000-0000-7000-8000-000000000003",
            b"8193",
            b"0",
        ];
        REQUIRED.into_iter().zip(values.into_iter().map(Some)).collect()
    }

    #[test]
    fn whole_headers_have_no_fault() {
        let headers = Headers::parse(whole().into_iter().chain([("stream-version", Some(b"1".as_slice()))]));
        assert_eq!(headers.faults, Vec::<String>::new());
        assert_eq!((headers.seq, headers.prev, headers.version), (Some(8193), Some(0), Some(1)));
        assert_eq!(headers.src.unwrap().service.as_ref(), "orders");
    }

    #[test]
    fn a_repeated_name_is_a_fault_even_with_the_same_value() {
        let pairs = whole();
        let again = pairs[0];
        let headers = Headers::parse(pairs.into_iter().chain([again]));
        assert_eq!(headers.faults, ["header ce_id is there more than once"]);
    }

    #[test]
    fn a_missing_name_is_a_fault() {
        let headers = Headers::parse(whole().into_iter().filter(|(name, _)| *name != "prev"));
        assert_eq!(headers.faults, ["header prev is missing"]);
    }

    #[test]
    fn a_value_that_does_not_parse_is_a_fault() {
        let headers = Headers::parse(
            whole().into_iter().map(|(name, value)| if name == "seq" { (name, Some(b"x".as_slice())) } else { (name, value) }),
        );
        assert_eq!(headers.faults, ["header seq is \"x\", not a number"]);
    }
}
