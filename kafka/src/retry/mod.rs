//! Failed messages: they wait outside the main stream without letting later messages of their key overtake them, and end
//! as dead letters that can be sent back.
//!
//! A key is parked in the service's database, in the transaction that moves its partition's progress; the retry topic is
//! the durable timer. What is decided about a dead letter is decided by the functions of [`decide`].

mod decide;
pub(crate) mod effects;
pub mod headers;
mod letter;
pub mod look;
pub(crate) mod post;
pub(crate) mod store;
mod tiers;

pub use decide::{Decided, Decision, Error, Operator, TARGETS_MAX, Target, abandon, edit, redrive, skip};
pub(crate) use letter::COLUMNS;
pub use letter::{Filter, Group, Letter, State, groups, list, show};
pub use tiers::{Invalid, Tiers, decisions_topic, dlq_topic, tier_name, topic_names};
pub(crate) use tiers::{is_timer, retry_topics};

/// What becomes of a message's followers after its last attempt.
pub use crate::route::AfterLast as Policy;

/// Whose failures, and how often and when they are tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The consumer group; its name begins the names of its retry and dead-letter topics.
    pub group: String,
    /// Its tiers.
    pub tiers: Tiers,
}

/// Begins the `topic` of a letter that is an effect and not a record: `effect/<step>`. Its key is the effect's stream.
pub const EFFECT_TOPIC: &str = "effect/";

/// What letters that failed alike have in common: the failing handler and the code, without anything of one message.
pub(crate) fn fingerprint(topic: &str, record: Option<&str>, failure: &crate::failure::Failure) -> String {
    let text = format!("{topic}\n{}\n{}\n{}", record.unwrap_or_default(), failure.class.as_str(), failure.code);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hex::encode(digest.as_ref().get(..8).unwrap_or_default())
}

/// Largest failed message that is kept as it came: Kafka's default for a record is 1 MiB, an operator may have raised it.
pub(crate) const LETTER_BYTES_MAX: usize = 16 * 1024 * 1024;
