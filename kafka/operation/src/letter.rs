use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A record's key as text; one that is no UTF-8 as `0x` and hexadecimal digits.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub String);

impl Key {
    /// The key's text.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with("0x") => Self(text.to_owned()),
            _ => Self(bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))),
        }
    }

    /// The key's bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let digits = self.0.strip_prefix("0x").map(str::as_bytes);
        let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        digits
            .filter(|digits| digits.len().is_multiple_of(2))
            .and_then(|digits| digits.chunks(2).map(byte).collect())
            .unwrap_or_else(|| self.0.clone().into_bytes())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which letters; what is not given does not matter. Also the query of lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Topic they came from; `effect/<step>` for a call to the outside that was given up.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub topic: Option<String>,
    /// Record type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record: Option<String>,
    /// Class of the last failure.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<String>,
    /// Code of the last failure.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// What they have in common.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fingerprint: Option<String>,
    /// Key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<Key>,
    /// The message's own id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message_id: Option<String>,
    /// The story they belong to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub correlation: Option<String>,
    /// Only those that failed last before this instant. A redrive that goes on after a break keeps its first instant, so that
    /// what died again meanwhile is not sent back a second time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<Timestamp>,
}

/// Dead letters of one consumer group by what they have in common, the largest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// The consumer group.
    pub group: String,
    /// Now, by the database's clock: the `before` of a redrive of what is listed here.
    pub now: Timestamp,
    /// The groups, 200 at most.
    pub data: Vec<Group>,
}

/// Dead letters that failed alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Topic they came from.
    pub topic: String,
    /// Record type, when it is known.
    pub record: Option<String>,
    /// Class of the failure.
    pub class: String,
    /// Its code, a page in docs/errors.
    pub code: String,
    /// What they have in common.
    pub fingerprint: String,
    /// What the newest of them said.
    pub error: String,
    /// How many letters.
    pub letters: u64,
    /// How many different keys.
    pub keys: u64,
    /// Messages that wait behind them.
    pub waiting: u64,
    /// When the oldest failed last.
    pub oldest_at: Timestamp,
    /// When the newest did.
    pub newest_at: Timestamp,
}

/// A page of letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letters {
    /// The consumer group.
    pub group: String,
    /// Now, by the database's clock.
    pub now: Timestamp,
    /// The letters, in the order in which they left the main stream.
    pub data: Vec<Letter>,
    /// `after` of the next page.
    pub next: Option<i64>,
}

/// A message that left the main stream and is not handled yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Its number in its group.
    pub id: i64,
    /// Where it came from.
    pub topic: String,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key.
    pub key: Key,
    /// Its own id; derived from its place when it is foreign or cannot be read.
    pub message_id: String,
    /// Record type, when it is known.
    pub record: Option<String>,
    /// The saga step it performs, if any.
    pub step: Option<String>,
    /// The story it belongs to.
    pub correlation: String,
    /// `head`: is tried again when it is due. `follower`: waits for the messages of its key before it. `dead`: waits for a person.
    pub state: String,
    /// `hold`: its key's later messages wait for it. `release`: they went on.
    pub policy: String,
    /// Failed tries since it was parked or last sent back.
    pub attempt: i32,
    /// How often it was sent back. A decision names it, so that the same decision twice acts once.
    pub redrive_no: i32,
    /// When it is tried again.
    pub due_at: Option<Timestamp>,
    /// When it first failed.
    pub first_failure_at: Option<Timestamp>,
    /// When it last failed.
    pub last_failure_at: Option<Timestamp>,
    /// Class of its last failure.
    pub class: Option<String>,
    /// Its code.
    pub code: Option<String>,
    /// What it said, the whole chain.
    pub error: Option<String>,
    /// What it has in common with others that failed alike.
    pub fingerprint: Option<String>,
}

/// One letter, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterDetail {
    /// The consumer group.
    pub group: String,
    /// The letter.
    #[serde(flatten)]
    pub letter: Letter,
    /// Messages of its key that wait behind it.
    pub waiting: u64,
    /// Its original headers, in order.
    pub headers: Vec<Header>,
    /// Its bytes.
    pub body: Body,
    /// What was decided about it so far, oldest first.
    pub decisions: Vec<Decision>,
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A message's bytes as a person can read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body {
    /// The record had no value.
    Null,
    /// Decoded with the schema it was written with.
    Decoded {
        /// The writer schema's id in the registry.
        schema_id: u32,
        /// Its full name.
        record: String,
        /// The value. Byte strings are lower-case hexadecimal digits.
        json: Value,
    },
    /// A request to the outside, JSON as it is stored.
    Request {
        /// The request.
        json: Value,
    },
    /// Not decodable: the bytes, and why.
    Undecodable {
        /// All bytes, or the first 4,096.
        hex: String,
        /// How many bytes there are.
        bytes: u64,
        /// Why they cannot be decoded.
        reason: String,
    },
}

/// What somebody decided about a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// How often the letter had been sent back then.
    pub redrive_no: i32,
    /// `redriven`, `edited`, `skipped` or `abandoned`.
    pub decision: String,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// A letter as its reader saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its number.
    pub id: i64,
    /// How often it had been sent back then.
    pub redrive_no: i32,
}

/// A decision about letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// Who decides.
    pub who: String,
    /// Why.
    pub why: String,
    /// The letters, [`crate::DECIDE_MAX`] at most.
    pub letters: Vec<Target>,
    /// Do it; otherwise say what would be done.
    #[serde(default)]
    pub execute: bool,
}

/// What became of the letters of a decision, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Whether anything was done, or this is the plan.
    pub executed: bool,
    /// One a letter.
    pub results: Vec<Outcome>,
}

/// What became of one letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its number.
    pub id: i64,
    /// `done`: decided now, or would be. `gone`: handled, undone or skipped before. `changed`: somebody decided about it
    /// since it was read. `not_dead`: it is being tried. `only_skip`: it cannot be sent back.
    pub outcome: String,
}

/// A letter to be sent back with another body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Who decides.
    pub who: String,
    /// Why.
    pub why: String,
    /// How often it had been sent back when it was read.
    pub redrive_no: i32,
    /// The whole new body, in the shape of [`Body::Decoded`].
    pub body: Value,
    /// Full name of the record type, when the original bytes do not tell: its newest own schema is used then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record: Option<String>,
    /// Do it; otherwise only validate.
    #[serde(default)]
    pub execute: bool,
}

/// What an edit did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// Whether it was sent, or only validated.
    pub executed: bool,
    /// As [`Outcome::outcome`].
    pub outcome: String,
    /// The body before; null when it could not be decoded.
    pub before: Value,
    /// The body as it is sent.
    pub after: Value,
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn keys_survive_their_text() {
        for bytes in [b"order-1".as_slice(), b"", b"0xfe", b"0x", &[0xff, 0, 1], "\u{fc}".as_bytes()] {
            let key = Key::of(bytes);
            assert_eq!(key.bytes(), bytes, "{key}");
        }
        assert_eq!(Key("0xzz".to_owned()).bytes(), b"0xzz", "a text that only looks like digits");
    }
}
