//! One outbox row and the headers its record gets.

use std::fmt::Write as _;

use rdkafka::message::{Header, OwnedHeaders};
use uuid::Uuid;

use super::plan::Slot;
use crate::message::{HeaderText, header};

/// Headers of a record: the stored ones (up to 9) and the six below.
const HEADERS: usize = 16;

/// A row of the outbox, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) slot: Slot,
    pub(crate) message_id: Uuid,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) key: Vec<u8>,
    /// UTF-8 lines `name: value`, as the writer stored them.
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// When its transaction began, in microseconds since 1970 by the database's clock.
    pub(crate) created_at_micros: i64,
}

/// Writes headers for one service and incarnation.
#[derive(Debug)]
pub(crate) struct Stamp {
    ce_source: String,
    src: String,
    digits: String,
}

impl Stamp {
    pub(crate) fn new(service: &str, incarnation: Uuid) -> Self {
        Self { ce_source: format!("/{service}"), src: format!("{service}/{incarnation}"), digits: String::new() }
    }

    /// The stored headers, then what only the relay knows. Replaced, never appended: stored headers of the same names
    /// are left out, or a reader could take the wrong one. A stored content type stands: decisions are JSON.
    pub(crate) fn headers(&mut self, row: &Row, prev: i64) -> OwnedHeaders {
        let mut headers = OwnedHeaders::new_with_capacity(HEADERS);
        let mut content_type = Some("application/avro");
        for (name, value) in HeaderText::parse(&row.headers).filter(|(name, _)| !OURS.contains(name)) {
            if name == header::CONTENT_TYPE {
                content_type = None;
            }
            headers = headers.insert(Header { key: name, value: Some(value) });
        }
        if let Some(value) = content_type {
            headers = headers.insert(Header { key: header::CONTENT_TYPE, value: Some(value) });
        }
        for (name, value) in
            [(header::CE_SOURCE, self.ce_source.as_str()), (header::CE_SPECVERSION, "1.0"), (header::SRC, self.src.as_str())]
        {
            headers = headers.insert(Header { key: name, value: Some(value) });
        }
        for (name, number) in [(header::SEQ, row.slot.id), (header::PREV, prev)] {
            self.digits.clear();
            let written = write!(self.digits, "{number}");
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
            headers = headers.insert(Header { key: name, value: Some(self.digits.as_str()) });
        }
        headers
    }
}

impl Stamp {
    /// The headers of a row that was sent before, with the reason why it is sent again.
    pub(crate) fn repeated(&mut self, row: &Row, prev: i64, because: &str) -> OwnedHeaders {
        self.headers(row, prev).insert(Header { key: header::REPEATED_BECAUSE, value: Some(because) })
    }
}

/// Headers that the relay writes itself.
const OURS: [&str; 5] = [header::CE_SOURCE, header::CE_SPECVERSION, header::SRC, header::SEQ, header::PREV];

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;

    use super::*;

    #[test]
    fn stored_headers_come_first_and_cannot_replace_ours() {
        let row = Row {
            slot: Slot { id: 8_193, tx_rows: 1 },
            message_id: Uuid::nil(),
            topic: "orders.events".to_owned(),
            partition: 0,
            key: Vec::new(),
            headers: b"ce_id: 1\nsrc: evil/1\ncorrelation-id: a: b\n".to_vec(),
            payload: Vec::new(),
            created_at_micros: 0,
        };
        let headers = Stamp::new("orders", Uuid::nil()).headers(&row, 7);
        let read: Vec<_> =
            headers.iter().map(|header| (header.key.to_owned(), String::from_utf8(header.value.unwrap().to_vec()).unwrap())).collect();
        let expected = [
            ("ce_id", "1"),
            ("correlation-id", "a: b"),
            ("content-type", "application/avro"),
            ("ce_source", "/orders"),
            ("ce_specversion", "1.0"),
            ("src", "orders/00000000-0000-0000-0000-000000000000"),
            ("seq", "8193"),
            ("prev", "7"),
        ];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
