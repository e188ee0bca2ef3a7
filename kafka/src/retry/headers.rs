//! The headers of a retried or dead letter. Replaced, never appended: a letter that fails again carries each once.

use crate::message::HeaderText;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// All of them.
        pub const ALL: &[&str] = &[$($text),*];
    };
}

names! {
    /// The failed message's own id; for foreign and unreadable ones the id derived from their place.
    ORIG_ID = "orig-id";
    /// Its `src`.
    ORIG_SRC = "orig-src";
    /// Its `seq`.
    ORIG_SEQ = "orig-seq";
    /// Its topic.
    ORIG_TOPIC = "orig-topic";
    /// Its topic again, under the name other consoles know.
    X_ORIGINAL_TOPIC = "x-original-topic";
    /// Its partition.
    ORIG_PARTITION = "orig-partition";
    /// Its offset.
    ORIG_OFFSET = "orig-offset";
    /// Its record's timestamp, Unix milliseconds.
    ORIG_TIMESTAMP = "orig-timestamp";
    /// `null` when the record had no value; the letter's is empty then.
    ORIG_VALUE = "orig-value";
    /// Failed tries so far.
    ATTEMPT = "attempt";
    /// Tries in all; `endless` where there is no last one.
    ATTEMPTS_MAX = "attempts-max";
    /// How often it was sent back.
    REDRIVE_NO = "redrive-no";
    /// When it is due, RFC 3339 by the database's clock.
    DUE_AT = "due-at";
    /// When it first failed.
    FIRST_FAILURE_AT = "first-failure-at";
    /// When it last failed.
    LAST_FAILURE_AT = "last-failure-at";
    /// Class of the failure.
    ERROR_CLASS = "error-class";
    /// Its stable code, a page in docs/errors.
    ERROR_CODE = "error-code";
    /// What went wrong. No payload, no secret: failures are written without them.
    ERROR = "error";
    /// What letters that failed alike have in common.
    FINGERPRINT = "fingerprint";
    /// Whether its followers wait (`hold`) or go on (`release`).
    POLICY = "policy";
    /// The effect that was given up, where the letter is an effect's.
    EFFECT_STEP = "effect-step";
}

/// `stored` without the headers named in [`ALL`] and `more`, with `new` behind.
pub(crate) fn replace(stored: &[u8], more: &[&str], new: &[(&str, String)]) -> Vec<u8> {
    let mut text = HeaderText::default();
    for (name, value) in HeaderText::parse(stored).filter(|(name, _)| !ALL.contains(name) && !more.contains(name)) {
        text.push(name, value);
    }
    for (name, value) in new {
        text.push(name, value);
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_failure_replaces_the_headers_of_the_first() {
        let first = replace(b"ce_id: a\nce_type: t\n", &["ce_id"], &[("ce_id", "b".to_owned()), (ATTEMPT, "1".to_owned())]);
        let second = replace(&first, &["ce_id"], &[("ce_id", "c".to_owned()), (ATTEMPT, "2".to_owned())]);
        assert_eq!(String::from_utf8(second).unwrap(), "ce_type: t\nce_id: c\nattempt: 2\n");
    }
}
