//! A record of a retry topic: when which parked message is due. It carries the message too, for people and for a rebuild;
//! the parked row is what is tried.

use super::source::Fetched;
use crate::message::HeaderText;
use crate::retry::headers as name;
use crate::unit::Micros;

/// What a retry record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timer {
    /// Its own offset and hash, to move its partition's progress.
    pub(super) offset: i64,
    pub(super) hash: i64,
    /// What it wakes; `None` when its headers are not a timer's: it is passed over.
    pub(super) wakes: Option<Wakes>,
}

/// A parked message as it was when the timer was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wakes {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) redrive_no: i32,
    pub(super) attempt: i32,
    pub(super) due_at: Micros,
}

impl Timer {
    pub(super) fn read(record: &Fetched) -> Self {
        let wakes = wakes(&record.headers);
        if wakes.is_none() {
            tracing::warn!(partition = %record.at, offset = record.offset, "a record on a retry topic is no timer and is passed over");
        }
        Self { offset: record.offset, hash: record.hash, wakes }
    }

    /// When it is to be looked at; at once if it wakes nothing.
    pub(super) fn due_at(&self) -> Micros {
        self.wakes.as_ref().map_or(Micros::MIN, |wakes| wakes.due_at)
    }
}

fn wakes(headers: &[u8]) -> Option<Wakes> {
    let text = |wanted: &str| HeaderText::parse(headers).find(|(name, _)| *name == wanted).map(|(_, value)| value);
    Some(Wakes {
        topic: text(name::ORIG_TOPIC)?.to_owned(),
        partition: text(name::ORIG_PARTITION)?.parse().ok()?,
        offset: text(name::ORIG_OFFSET)?.parse().ok()?,
        redrive_no: text(name::REDRIVE_NO)?.parse().ok()?,
        attempt: text(name::ATTEMPT)?.parse().ok()?,
        due_at: text(name::DUE_AT)?.parse::<jiff::Timestamp>().ok()?.as_microsecond(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::rfc3339;

    #[test]
    fn a_timer_is_read_from_its_headers_and_nothing_else_is_one() {
        let due_at = 1_790_000_000_123_456;
        let text = format!(
            "ce_id: x\norig-topic: orders.events\norig-partition: 2\norig-offset: 77\nattempt: 1\nredrive-no: 0\ndue-at: {}\n",
            rfc3339(due_at)
        );
        let read = wakes(text.as_bytes()).unwrap();
        assert_eq!(read, Wakes { topic: "orders.events".to_owned(), partition: 2, offset: 77, redrive_no: 0, attempt: 1, due_at });
        assert_eq!(wakes(text.replace("attempt: 1", "attempt: x").as_bytes()), None);
        assert_eq!(wakes(b""), None);
    }
}
