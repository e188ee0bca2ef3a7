//! What leaves through the outbox about a parked message: its timer, its dead letter, the decision about it.

use super::headers as name;
use super::letter::Letter;
use super::store::Post;
use super::tiers::{decisions_topic, dlq_topic, retry_topic};
use super::{Decision, Operator, Settings};
use crate::failure::Failure;
use crate::message::{HeaderText, MessageId, header};
use crate::topics::Partitions;
use crate::unit::{Micros, rfc3339};

/// What is said of a message besides itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Say {
    pub(crate) attempt: i32,
    pub(crate) redrive_no: i32,
    pub(crate) timer_no: i32,
    pub(crate) endless: bool,
    pub(crate) due_at: Option<Micros>,
}

/// Writes posts for one consumer group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) partitions: &'a Partitions,
}

impl Writer<'_> {
    /// The timer of a head: a record on the tier's topic, with the message's own bytes.
    pub(crate) fn timer(&self, letter: &Letter, delay: std::time::Duration, say: Say) -> Result<Post, Failure> {
        self.letter(letter, retry_topic(&self.settings.group, delay), "timer", say)
    }

    /// The dead letter.
    pub(crate) fn dead(&self, letter: &Letter, say: Say) -> Result<Post, Failure> {
        self.letter(letter, dlq_topic(&self.settings.group), "dead", say)
    }

    fn letter(&self, letter: &Letter, topic: String, kind: &str, say: Say) -> Result<Post, Failure> {
        let place = format!("{}/{}/{}", letter.topic, letter.partition, letter.offset);
        let id = MessageId::external(
            &format!("{} {kind}", self.settings.group),
            &format!("{place}/{}/{}/{}", say.redrive_no, say.attempt, say.timer_no),
        );
        let original = |wanted: &str| letter.header_pairs().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned());
        let attempts_max = if say.endless { "endless".to_owned() } else { self.settings.tiers.attempts_max().to_string() };
        let mut new = vec![
            (header::CE_ID, id.to_string()),
            (name::ORIG_ID, letter.message_id.to_string()),
            (name::ORIG_TOPIC, letter.topic.clone()),
            (name::X_ORIGINAL_TOPIC, letter.topic.clone()),
            (name::ORIG_PARTITION, letter.partition.to_string()),
            (name::ORIG_OFFSET, letter.offset.to_string()),
            (name::ORIG_TIMESTAMP, letter.recorded_at_ms.to_string()),
            (name::ATTEMPT, say.attempt.to_string()),
            (name::ATTEMPTS_MAX, attempts_max),
            (name::REDRIVE_NO, say.redrive_no.to_string()),
            (name::POLICY, letter.policy.as_str().to_owned()),
        ];
        let optional = [
            (name::ORIG_SRC, original(header::SRC)),
            (name::ORIG_SEQ, original(header::SEQ)),
            (name::ORIG_VALUE, letter.value.is_none().then(|| "null".to_owned())),
            (name::DUE_AT, say.due_at.map(rfc3339)),
            (name::FIRST_FAILURE_AT, letter.first_failure_at.map(rfc3339)),
            (name::LAST_FAILURE_AT, letter.last_failure_at.map(rfc3339)),
            (name::ERROR_CLASS, letter.class.clone()),
            (name::ERROR_CODE, letter.code.clone()),
            (name::ERROR, letter.error.clone()),
            (name::FINGERPRINT, letter.fingerprint.clone()),
        ];
        new.extend(optional.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        let partitions = self.partitions.of(&topic)?.max(1);
        Ok(Post {
            id: id.uuid(),
            partition: letter.partition.rem_euclid(partitions),
            topic,
            key: letter.key.clone(),
            headers: name::replace(&letter.headers, &[header::CE_ID], &new),
            payload: letter.value.clone().unwrap_or_default(),
        })
    }

    /// The record of an operator's decision about a letter.
    pub(crate) fn decision(&self, letter: &Letter, decision: &Decision, by: &Operator, now: Micros) -> Result<Post, Failure> {
        let topic = decisions_topic(&self.settings.group);
        let place = format!("{}/{}/{}/{}", letter.topic, letter.partition, letter.offset, letter.redrive_no);
        let id = MessageId::external(&format!("{} decision", self.settings.group), &place);
        let value = serde_json::json!({
            "message_id": letter.message_id.to_string(),
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "redrive_no": letter.redrive_no,
            "decision": decision.as_str(),
            "bytes": decision.value().map(hex::encode),
            "who": by.who,
            "why": by.why,
            "at": rfc3339(now),
        });
        let mut headers = HeaderText::default();
        for (name, value) in [
            (header::CE_ID, id.to_string()),
            (header::CE_TYPE, "dlq.decision".to_owned()),
            (header::CE_SUBJECT, letter.message_id.to_string()),
            (header::CE_TIME, rfc3339(now)),
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::CAUSATION_ID, letter.message_id.to_string()),
            (header::CORRELATION_ID, letter.correlation.clone()),
        ] {
            headers.push(name, &value);
        }
        let key = letter.message_id.to_string().into_bytes();
        Ok(Post {
            id: id.uuid(),
            partition: record::partition_for(&key, self.partitions.of(&topic)?),
            topic,
            key,
            headers: headers.into_bytes(),
            payload: value.to_string().into_bytes(),
        })
    }
}
