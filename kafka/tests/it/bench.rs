//! A consumer group with its database, and a writer that plays the owner of the topic it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kafka::codec::Codec;
use kafka::consumer::{self, Health};
use kafka::retry::{self, Tiers};
use kafka::{AfterLast, Failure, Meta, Routes, Unit, Units, relay};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use record::{Record, Topic};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPool;
use tokio::sync::{OnceCell, watch};
use uuid::Uuid;

use crate::support::{database, eventually, stack, topic, topic_with, units_beside};

/// Each test has a topic and a record type of its own, since a type names its topic.
macro_rules! ping {
    ($name:ident, $topic:literal) => {
        #[derive(Debug, Clone, Serialize, Deserialize)]
        struct $name {
            n: i64,
        }
        impl Record for $name {
            const FULL_NAME: &'static str = concat!("test.", stringify!($name));
            const SCHEMA: &'static str = concat!(
                r#"{"type":"record","name":""#,
                stringify!($name),
                r#"","namespace":"test","fields":[{"name":"n","type":"long"}]}"#
            );
            const TOPIC: &'static str = $topic;
        }
    };
}

/// A consumer group with its database, and a writer that plays the owner of the topic.
pub(crate) struct Bench {
    pub(crate) units: Units,
    group: String,
    topic: &'static Topic,
    producer: FutureProducer,
    codec: Arc<Codec>,
}

pub(crate) struct Member {
    pub(crate) health: Arc<Health>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

/// What handlers write: not on the topic they read, or their own relay would feed them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) n: i64,
}

impl Record for Seen {
    const FULL_NAME: &'static str = "test.Seen";
    const SCHEMA: &'static str = r#"{"type":"record","name":"Seen","namespace":"test","fields":[{"name":"n","type":"long"}]}"#;
    const TOPIC: &'static str = "seen.events";
}

/// Delays of the tests' retry tiers.
pub(crate) const TIERS: &str = "200,1000,5000";

impl Member {
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }

    pub(crate) fn held(&self) -> Option<&'static str> {
        self.health.held.lock().unwrap().values().next().copied()
    }
}

/// What handlers here do: one event per record on the stream of its key, so that the events show what was handled.
pub(crate) fn handle<T: Record + Clone>(unit: &mut Unit<()>, meta: &Meta, ping: &T) -> Result<(), Failure> {
    let stream = format!("seen-{}", meta.key);
    let count: i64 = unit.state(&stream)?;
    unit.append(&stream, &meta.key, ping, &(count + 1)).map(drop)
}

impl Bench {
    /// A group named `group` with its retry topics, its database, and the topic of `T`.
    pub(crate) async fn new<T: Record>(group: &str, partitions: i32) -> Self {
        topic(T::TOPIC, partitions).await;
        Self::beside::<T>(group, partitions).await
    }

    /// The same for a topic that exists.
    pub(crate) async fn beside<T: Record>(group: &str, partitions: i32) -> Self {
        let tiers = Tiers::parse(TIERS, None).unwrap();
        let failures = retry::topic_names(group, &tiers);
        for name in &failures {
            topic(name, partitions).await;
        }
        let pool = database(group).await;
        static SEEN: OnceCell<()> = OnceCell::const_new();
        // Registered once: the registry refuses the same first version twice at once.
        SEEN.get_or_init(|| async {
            topic(Seen::TOPIC, 4).await;
            drop(units_codec::<Seen>().await);
        })
        .await;
        let own = [(T::FULL_NAME, T::SCHEMA, T::TOPIC), (Seen::FULL_NAME, Seen::SCHEMA, Seen::TOPIC)];
        let units = units_beside(pool, &own, partitions, &failures).await;
        let units = units.with_retry(retry::Settings { group: group.to_owned(), tiers });
        let producer = ClientConfig::new().set("bootstrap.servers", stack().await.kafka_bootstrap()).create().unwrap();
        let topic = Box::leak(Box::new(Topic { name: T::TOPIC, owner: "pinger", key: "key", records: &[] }));
        let codec = units_codec::<T>().await;
        Self { units, group: group.to_owned(), topic, producer, codec }
    }

