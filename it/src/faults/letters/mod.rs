//! One consumer group alone, with messages that fail as a run wants them to: its database, its topics, a writer that plays
//! their owner, the consumer as a process that can be killed, and a judge of what was handled.

mod book;
mod child;
mod judge;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use kafka::codec::Codec;
use kafka::registry::Registry;
use kafka::retry::{self, Tiers};
use kafka::{Partitions, Units, relay};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use record::Record;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use stack::{Part, Stack};
use uuid::Uuid;

use super::{SOON, until};
use book::{GROUP, OWNER, TIERS};
pub use book::{Note, Other, Rules, Undo, Undone, fatal, key, number};
pub use child::{Child, Role, serve};
pub use judge::{Dead, Late, Letterbox};

/// Partitions of each topic.
const PARTITIONS: i32 = 3;

fn tiers() -> anyhow::Result<Tiers> {
    Ok(Tiers::parse(TIERS, None)?)
}

fn topics() -> anyhow::Result<Vec<String>> {
    let own = [Note::TOPIC, Undo::TOPIC, Undone::TOPIC].map(str::to_owned);
    Ok(own.into_iter().chain(retry::topic_names(GROUP, &tiers()?)).collect())
}

fn partitions() -> Partitions {
    Partitions::new(topics().unwrap_or_default().into_iter().map(|topic| (topic, PARTITIONS)))
}

/// A codec that can write all types.
async fn codec(registry: &str) -> anyhow::Result<Codec> {
    let registry = Registry::new(registry)?;
    let mut own = Vec::new();
    for (name, schema, topic) in [
        (Note::FULL_NAME, Note::SCHEMA, Note::TOPIC),
        (Undo::FULL_NAME, Undo::SCHEMA, Undo::TOPIC),
        (Undone::FULL_NAME, Undone::SCHEMA, Undone::TOPIC),
        (Other::FULL_NAME, Other::SCHEMA, Other::TOPIC),
    ] {
        own.push((name, schema, registry.register(&format!("{topic}-{name}"), schema, |_, _, _| Ok(())).await?));
    }
    Ok(Codec::new(registry, &own)?)
}

/// A running group.
pub struct Letters {
    stack: Stack,
    role: Role,
    codec: Codec,
    producer: FutureProducer,
    pool: PgPool,
    /// The last number of each topic's partition.
    chain: HashMap<(&'static str, i32), i64>,
    seq: i64,
}

impl std::fmt::Debug for Letters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letters").field("role", &self.role).field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl Letters {
    /// Starts broker, registry and database, and sets everything up. No consumer runs yet.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(release: bool) -> anyhow::Result<Self> {
        let stack = Stack::builder().parts([Part::Postgres, Part::Kafka, Part::Registry]).start().await?;
        let database = stack.create_database("letters").await?;
        let connect: PgConnectOptions = database.owner_url.parse()?;
        let pool = PgPoolOptions::new().max_connections(8).connect_with(connect.clone()).await?;
        sqlx::migrate!("../kafka/migrations").run(&pool).await?;
        sqlx::raw_sql(
            "INSERT INTO db_identity (incarnation) VALUES (gen_random_uuid());
             CREATE TABLE rules (broken bool NOT NULL, transient bigint NOT NULL, fatal bigint NOT NULL, panic_from bigint NOT NULL, stubborn_below bigint NOT NULL);
             INSERT INTO rules VALUES (false, 0, 0, 0, 0);
             CREATE TABLE journal (pos bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL, n bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())",
        )
        .execute(&pool)
        .await?;
        let bootstrap = stack.kafka_bootstrap();
        create(&bootstrap).await?;
        let config = relay::Config { service: GROUP.to_owned(), bootstrap: bootstrap.clone(), login: None, connect };
        let own: Vec<String> = retry::topic_names(GROUP, &tiers()?).into_iter().chain([Undone::TOPIC.to_owned()]).collect();
        relay::write_first_position(&config, &own.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let codec = codec(&stack.registry_url()).await?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("enable.idempotence", "true")
            .set("message.max.bytes", "8000000")
            .set("linger.ms", "1")
            .create()?;
        let role = Role { bootstrap, registry: stack.registry_url(), database: database.owner_url, release, number: 1 };
        Ok(Self { stack, role, codec, producer, pool, chain: HashMap::new(), seq: 0 })
    }

