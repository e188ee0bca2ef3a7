//! Topics: their partition counts, fixed once created, and their creation.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use record::Topic;

use crate::cluster::Cluster;
use crate::failure::Failure;

/// How many partitions each topic has, as stored in the database when the topic was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partitions(HashMap<String, i32>);

impl Partitions {
    /// From (topic, partitions) rows.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = (String, i32)>) -> Self {
        Self(rows.into_iter().collect())
    }

    /// The count of one topic.
    ///
    /// # Errors
    /// Permanent `topic_unknown`: the topic is not one of the service's.
    pub fn of(&self, topic: &str) -> Result<i32, Failure> {
        self.0.get(topic).copied().ok_or_else(|| Failure::permanent("topic_unknown", format!("topic {topic} is not set up")))
    }

    /// All (topic, partitions) pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32)> {
        self.0.iter().map(|(topic, count)| (topic.as_str(), *count))
    }
}

/// Why topics could not be made or checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker did not answer or refused.
    #[error("{doing}")]
    Kafka {
        /// What was being done.
        doing: String,
        /// The client's error.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// One topic was refused.
    #[error("create topic {topic}: {code}")]
    Refused {
        /// Which.
        topic: String,
        /// Kafka's code.
        code: RDKafkaErrorCode,
    },
    /// A topic has another number of partitions than the database says: keys would change partitions.
    #[error("partitions_changed: topic {topic} has {found} partitions, the database says {expected}")]
    PartitionsChanged {
        /// Which.
        topic: String,
        /// On the broker.
        found: usize,
        /// In the database.
        expected: i32,
    },
}

fn admin(cluster: &Cluster) -> Result<AdminClient<DefaultClientContext>, Error> {
    cluster.client().create().map_err(|source| Error::Kafka { doing: "connect to Kafka".to_owned(), source })
}

/// Creates the topics that do not exist: `topics` with `partitions` each and kept for ever, and the compacted
/// one-partition position topic of `service`. Existing ones are left alone. Replication is the broker's default.
///
/// # Errors
/// The broker does not answer within 30 s or refuses.
pub async fn create(cluster: &Cluster, service: &str, topics: &[&Topic], partitions: i32) -> Result<(), Error> {
    let position = crate::relay_topic(service);
    let mut new: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| {
            NewTopic::new(topic.name, partitions, TopicReplication::Fixed(-1))
                .set("retention.ms", "-1")
                .set("message.timestamp.type", "CreateTime")
        })
        .collect();
    new.push(
        NewTopic::new(&position, 1, TopicReplication::Fixed(-1))
            .set("cleanup.policy", "compact")
            .set("segment.bytes", "16777216")
            .set("retention.ms", "-1"),
    );
    make(cluster, &new).await
}

/// Creates those of a group's retry and dead-letter topics that do not exist. Timers are kept for 14 days, dead letters and
/// decisions for ever. A failed message may be larger than the records we write.
///
/// # Errors
/// As [`create`].
pub(crate) async fn create_failures(cluster: &Cluster, topics: &[&str], partitions: i32) -> Result<(), Error> {
    let bytes = crate::retry::LETTER_BYTES_MAX.to_string();
    let new: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| {
            let retention = if crate::retry::is_timer(topic) { "1209600000" } else { "-1" };
            NewTopic::new(topic, partitions, TopicReplication::Fixed(-1))
                .set("retention.ms", retention)
                .set("message.timestamp.type", "CreateTime")
                .set("max.message.bytes", &bytes)
        })
        .collect();
    make(cluster, &new).await
}

async fn make(cluster: &Cluster, new: &[NewTopic<'_>]) -> Result<(), Error> {
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30))).request_timeout(Some(Duration::from_secs(30)));
    let results =
        admin(cluster)?.create_topics(new, &options).await.map_err(|source| Error::Kafka { doing: "create topics".to_owned(), source })?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(Error::Refused { topic, code }),
        }
    }
    Ok(())
}

/// Compares every topic's partition count with the database, and returns the cluster's id.
/// Blocking: call it off the async runtime.
///
/// # Errors
/// [`Error::PartitionsChanged`], or the broker does not answer within 10 s.
pub fn check(cluster: &Cluster, expected: &Partitions) -> Result<String, Error> {
    let admin = admin(cluster)?;
    let timeout = Duration::from_secs(10);
    for (topic, count) in expected.iter() {
        let metadata = admin
            .inner()
            .fetch_metadata(Some(topic), timeout)
            .map_err(|source| Error::Kafka { doing: format!("describe topic {topic}"), source })?;
        let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if i32::try_from(found) != Ok(count) {
            return Err(Error::PartitionsChanged { topic: topic.to_owned(), found, expected: count });
        }
    }
    Ok(admin.inner().fetch_cluster_id(timeout).unwrap_or_default())
}