    /// Publishes the group's outbox until the end of the test.
    pub(crate) async fn publish(&self) -> Publisher {
        let config = relay::Config {
            service: self.group.clone(),
            bootstrap: stack().await.kafka_bootstrap(),
            login: None,
            connect: (*self.pool().connect_options()).clone(),
        };
        topic_with(&kafka::relay_topic(&self.group), 1, &[("cleanup.policy", "compact")]).await;
        let own = retry::topic_names(&self.group, &self.units.retry().tiers);
        relay::write_first_position(&config, &own.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let status = Arc::new(relay::Status::default());
        let thread = relay::spawn(config, tokio::runtime::Handle::current(), self.units.relay_wake(), status, stopped);
        Publisher { stop, thread }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.units.pool()
    }

    pub(crate) async fn member(&self, number: u32, routes: Routes<()>) -> Member {
        self.start(number, self.units.clone(), std::slice::from_ref(self.topic), routes).await
    }

    async fn start(&self, number: u32, units: Units, topics: &'static [Topic], routes: Routes<()>) -> Member {
        let (stop, stopped) = watch::channel(false);
        let health = Arc::new(Health::default());
        let config = consumer::Config::new(&self.group, format!("{}-{number}", self.group), stack().await.kafka_bootstrap(), topics);
        let task = consumer::spawn(config, units, routes, Arc::clone(&health), stopped).unwrap();
        Member { health, stop, task }
    }

    /// The bytes of a record of the group's topic.
    pub(crate) fn encode<T: Record>(&self, record: &T) -> Vec<u8> {
        self.codec.encode(record).unwrap()
    }

    /// A second topic of the same owner, read by the same group.
    pub(crate) async fn also<T: Record>(&self, partitions: i32) -> Second {
        topic(T::TOPIC, partitions).await;
        let topic = Topic { name: T::TOPIC, owner: "pinger", key: "key", records: &[] };
        let units = self.units.clone().also(T::TOPIC, partitions);
        Second { units, topics: Box::leak(Box::new([*self.topic, topic])), codec: units_codec::<T>().await, seq: AtomicI64::new(0) }
    }

    /// Writes record `seq` of source `src`, following `prev`, to a partition.
    pub(crate) async fn write<T: Record>(&self, partition: i32, src: &str, (prev, seq): (i64, i64), key: &str, ping: &T) {
        let value = self.codec.encode(ping).unwrap();
        self.write_bytes(partition, src, (prev, seq), key, Some(&value)).await;
    }

    pub(crate) async fn write_bytes(&self, partition: i32, src: &str, (prev, seq): (i64, i64), key: &str, value: Option<&[u8]>) {
        self.send(self.topic.name, partition, src, (prev, seq), key, value).await;
    }

    async fn send(&self, topic: &str, partition: i32, src: &str, (prev, seq): (i64, i64), key: &str, value: Option<&[u8]>) {
        let (prev, seq, id) =
            (prev.to_string(), seq.to_string(), Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{src}{seq}").as_bytes()).to_string());
        let headers = [("ce_id", id.as_str()), ("correlation-id", key), ("src", src), ("seq", &seq), ("prev", &prev)]
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let mut record = FutureRecord::to(topic).partition(partition).key(key).headers(headers);
        if let Some(value) = value {
            record = record.payload(value);
        }
        self.producer.send(record, Duration::from_secs(10)).await.unwrap();
    }

    pub(crate) async fn handled(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(self.pool()).await.unwrap()
    }

    pub(crate) async fn wait_handled(&self, count: i64) {
        eventually(&format!("{count} records handled"), || async { (self.handled().await == count).then_some(()) }).await;
    }
}

/// A second topic of a bench.
pub(crate) struct Second {
    units: Units,
    topics: &'static [Topic; 2],
    codec: Arc<Codec>,
    seq: AtomicI64,
}

impl Second {
    /// The member that reads both topics.
    pub(crate) async fn member(&self, bench: &Bench, routes: Routes<()>) -> Member {
        bench.start(1, self.units.clone(), self.topics, routes).await
    }

    /// The owner writes the next record to the second topic.
    pub(crate) async fn write<T: Record>(&self, bench: &Bench, key: &str, record: &T) {
        let prev = self.seq.fetch_add(1, Ordering::Relaxed);
        let value = self.codec.encode(record).unwrap();
        bench.send(T::TOPIC, 0, "pinger/b", (prev, prev + 1), key, Some(&value)).await;
    }
}

pub(crate) struct Publisher {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<Result<(), relay::Error>>,
}

impl Publisher {
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        tokio::task::spawn_blocking(move || self.thread.join().unwrap()).await.unwrap().unwrap();
    }
}

async fn units_codec<T: Record>() -> Arc<Codec> {
    let registry = kafka::registry::Registry::new(&stack().await.registry_url()).unwrap();
    let id = registry.register(&format!("{}-{}", T::TOPIC, T::FULL_NAME), T::SCHEMA, |_, _, _| Ok(())).await.unwrap();
    Arc::new(Codec::new(registry, &[(T::FULL_NAME, T::SCHEMA, id)]).unwrap())
}

pub(crate) fn seen_routes<T: Record + Clone>(key: &'static str) -> Routes<()> {
    Routes::new().on::<T>(AfterLast::Hold, move |_, needs| needs.stream(format!("seen-{key}")), handle::<T>)
}
pub(crate) use ping;
