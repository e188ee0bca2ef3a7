//! Plays a service that answers: publishes records with the headers and the chain its relay would give them.

use std::collections::HashMap;
use std::time::Duration;

use kafka::codec::Codec;
use kafka::message::header;
use kafka::registry::Registry;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use schemas::record::{Record, partition_for};
use schemas::topics;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::world::PARTITIONS;

pub(crate) struct Participant {
    service: &'static str,
    src: String,
    codec: Codec,
    producer: FutureProducer,
    chain: Mutex<Chain>,
}

#[derive(Default)]
struct Chain {
    last: i64,
    last_of: HashMap<(&'static str, i32), i64>,
}

impl Participant {
    pub(crate) async fn new(service: &'static str, bootstrap: &str, registry: &str) -> Self {
        let registry = Registry::new(registry).unwrap();
        let mut own = Vec::new();
        for entry in topics::records_of(service) {
            let id = registry.register(&entry.subject(), entry.schema, |_, _, _| Ok(())).await.unwrap();
            own.push((entry.full_name, entry.schema, id));
        }
        let producer = ClientConfig::new().set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").create().unwrap();
        let src = format!("{service}/{}", Uuid::now_v7());
        Self { service, src, codec: Codec::new(registry, &own).unwrap(), producer, chain: Mutex::default() }
    }

    /// Publishes one record and waits until the broker has it.
    pub(crate) async fn say<T: Record>(&self, key: &str, record: &T) {
        let payload = self.codec.encode(record).unwrap();
        let partition = partition_for(key.as_bytes(), PARTITIONS);
        let mut chain = self.chain.lock().await;
        chain.last += 1;
        let seq = chain.last;
        let prev = chain.last_of.insert((T::TOPIC, partition), seq).unwrap_or(0);
        let mut headers = OwnedHeaders::new();
        let values = [
            (header::CE_ID, Uuid::now_v7().to_string()),
            (header::CE_TYPE, T::FULL_NAME.to_owned()),
            (header::CE_SOURCE, format!("/{}", self.service)),
            (header::CE_SUBJECT, key.to_owned()),
            (header::CE_SPECVERSION, "1.0".to_owned()),
            (header::CONTENT_TYPE, "application/avro".to_owned()),
            (header::CAUSATION_ID, Uuid::now_v7().to_string()),
            (header::CORRELATION_ID, key.to_owned()),
            (header::SRC, self.src.clone()),
            (header::SEQ, seq.to_string()),
            (header::PREV, prev.to_string()),
        ];
        for (name, value) in &values {
            headers = headers.insert(Header { key: name, value: Some(value) });
        }
        let record = FutureRecord::to(T::TOPIC).partition(partition).key(key).payload(&payload).headers(headers);
        self.producer.send(record, Duration::from_secs(10)).await.unwrap();
    }
}
