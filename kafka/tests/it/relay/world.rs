//! A service of its own for each test: database, topics, writers, and the judge of what was published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kafka::message::{HeaderText, header};
use kafka::relay::{self, Position};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use record::{Topic, partition_for};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Row as _};
use stack::Stack;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::support::stack;

pub(super) const PARTITIONS: i32 = 3;
const WAIT: Duration = Duration::from_secs(120);

/// One service with its relay's database and topics.
pub(super) struct World {
    pub(super) service: String,
    pub(super) events: &'static str,
    pub(super) commands: &'static str,
    pub(super) config: relay::Config,
    /// The database, as its owner.
    pub(super) url: String,
    pub(super) incarnation: Uuid,
}

/// A relay on a thread of this process.
pub(super) struct Running {
    pub(super) status: Arc<relay::Status>,
    pub(super) wake: Arc<Notify>,
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<Result<(), relay::Error>>,
}

impl Running {
    /// Stops it as a shutdown does.
    pub(super) async fn stop(self) -> Result<(), relay::Error> {
        self.stop.send_replace(true);
        tokio::task::spawn_blocking(move || self.thread.join().unwrap()).await.unwrap()
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(self) -> Result<(), relay::Error> {
        tokio::time::timeout(WAIT, tokio::task::spawn_blocking(move || self.thread.join().unwrap())).await.unwrap().unwrap()
    }
}

/// One published record.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) topic: &'static str,
    pub(super) partition: i32,
    pub(super) seq: i64,
    pub(super) prev: i64,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) key: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl World {
    /// A set-up service: empty outbox, first position written.
    pub(super) async fn new(name: &str) -> Self {
        let stack = stack().await;
        Self::on(stack, stack.kafka_bootstrap(), name).await
    }

    /// The same on a stack of its own, whose broker is reached at `bootstrap`.
    pub(super) async fn on(stack: &Stack, bootstrap: String, name: &str) -> Self {
        let world = Self::made(stack, bootstrap, name).await;
        relay::write_first_position(&world.config, &[world.events, world.commands]).await.unwrap();
        world
    }

    /// The same before the first position is written.
    pub(super) async fn without_position(name: &str) -> Self {
        let stack = stack().await;
        Self::made(stack, stack.kafka_bootstrap(), name).await
    }

    async fn made(stack: &Stack, bootstrap: String, name: &str) -> Self {
        // Shown with a failed test; a second test finds it set.
        drop(tracing_subscriber::fmt().with_test_writer().try_init());
        let database = stack.create_database("orders").await.unwrap();
        let connect: PgConnectOptions = database.owner_url.parse().unwrap();
        let mut db = PgConnection::connect_with(&connect).await.unwrap();
        sqlx::migrate!("./migrations").run(&mut db).await.unwrap();
        let incarnation: Uuid =
            sqlx::query_scalar("INSERT INTO db_identity (incarnation) VALUES (gen_random_uuid()) RETURNING incarnation")
                .fetch_one(&mut db)
                .await
                .unwrap();
        sqlx::raw_sql(
            "CREATE TABLE versions (key int PRIMARY KEY, version int NOT NULL DEFAULT 0) WITH (fillfactor = 50);
             INSERT INTO versions (key) SELECT generate_series(0, 39);
             CREATE TABLE early (noted int)",
        )
        .execute(&mut db)
        .await
        .unwrap();
        db.close().await.unwrap();
        let service = format!("relaytest{name}");
        let (events, commands): (&'static str, &'static str) = (format!("{service}.events").leak(), format!("{service}.commands").leak());
        let topic = |name| Topic { name, owner: "relaytest", key: "key", records: &[] };
        kafka::topics::create(&kafka::Cluster::open(stack.kafka_bootstrap()), &service, &[&topic(events), &topic(commands)], PARTITIONS)
            .await
            .unwrap();
        let config = relay::Config { service: service.clone(), bootstrap, login: None, connect };
        Self { service, events, commands, config, url: database.owner_url, incarnation }
    }

    pub(super) async fn db(&self) -> PgConnection {
        PgConnection::connect_with(&self.config.connect).await.unwrap()
    }

    /// A connection as soon as the database takes one.
    async fn db_again(&self) -> PgConnection {
        let deadline = Instant::now() + WAIT;
        loop {
            match PgConnection::connect_with(&self.config.connect).await {
                Ok(db) => return db,
                Err(error) => assert!(Instant::now() < deadline, "the database does not come back: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a relay in this process.
    pub(super) fn relay(&self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let (status, wake) = (Arc::new(relay::Status::default()), Arc::new(Notify::new()));
        let runtime = tokio::runtime::Handle::current();
        let thread = relay::spawn(self.config.clone(), runtime, Arc::clone(&wake), Arc::clone(&status), stopped);
        Running { status, wake, stop, thread }
    }

    /// One transaction's outbox rows: `rows` messages of one key, alternately for both topics.
    pub(super) async fn append(&self, db: &mut PgConnection, key: i32, version: i32, rows: i32) -> i64 {
        self.try_append(db, key, version, rows).await.unwrap()
    }

    async fn try_append(&self, db: &mut PgConnection, key: i32, version: i32, rows: i32) -> Result<i64, sqlx::Error> {
        let keys: Vec<Vec<u8>> = (0..rows).map(|_| key.to_string().into_bytes()).collect();
        let topics: Vec<&str> = (0..rows).map(|part| if part % 2 == 0 { self.events } else { self.commands }).collect();
        let partitions: Vec<i32> = keys.iter().map(|key| partition_for(key, PARTITIONS)).collect();
        let ids: Vec<Uuid> = (0..rows).map(|_| Uuid::now_v7()).collect();
        let headers: Vec<Vec<u8>> = ids
            .iter()
            .map(|id| {
                let mut text = HeaderText::default();
                text.push("ce_id", &id.to_string());
                text.push("stream", &format!("key-{key}"));
                text.into_bytes()
            })
            .collect();
        let payloads: Vec<Vec<u8>> = (0..rows).map(|part| format!("{version} {part}").into_bytes()).collect();
        sqlx::query_scalar("SELECT outbox_append($1, $2, $3, $4, $5, $6)")
            .bind(ids)
            .bind(topics)
            .bind(partitions)
            .bind(keys)
            .bind(headers)
            .bind(payloads)
            .fetch_one(db)
            .await
    }

    /// Waits until everything in the outbox has been published.
    pub(super) async fn drained(&self) {
        let mut db = self.db().await;
        let last: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM outbox").fetch_one(&mut db).await.unwrap();
        let deadline = Instant::now() + WAIT;
        loop {
            let position = relay::check(&self.config).await.unwrap();
            if position.cursor >= last {
                return;
            }
            assert!(Instant::now() < deadline, "not published in time: cursor {} of {last}", position.cursor);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All committed records of a topic, partition by partition, in the order of offsets.
    pub(super) async fn topic(&self, topic: &'static str) -> Vec<Published> {
        let bootstrap = self.config.bootstrap.clone();
        tokio::task::spawn_blocking(move || committed(&bootstrap, topic, PARTITIONS))
            .await
            .unwrap()
            .into_iter()
            .map(|raw| raw.published(topic))
            .collect()
    }

    /// All committed positions, oldest first.
    pub(super) async fn positions(&self) -> Vec<Position> {
        let (bootstrap, topic) = (self.config.bootstrap.clone(), Position::topic(&self.service));
        let records = tokio::task::spawn_blocking(move || committed(&bootstrap, &topic, 1)).await.unwrap();
        records
            .iter()
            .filter(|record| record.key == self.service.as_bytes())
            .map(|record| serde_json::from_slice(&record.payload).unwrap())
            .collect()
    }

    /// Judges everything published so far against the outbox, which must be drained: each row exactly once and unchanged,
    /// ids of a partition in order with an unbroken `prev` chain, versions of each key in order, and every Kafka
    /// transaction made of whole database transactions. Returns the number of rows.
    pub(super) async fn judge(&self) -> usize {
        let mut db = self.db().await;
        let rows = sqlx::query("SELECT id, tx_rows, topic, partition, key, payload, message_id FROM outbox ORDER BY id")
            .fetch_all(&mut db)
            .await
            .unwrap();
        let mut published = self.topic(self.events).await;
        published.extend(self.topic(self.commands).await);
        let src = format!("{}/{}", self.service, self.incarnation);
        let mut last: BTreeMap<(&str, i32), i64> = BTreeMap::new();
        let mut versions: BTreeMap<Vec<u8>, i32> = BTreeMap::new();
        // Sent once more, with its reason, to free the readers of a partition whose marker the killed broker lost:
        // docs/decisions/0002-position-sentinel.md. Only what stands last may be.
        let mut newest_of: BTreeMap<(&str, i32), i64> = BTreeMap::new();
        published.retain(|record| {
            let newest = newest_of.entry((record.topic, record.partition)).or_default();
            let repeat = record.headers.get(header::REPEATED_BECAUSE).is_some_and(|why| why == "transaction_hanging");
            assert!(!repeat || record.seq == *newest, "{} of {}-{} is repeated late", record.seq, record.topic, record.partition);
            *newest = record.seq;
            !repeat
        });
        for record in &published {
            let last = last.entry((record.topic, record.partition)).or_default();
            assert_eq!(record.prev, *last, "the chain of {}-{} breaks at {}", record.topic, record.partition, record.seq);
            assert!(record.seq > *last, "ids of {}-{} go back at {}", record.topic, record.partition, record.seq);
            *last = record.seq;
            assert_eq!(record.headers.get("src"), Some(&src));
            if record.topic == self.events {
                let version: i32 = std::str::from_utf8(&record.payload).unwrap().split_once(' ').unwrap().0.parse().unwrap();
                let seen = versions.entry(record.key.clone()).or_default();
                assert!(version == *seen || version == *seen + 1, "version {version} of key {:?} comes after {seen}", record.key);
                *seen = version;
            }
        }
        let positions = self.positions().await;
        let newest = positions.last().unwrap();
        for ((topic, partition), seq) in &last {
            assert_eq!(newest.prev.last(topic, *partition), *seq, "the position's chain of {topic}-{partition}");
        }
        let by_id: BTreeMap<i64, i32> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for pair in positions.windows(2) {
            assert!(pair[0].cursor < pair[1].cursor, "positions go back: {} then {}", pair[0].cursor, pair[1].cursor);
            assert_eq!(pair[1].cursor % 8192, i64::from(by_id[&pair[1].cursor]), "a Kafka transaction ends inside a database transaction");
        }
        published.sort_by_key(|record| record.seq);
        assert_eq!(published.len(), rows.len(), "rows and committed records");
        for (row, record) in rows.iter().zip(&published) {
            assert_eq!(row.get::<i64, _>(0), record.seq);
            assert_eq!((row.get::<&str, _>(2), row.get::<i32, _>(3)), (record.topic, record.partition));
            assert_eq!((row.get::<Vec<u8>, _>(4), row.get::<Vec<u8>, _>(5)), (record.key.clone(), record.payload.clone()));
            assert_eq!(record.headers.get("ce_id"), Some(&row.get::<Uuid, _>(6).to_string()));
        }
        rows.len()
    }
}

/// Writers that make life hard: early xids, pauses before and after the insert, one rollback in five, forty contended keys.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    pub(super) committed: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    pub(super) fn start(world: &Arc<World>, count: u64, wake: Option<Arc<Notify>>) -> Self {
        let (stop, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..count)
            .map(|seed| tokio::spawn(write(Arc::clone(world), seed, Arc::clone(&stop), Arc::clone(&committed), wake.clone())))
            .collect();
        Self { stop, committed, tasks }
    }

    pub(super) async fn finish(self) {
        self.stop.store(true, Ordering::Release);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn write(world: Arc<World>, seed: u64, stop: Arc<AtomicBool>, committed: Arc<AtomicU64>, wake: Option<Arc<Notify>>) {
    let mut dice = Dice(seed * 7 + 1);
    let mut db = world.db().await;
    while !stop.load(Ordering::Acquire) {
        match transaction(&world, &mut db, &mut dice).await {
            Ok(true) => {
                committed.fetch_add(1, Ordering::Relaxed);
                if let Some(wake) = &wake {
                    wake.notify_one();
                }
            }
            Ok(false) => {}
            // The database was killed; whether the transaction is in it, the outbox will tell.
            Err(_) => db = world.db_again().await,
        }
    }
}

/// One transaction; whether it committed.
async fn transaction(world: &World, db: &mut PgConnection, dice: &mut Dice) -> Result<bool, sqlx::Error> {
    let mut tx = db.begin().await?;
    if dice.roll(2) == 0 {
        sqlx::query("INSERT INTO early VALUES (1)").execute(&mut *tx).await?;
        dice.sleep().await;
    }
    let key = i32::try_from(dice.roll(40)).unwrap();
    let version: i32 = sqlx::query_scalar("UPDATE versions SET version = version + 1 WHERE key = $1 RETURNING version")
        .bind(key)
        .fetch_one(&mut *tx)
        .await?;
    let rows = if dice.roll(200) == 0 { 1_500 } else { 1 + i32::try_from(dice.roll(6)).unwrap() };
    world.try_append(&mut tx, key, version, rows).await?;
    dice.sleep().await;
    if dice.roll(5) == 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

/// A small generator of numbers with a seed (splitmix64), so that a run can be repeated.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    async fn sleep(&mut self) {
        let millis = self.roll(24);
        if millis < 12 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

struct Raw {
    partition: i32,
    headers: BTreeMap<String, String>,
    key: Vec<u8>,
    payload: Vec<u8>,
}

impl Raw {
    fn published(self, topic: &'static str) -> Published {
        let number = |name: &str| self.headers.get(name).unwrap().parse().unwrap();
        Published {
            topic,
            partition: self.partition,
            seq: number("seq"),
            prev: number("prev"),
            headers: self.headers.clone(),
            key: self.key,
            payload: self.payload,
        }
    }
}

/// Everything committed on `topic`, up to the stable end of each partition.
fn committed(bootstrap: &str, topic: &str, partitions: i32) -> Vec<Raw> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "relay-test-judge")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let deadline = Instant::now() + WAIT;
    let (mut records, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        assert!(Instant::now() < deadline, "topic {topic} was not read to its end");
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("read {topic}: {error}"),
            Some(Ok(message)) => records.push(Raw {
                partition: message.partition(),
                headers: message
                    .headers()
                    .map(|headers| {
                        headers
                            .iter()
                            .map(|header| (header.key.to_owned(), String::from_utf8(header.value.unwrap().to_vec()).unwrap()))
                            .collect()
                    })
                    .unwrap_or_default(),
                key: message.key().unwrap_or_default().to_vec(),
                payload: message.payload().unwrap_or_default().to_vec(),
            }),
        }
    }
    records.sort_by_key(|record| record.partition);
    records
}
