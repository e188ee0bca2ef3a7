//! Records as they stand on a topic, to be written again as they are or changed.

use std::time::Duration;

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const LIMIT: Duration = Duration::from_secs(60);

/// One record with everything that is in it.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) partition: i32,
    pub(super) offset: i64,
    key: Option<Vec<u8>>,
    pub(super) payload: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Copy {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|all| all.iter().map(|one| (one.key.to_owned(), one.value.map(<[u8]>::to_vec))).collect());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
        }
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// The number in header `name`.
    pub(super) fn number(&self, name: &str) -> anyhow::Result<i64> {
        let value = self.headers.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_deref()).context("no such header")?;
        Ok(std::str::from_utf8(value)?.parse()?)
    }

    /// The same record with another value of header `name`.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        for (key, old) in &mut self.headers {
            if key == name {
                *old = Some(value.as_bytes().to_vec());
            }
        }
        self
    }
}

/// Every committed record of `topic` in the order of offsets, partition by partition. Blocks.
pub(super) fn read(bootstrap: &str, topic: &str) -> anyhow::Result<Vec<Copy>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "it-replay")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let mut list = TopicPartitionList::new();
    let partitions = partitions(&consumer, topic)?;
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (mut copies, mut ended, began) = (Vec::new(), 0, std::time::Instant::now());
    while ended < partitions {
        anyhow::ensure!(began.elapsed() < LIMIT, "topic {topic} was not read to its end");
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error).with_context(|| format!("read {topic}")),
            Some(Ok(message)) => copies.push(Copy::of(&message)),
        }
    }
    copies.sort_by_key(|copy| (copy.partition, copy.offset));
    Ok(copies)
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> anyhow::Result<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT)?;
    Ok(i32::try_from(metadata.topics().first().context("no such topic")?.partitions().len())?)
}

/// The end of each partition of `topic`. Blocks.
pub(super) fn ends(bootstrap: &str, topic: &str) -> anyhow::Result<Vec<i64>> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    (0..partitions(&consumer, topic)?).map(|partition| Ok(consumer.fetch_watermarks(topic, partition, LIMIT)?.1)).collect()
}

/// Writes records to their own partitions of `topic`, in order, as somebody who is not the owner's relay. Blocks.
pub(super) fn write(bootstrap: &str, topic: &str, copies: &[Copy]) -> anyhow::Result<()> {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").set("linger.ms", "5").create()?;
    for copy in copies {
        let headers =
            copy.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }));
        loop {
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(copy.partition).headers(headers.clone());
            if let Some(key) = &copy.key {
                record = record.key(key);
            }
            if let Some(payload) = &copy.payload {
                record = record.payload(payload);
            }
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(rdkafka::types::RDKafkaErrorCode::QueueFull), _)) => {
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error).with_context(|| format!("write to {topic}")),
            }
        }
    }
    Ok(producer.flush(LIMIT)?)
}
