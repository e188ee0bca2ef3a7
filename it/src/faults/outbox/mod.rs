//! One service's outbox and relay alone: a database, topics, writers that make life hard, relays as processes, and a judge
//! of what was published.

mod child;
mod judge;
mod topic;
mod writers;

use std::time::Duration;

use anyhow::Context as _;
use kafka::message::HeaderText;
use kafka::relay::{self, Position};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Row as _};
use stack::{Part, Stack};
use uuid::Uuid;

use super::until;
use crate::proxy::{Link, Listening};

pub use child::{Child, Role, serve};
pub use judge::Judgement;
pub use writers::{Committed, Writers};

/// Headers, key and value of a committed record.
type Plain = (Vec<(String, String)>, Vec<u8>, Vec<u8>);

/// Everything committed on `topic`, partition by partition in the order of offsets. Blocks.
///
/// # Errors
/// The broker does not answer in time.
pub(super) fn published(bootstrap: &str, topic: &str, partitions: i32) -> anyhow::Result<Vec<Plain>> {
    Ok(topic::committed(bootstrap, topic, partitions)?.into_iter().map(|record| (record.headers, record.key, record.payload)).collect())
}

/// Partitions of each topic.
pub const PARTITIONS: i32 = 3;
/// Ids of one database transaction. Source: `outbox_append()`.
const BLOCK_IDS: i64 = 8_192;
/// Contended keys.
pub const KEYS: u64 = 40;

/// PostgreSQL and a broker behind a link, for as many outboxes as are wanted.
#[derive(Debug)]
pub struct Infra {
    /// The parts.
    pub stack: Stack,
    /// The broker as the relays reach it.
    pub kafka: Link,
}

impl Infra {
    /// Starts both, the broker with these settings more.
    ///
    /// # Errors
    /// One does not start.
    pub async fn start(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let listening = Listening::at("kafka").await.context("take a port for the broker's proxy")?;
        let mut builder = Stack::builder().parts([Part::Postgres, Part::Kafka]).kafka_behind_proxy(listening.port());
        for (name, value) in settings {
            builder = builder.kafka_setting(*name, *value);
        }
        let stack = builder.start().await?;
        let kafka = listening.forward(stack.kafka_proxied().context("the broker has no listener behind a proxy")?, true);
        Ok(Self { stack, kafka })
    }

    /// Where relays find the broker.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.kafka.port())
    }
}

/// One service's outbox.
#[derive(Debug, Clone)]
pub struct Outbox {
    /// Name of the service.
    pub service: String,
    /// Its event topic.
    pub events: String,
    /// Its command topic.
    pub commands: String,
    /// What its relay is told.
    pub config: relay::Config,
    /// The database, as its owner.
    pub url: String,
    /// Who the database is.
    pub incarnation: Uuid,
    /// The broker past the link, for the judge.
    direct: String,
}

impl Outbox {
    /// A set-up service: tables, topics, first position.
    ///
    /// # Errors
    /// Database or broker refuse.
    pub async fn new(infra: &Infra, name: &str) -> anyhow::Result<Self> {
        let database = infra.stack.create_database("orders").await?;
        let connect: PgConnectOptions = database.owner_url.parse()?;
        let mut db = PgConnection::connect_with(&connect).await?;
        sqlx::migrate!("../kafka/migrations").run(&mut db).await?;
        let identity = "INSERT INTO db_identity (incarnation) VALUES (gen_random_uuid()) RETURNING incarnation";
        let incarnation: Uuid = sqlx::query_scalar(identity).fetch_one(&mut db).await?;
        sqlx::raw_sql(
            "CREATE TABLE versions (key int PRIMARY KEY, version int NOT NULL DEFAULT 0) WITH (fillfactor = 50);
             INSERT INTO versions (key) SELECT generate_series(0, 39);
             CREATE TABLE early (noted int)",
        )
        .execute(&mut db)
        .await?;
        db.close().await?;
        let service = format!("{name}-{}", database.name.rsplit('_').next().unwrap_or_default());
        let (events, commands) = (format!("{service}.events"), format!("{service}.commands"));
        topic::create(&infra.stack.kafka_bootstrap(), &service, &[&events, &commands]).await?;
        let config = relay::Config { service: service.clone(), bootstrap: infra.bootstrap(), login: None, connect };
        relay::write_first_position(&config, &[&events, &commands]).await?;
        Ok(Self { service, events, commands, config, url: database.owner_url, incarnation, direct: infra.stack.kafka_bootstrap() })
    }

    /// A connection to the database.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn db(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect_with(&self.config.connect).await
    }

    /// One transaction's rows: `rows` messages of one key, alternately for both topics; its block number.
    ///
    /// # Errors
    /// The database's.
    pub async fn append(&self, db: &mut PgConnection, key: i32, version: i32, rows: i32) -> sqlx::Result<i64> {
        let text = key.to_string();
        let partition = record::partition_for(text.as_bytes(), PARTITIONS);
        let ids: Vec<Uuid> = (0..rows).map(|_| Uuid::now_v7()).collect();
        let headers: Vec<Vec<u8>> = ids
            .iter()
            .map(|id| {
                let mut text = HeaderText::default();
                text.push("ce_id", &id.to_string());
                text.into_bytes()
            })
            .collect();
        sqlx::query_scalar("SELECT outbox_append($1, $2, $3, $4, $5, $6)")
            .bind(ids)
            .bind((0..rows).map(|row| if row % 2 == 0 { self.events.as_str() } else { self.commands.as_str() }).collect::<Vec<_>>())
            .bind(vec![partition; usize::try_from(rows).unwrap_or(0)])
            .bind((0..rows).map(|_| text.clone().into_bytes()).collect::<Vec<_>>())
            .bind(headers)
            .bind((0..rows).map(|row| format!("{version} {row}").into_bytes()).collect::<Vec<_>>())
            .fetch_one(db)
            .await
    }

    /// The newest committed position.
    ///
    /// # Errors
    /// It cannot be read in time.
    pub async fn position(&self) -> anyhow::Result<Position> {
        // past the link: what a relay may suffer, the judge does not
        let config = relay::Config { bootstrap: self.direct.clone(), ..self.config.clone() };
        Ok(relay::check(&config).await?)
    }

    /// Waits until more has been published than at `cursor`; the new cursor.
    ///
    /// # Errors
    /// That does not happen in time.
    pub async fn progress(&self, cursor: i64, within: Duration) -> anyhow::Result<i64> {
        until(&format!("more than {cursor} is published"), within, || async {
            let now = self.position().await?.cursor;
            Ok(if now > cursor { Ok(now) } else { Err(format!("cursor {now}")) })
        })
        .await
    }

    /// Waits until everything in the outbox is published, or nothing has moved for `patience`: then the judge tells.
    ///
    /// # Errors
    /// The position cannot be read.
    pub async fn drained(&self, patience: Duration) -> anyhow::Result<()> {
        let last: i64 = sqlx::query("SELECT coalesce(max(id), 0) FROM outbox").fetch_one(&mut self.db().await?).await?.get(0);
        let (mut cursor, mut moved) = (-1, std::time::Instant::now());
        loop {
            let now = self.position().await?.cursor;
            if now != cursor {
                (cursor, moved) = (now, std::time::Instant::now());
            }
            if now >= last || moved.elapsed() > patience {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
