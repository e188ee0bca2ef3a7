//! C0–C5: what is taken once, what holds a partition, what is fenced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka::codec::Codec;
use kafka::consumer::{self, Health};
use kafka::{AfterLast, Failure, Meta, Routes, Unit, Units};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use record::{Record, Topic};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use crate::support::{database, eventually, stack, topic, units};

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
struct Bench {
    units: Units,
    topic: &'static Topic,
    producer: FutureProducer,
    codec: Arc<Codec>,
}

struct Member {
    health: Arc<Health>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Member {
    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }

    fn held(&self) -> Option<&'static str> {
        self.health.held.lock().unwrap().values().next().copied()
    }
}

/// What every handler here does: one event per record on the stream of its key, so that the events show what was handled.
fn handle<T: Record + Clone>(unit: &mut Unit<()>, meta: &Meta, ping: &T) -> Result<(), Failure> {
    let stream = format!("seen-{}", meta.key);
    let count: i64 = unit.state(&stream)?;
    unit.append(&stream, &meta.key, ping, &(count + 1)).map(drop)
}

impl Bench {
    async fn new<T: Record>(name: &str, partitions: i32) -> Self {
        topic(T::TOPIC, partitions).await;
        let pool = database(name).await;
        let units = units(pool, &[(T::FULL_NAME, T::SCHEMA, T::TOPIC)], partitions).await;
        let producer = ClientConfig::new().set("bootstrap.servers", stack().await.kafka_bootstrap()).create().unwrap();
        let topic = Box::leak(Box::new(Topic { name: T::TOPIC, owner: "pinger", key: "key", records: &[] }));
        let codec = units_codec::<T>().await;
        Self { units, topic, producer, codec }
    }

    fn pool(&self) -> &PgPool {
        self.units.pool()
    }

    fn member(&self, group: &str, instance: &str, bootstrap: &str, routes: Routes<()>) -> Member {
        let (stop, stopped) = watch::channel(false);
        let health = Arc::new(Health::default());
        let config = consumer::Config {
            group: group.to_owned(),
            instance: instance.to_owned(),
            bootstrap: bootstrap.to_owned(),
            options: Vec::new(),
            topics: std::slice::from_ref(self.topic),
        };
        let task = consumer::spawn(config, self.units.clone(), routes, Arc::clone(&health), stopped).unwrap();
        Member { health, stop, task }
    }

    /// Writes record `seq` of source `src`, following `prev`, to a partition.
    async fn write<T: Record>(&self, partition: i32, src: &str, (prev, seq): (i64, i64), key: &str, ping: &T) {
        let value = self.codec.encode(ping).unwrap();
        self.write_bytes(partition, src, (prev, seq), key, Some(&value)).await;
    }

