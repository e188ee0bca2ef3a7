//! Topics of an outbox: made, and read to their end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::PARTITIONS;

const READ_WITHIN: Duration = Duration::from_secs(120);

/// One committed record.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) partition: i32,
    pub(super) at_ms: i64,
    pub(super) headers: Vec<(String, String)>,
    pub(super) key: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Published {
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.headers.iter().any(|(key, text)| key == name && text == value)
    }

    pub(super) fn number(&self, name: &str) -> i64 {
        self.headers.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.parse().ok()).unwrap_or(-1)
    }
}

/// Makes the topics and the position topic.
pub(super) async fn create(bootstrap: &str, service: &str, topics: &[&str]) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let position = kafka::relay_topic(service);
    let mut new: Vec<NewTopic<'_>> = topics.iter().map(|topic| NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1))).collect();
    new.push(NewTopic::new(&position, 1, TopicReplication::Fixed(1)).set("cleanup.policy", "compact"));
    for made in admin.create_topics(&new, &AdminOptions::new()).await? {
        if let Err((topic, code)) = made {
            bail!("create topic {topic}: {code}");
        }
    }
    Ok(())
}

/// Everything committed on `topic`, partition by partition in the order of offsets, up to the stable end of each. Blocks.
pub(super) fn committed(bootstrap: &str, topic: &str, partitions: i32) -> anyhow::Result<Vec<Published>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "outbox-judge")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let deadline = Instant::now() + READ_WITHIN;
    let (mut records, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        if Instant::now() > deadline {
            bail!("topic {topic} was not read to its end in {READ_WITHIN:?}");
        }
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error).with_context(|| format!("read {topic}")),
            Some(Ok(message)) => {
                let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
                let headers = message.headers().map(|all| all.iter().map(|one| (one.key.to_owned(), text(one.value))).collect());
                records.push(Published {
                    partition: message.partition(),
                    at_ms: message.timestamp().to_millis().unwrap_or(0),
                    headers: headers.unwrap_or_default(),
                    key: message.key().unwrap_or_default().to_vec(),
                    payload: message.payload().unwrap_or_default().to_vec(),
                });
            }
        }
    }
    records.sort_by_key(|record| record.partition);
    Ok(records)
}