    /// Sets what messages do from the next transaction on.
    ///
    /// # Errors
    /// The database's.
    pub async fn rule(&self, rules: Rules) -> anyhow::Result<()> {
        sqlx::query("UPDATE rules SET broken = $1, transient = $2, fatal = $3, panic_from = $4, stubborn_below = $5")
            .bind(rules.broken)
            .bind(rules.transient)
            .bind(rules.fatal)
            .bind(rules.panic_from)
            .bind(rules.stubborn_below)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    fn points(&self) -> PathBuf {
        self.stack.folder().join("failpoints.log")
    }

    /// How often a failpoint was reached by all consumers so far.
    #[must_use]
    pub fn reached(&self, point: &str) -> usize {
        let told = std::fs::read_to_string(self.points()).unwrap_or_default();
        told.lines().filter(|line| line.split(' ').next() == Some(point)).count()
    }

    /// Starts a consumer with failpoints, and waits until it has its partitions.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn consumer(&self, failpoints: &str) -> anyhow::Result<Child> {
        let before = self.epochs().await?;
        let mut child = Child::start(&self.role, failpoints, &self.points())?;
        until("the consumer has its partitions", SOON, || {
            let ended = child.ended();
            async move {
                let now = self.epochs().await?;
                Ok(if now > before || ended? { Ok(()) } else { Err(format!("epochs {now}")) })
            }
        })
        .await?;
        Ok(child)
    }

    /// All epochs together: each assignment raises them.
    ///
    /// # Errors
    /// The database's.
    pub async fn epochs(&self) -> anyhow::Result<i64> {
        self.count("SELECT coalesce(sum(epoch), 0)::bigint FROM progress").await
    }

    /// The one number that `sql` yields.
    ///
    /// # Errors
    /// The database's.
    pub async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
    }

    /// The database, as its owner.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// For operators: decisions of this process.
    ///
    /// # Errors
    /// The registry does not answer.
    pub async fn units(&self) -> anyhow::Result<Units> {
        let codec = codec(&self.role.registry).await?;
        let units = Units::new(self.pool.clone(), codec.into(), partitions().into(), std::sync::Arc::default(), std::sync::Arc::default());
        Ok(units.with_retry(retry::Settings { group: GROUP.to_owned(), tiers: tiers()? }))
    }

    /// The bytes of a record.
    ///
    /// # Errors
    /// It does not fit its schema.
    pub fn encode<T: Record>(&self, record: &T) -> anyhow::Result<Vec<u8>> {
        Ok(self.codec.encode(record)?)
    }

    /// The owner writes the next message of `key`; `n` is its correlation. In order, and delivered after [`Letters::flush`].
    ///
    /// # Errors
    /// The producer's queue stays full.
    pub async fn write(&mut self, topic: &'static str, key: &str, n: i64, value: Option<&[u8]>) -> anyhow::Result<()> {
        let partition = record::partition_for(key.as_bytes(), PARTITIONS);
        self.seq += 1;
        let prev = self.chain.insert((topic, partition), self.seq).unwrap_or_default();
        let (id, n) = (Uuid::now_v7().to_string(), n.to_string());
        let (src, seq, prev) = (format!("{OWNER}/1"), self.seq.to_string(), prev.to_string());
        let headers = [("ce_id", &id), ("correlation-id", &n), ("src", &src), ("seq", &seq), ("prev", &prev)]
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let mut record = FutureRecord::to(topic).partition(partition).key(key).headers(headers);
        if let Some(value) = value {
            record = record.payload(value);
        }
        loop {
            match self.producer.send_result(record) {
                // flush tells whether it was delivered
                Ok(delivery) => {
                    drop(delivery);
                    return Ok(());
                }
                Err((error, back)) if error.rdkafka_error_code() == Some(rdkafka::error::RDKafkaErrorCode::QueueFull) => {
                    record = back;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err((error, _)) => return Err(error).context("write a message"),
            }
        }
    }

    /// Writes message `n`, whose key is in its number.
    ///
    /// # Errors
    /// As [`Letters::write`].
    pub async fn note(&mut self, n: i64) -> anyhow::Result<()> {
        let value = self.encode(&Note { n })?;
        self.write(Note::TOPIC, &key(n), n, Some(&value)).await
    }

    /// Waits until everything written is on the topics.
    ///
    /// # Errors
    /// The broker does not take it.
    pub async fn flush(&self) -> anyhow::Result<()> {
        let producer = self.producer.clone();
        Ok(tokio::task::spawn_blocking(move || producer.flush(SOON)).await??)
    }

    /// What the database and the topics hold.
    #[must_use]
    pub fn letterbox(&self) -> Letterbox<'_> {
        Letterbox::new(&self.pool, &self.role.bootstrap)
    }

    /// Stops everything.
    pub async fn end(self) {
        self.stack.shutdown().await;
    }
}

async fn create(bootstrap: &str) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let names = topics()?;
    let position = kafka::relay_topic(GROUP);
    // larger than any record of ours, so that something larger than those can be written
    let mut new: Vec<NewTopic<'_>> =
        names.iter().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)).set("max.message.bytes", "8000000")).collect();
    new.push(NewTopic::new(&position, 1, TopicReplication::Fixed(1)).set("cleanup.policy", "compact"));
    for made in admin.create_topics(&new, &AdminOptions::new()).await? {
        if let Err((topic, code)) = made {
            anyhow::bail!("create topic {topic}: {code}");
        }
    }
    Ok(())
}