    async fn write_bytes(&self, partition: i32, src: &str, (prev, seq): (i64, i64), key: &str, value: Option<&[u8]>) {
        let (prev, seq, id) =
            (prev.to_string(), seq.to_string(), Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{src}{seq}").as_bytes()).to_string());
        let headers = [("ce_id", id.as_str()), ("correlation-id", key), ("src", src), ("seq", &seq), ("prev", &prev)]
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let mut record = FutureRecord::to(self.topic.name).partition(partition).key(key).headers(headers);
        if let Some(value) = value {
            record = record.payload(value);
        }
        self.producer.send(record, Duration::from_secs(10)).await.unwrap();
    }

    async fn handled(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(self.pool()).await.unwrap()
    }

    async fn wait_handled(&self, count: i64) {
        eventually(&format!("{count} records handled"), || async { (self.handled().await == count).then_some(()) }).await;
    }
}

async fn units_codec<T: Record>() -> Arc<Codec> {
    let registry = kafka::registry::Registry::new(&stack().await.registry_url()).unwrap();
    let id = registry.register(&format!("{}-{}", T::TOPIC, T::FULL_NAME), T::SCHEMA, |_, _, _| Ok(())).await.unwrap();
    Arc::new(Codec::new(registry, &[(T::FULL_NAME, T::SCHEMA, id)]).unwrap())
}

fn routes<T: Record + Clone>() -> Routes<()> {
    Routes::new().on::<T>(AfterLast::Hold, |_, _| {}, |_, _, _| Ok(()))
}

fn seen_routes<T: Record + Clone>(key: &'static str) -> Routes<()> {
    Routes::new().on::<T>(AfterLast::Hold, move |_, needs| needs.stream(format!("seen-{key}")), handle::<T>)
}

ping!(Repeated, "repeated.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_skipped_and_a_gap_stops_the_partition() {
    let bench = Bench::new::<Repeated>("consumer_repeat", 1).await;
    let member = bench.member("repeat", "repeat-1", &stack().await.kafka_bootstrap(), seen_routes::<Repeated>("k"));
    for link in [(0, 10), (10, 11), (10, 11), (0, 10), (11, 14)] {
        bench.write(0, "pinger/a", link, "k", &Repeated { n: link.1 }).await;
    }
    bench.wait_handled(3).await;
    bench.write(0, "pinger/a", (15, 16), "k", &Repeated { n: 16 }).await;
    eventually("the gap is named", || async { (member.held() == Some("chain_gap")).then_some(()) }).await;
    bench.write(0, "pinger/a", (16, 17), "k", &Repeated { n: 17 }).await;
    let next: i64 = sqlx::query_scalar("SELECT next_offset FROM progress").fetch_one(bench.pool()).await.unwrap();
    assert_eq!((next, bench.handled().await), (5, 3), "nothing at or behind the gap is handled");
    member.stop().await;
}

ping!(Stranger, "stranger.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_not_the_owners_holds_its_partition_only() {
    let bench = Bench::new::<Stranger>("consumer_stranger", 2).await;
    let member = bench.member("stranger", "stranger-1", &stack().await.kafka_bootstrap(), seen_routes::<Stranger>("k"));
    bench.write(0, "mallory/a", (0, 1), "k", &Stranger { n: 1 }).await;
    eventually("the stranger is named", || async { (member.held() == Some("foreign")).then_some(()) }).await;
    bench.write(1, "pinger/a", (0, 2), "k", &Stranger { n: 2 }).await;
    bench.wait_handled(1).await;
    member.stop().await;
}

ping!(Bytes, "bytes.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecodable_records_are_named_and_lose_nothing() {
    for (name, partition, value, code) in [
        ("null", 0, None, "null_value"),
        ("magic", 1, Some(b"\x01\x00\x00\x00\x01x".as_slice()), "wrong_magic_byte"),
        ("unknown", 2, Some(b"\x00\x7f\x00\x00\x01x".as_slice()), "schema_unknown"),
    ] {
        static TOPIC: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        TOPIC.get_or_init(|| topic(Bytes::TOPIC, 3)).await;
        let pool = database(&format!("consumer_bytes_{name}")).await;
        let units = units(pool, &[(Bytes::FULL_NAME, Bytes::SCHEMA, Bytes::TOPIC)], 3).await;
        let producer = ClientConfig::new().set("bootstrap.servers", stack().await.kafka_bootstrap()).create().unwrap();
        let topic = Box::leak(Box::new(Topic { name: Bytes::TOPIC, owner: "pinger", key: "key", records: &[] }));
        let bench = Bench { units, topic, producer, codec: units_codec::<Bytes>().await };
        let member = bench.member(name, name, &stack().await.kafka_bootstrap(), routes::<Bytes>());
        bench.write_bytes(partition, "pinger/a", (0, 1), "k", value).await;
        eventually(code, || async { member.health.held.lock().unwrap().values().any(|held| *held == code).then_some(()) }).await;
        member.stop().await;
    }
}

ping!(Failing, "failing.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_or_panicking_handler_holds_its_partition_until_it_can() {
    let bench = Bench::new::<Failing>("consumer_failing", 3).await;
    static BROKEN: AtomicBool = AtomicBool::new(true);
    let routes = Routes::new().on::<Failing>(
        AfterLast::Hold,
        |_, needs| needs.stream("seen-k"),
        |unit, meta, ping: &Failing| {
            let broken = BROKEN.load(Ordering::Relaxed);
            assert!(!(broken && ping.n == 3), "record 3 makes the handler panic");
            if broken && ping.n == 2 { Err(Failure::transient("not_yet", "record 2 must wait")) } else { handle(unit, meta, ping) }
        },
    );
    let member = bench.member("failing", "failing-1", &stack().await.kafka_bootstrap(), routes);
    bench.write(0, "pinger/a", (0, 1), "k", &Failing { n: 1 }).await;
    bench.write(0, "pinger/a", (1, 2), "k", &Failing { n: 2 }).await;
    bench.write(1, "pinger/a", (0, 3), "k", &Failing { n: 3 }).await;
    bench.write(1, "pinger/a", (3, 4), "k", &Failing { n: 4 }).await;
    for n in 5..60 {
        bench.write(2, "pinger/a", (if n == 5 { 0 } else { n - 1 }, n), "k", &Failing { n }).await;
    }
    bench.wait_handled(56).await;
    eventually("both are held", || async { (member.health.held.lock().unwrap().len() == 2).then_some(()) }).await;
    BROKEN.store(false, Ordering::Relaxed);
    bench.wait_handled(59).await;
    eventually("nothing is held", || async { member.held().is_none().then_some(()) }).await;
    member.stop().await;
}

ping!(Fenced, "fenced.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_taken_by_another_epoch_is_not_written_and_is_taken_back() {
    let bench = Bench::new::<Fenced>("consumer_fenced", 1).await;
    let member = bench.member("fenced", "fenced-1", &stack().await.kafka_bootstrap(), seen_routes::<Fenced>("k"));
    bench.write(0, "pinger/a", (0, 1), "k", &Fenced { n: 1 }).await;
    bench.wait_handled(1).await;
    sqlx::query("UPDATE progress SET epoch = epoch + 1, owner = 'another'").execute(bench.pool()).await.unwrap();
    bench.write(0, "pinger/a", (1, 2), "k", &Fenced { n: 2 }).await;
    bench.wait_handled(2).await;
    assert_eq!(member.health.fenced.load(Ordering::Relaxed), 1, "the stale epoch was refused once, then the rows were taken anew");
    let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM progress").fetch_one(bench.pool()).await.unwrap();
    assert_eq!(epoch, 3);
    member.stop().await;
}

ping!(Replaced, "replaced.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_other_records_is_not_read_on() {
    let bench = Bench::new::<Replaced>("consumer_replaced", 1).await;
    let bootstrap = stack().await.kafka_bootstrap();
    let member = bench.member("replaced", "replaced-1", &bootstrap, seen_routes::<Replaced>("k"));
    bench.write(0, "pinger/a", (0, 1), "k", &Replaced { n: 1 }).await;
    bench.wait_handled(1).await;
    member.stop().await;
    for (what, statement) in [
        ("another record before the next offset", "UPDATE progress SET last_hash = last_hash + 1"),
        ("an offset beyond the end", "UPDATE progress SET last_hash = last_hash - 1, next_offset = 100"),
    ] {
        sqlx::query(statement).execute(bench.pool()).await.unwrap();
        let member = bench.member("replaced", "replaced-1", &bootstrap, seen_routes::<Replaced>("k"));
        eventually(what, || async { (member.held() == Some("topic_replaced")).then_some(()) }).await;
        member.stop().await;
    }
    assert_eq!(bench.handled().await, 1);
}

ping!(Shared, "shared.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_the_partitions_and_one_leaving_gives_its_own_back() {
    let bench = Bench::new::<Shared>("consumer_shared", 4).await;
    let bootstrap = stack().await.kafka_bootstrap();
    let first = bench.member("shared", "shared-1", &bootstrap, seen_routes::<Shared>("k"));
    let second = bench.member("shared", "shared-2", &bootstrap, seen_routes::<Shared>("k"));
    let share = |member: &Member| member.health.assigned.load(Ordering::Relaxed);
    eventually("both have two partitions", || async { (share(&first) == 2 && share(&second) == 2).then_some(()) }).await;
    for partition in 0..4 {
        bench.write(partition, "pinger/a", (0, i64::from(partition) + 1), "k", &Shared { n: 1 }).await;
    }
    bench.wait_handled(4).await;
    second.stop().await;
    eventually("the first has all", || async { (share(&first) == 4).then_some(()) }).await;
    for partition in 0..4 {
        bench.write(partition, "pinger/a", (i64::from(partition) + 1, i64::from(partition) + 11), "k", &Shared { n: 2 }).await;
    }
    bench.wait_handled(8).await;
    first.stop().await;
}
