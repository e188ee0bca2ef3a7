//! Tells the cache what changed in the catalogue: reads `inventory.events` from now on and purges the pages of what it names.
//!
//! It has no group and no position: what it misses while it is down, it makes good by purging the whole catalogue at its start, and a
//! page is kept for seconds only in any case (`edge/varnish.vcl`).

mod changed;

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use kafka::codec::Codec;
use kafka::registry::Registry;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use reqwest::{Client, Method, StatusCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use changed::Changed;

/// Changes that come together are told together: under load, five purges a second and not thousands.
const TOGETHER: Duration = Duration::from_millis(200);
/// An answer that was on its way to the cache when it was purged is there by then: everything is told twice.
const AGAIN: Duration = Duration::from_secs(1);
/// Values read and not yet looked at; more wait on the topic.
const BACKLOG_MAX: usize = 1_000;
const TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

#[derive(Parser)]
#[command(about = "Purges what changed in the catalogue from the cache")]
struct Options {
    /// Kafka, host:port.
    #[arg(long, env = "KAFKA_BOOTSTRAP")]
    kafka_bootstrap: String,
    /// The principal to log in as, by SCRAM-SHA-512; none where Kafka trusts the network it is in.
    #[arg(long, env = "KAFKA_USER", requires = "kafka_password")]
    kafka_user: Option<String>,
    /// Its password.
    #[arg(long, env = "KAFKA_PASSWORD", hide_env_values = true, requires = "kafka_user")]
    kafka_password: Option<String>,
    /// Base of the registry's Confluent-compatible interface.
    #[arg(long, env = "SCHEMA_REGISTRY_URL")]
    schema_registry_url: String,
    /// The caches, each http://host:port, commas between them.
    #[arg(long, env = "VARNISH_URLS", value_delimiter = ',', required = true)]
    varnish_urls: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter("info").json().init();
    let options = Options::parse();
    let registry = Registry::new(&options.schema_registry_url).context("set up the registry's client")?;
    let codec = Codec::new(registry, &[]).context("set up the codec")?;
    let client = Client::builder().timeout(TIMEOUT).no_proxy().build().context("set up the cache's client")?;
    let (values, read) = mpsc::channel(BACKLOG_MAX);
    let config = client_config(&options);
    let reader = tokio::task::spawn_blocking(move || follow(&config, &values));
    tokio::select! {
        ended = reader => ended.context("the reader panicked")?,
        () = tell(&codec, &client, &options.varnish_urls, read) => Ok(()),
    }
}

fn client_config(options: &Options) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &options.kafka_bootstrap).set("group.id", "edge-purge").set("enable.auto.commit", "false");
    config.set("isolation.level", "read_committed");
    if let (Some(user), Some(password)) = (&options.kafka_user, &options.kafka_password) {
        config.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanism", "SCRAM-SHA-512");
        config.set("sasl.username", user).set("sasl.password", password);
    }
    config
}

/// Hands on every value of the topic, from its end on.
fn follow(config: &ClientConfig, values: &mpsc::Sender<Option<Vec<u8>>>) -> anyhow::Result<()> {
    let consumer: BaseConsumer = config.create().context("make a consumer")?;
    let metadata = consumer.fetch_metadata(Some(schemas::topics::INVENTORY_EVENTS), TIMEOUT).context("read the topic's partitions")?;
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
        all.add_partition_offset(schemas::topics::INVENTORY_EVENTS, partition.id(), Offset::End).context("name a partition")?;
    }
    anyhow::ensure!(all.count() > 0, "topic {} has no partitions: set up inventory-service first", schemas::topics::INVENTORY_EVENTS);
    consumer.assign(&all).context("read the topic from its end")?;
    tracing::info!(partitions = all.count(), "following the catalogue");
    loop {
        match consumer.poll(POLL) {
            Some(Ok(record)) if values.blocking_send(record.payload().map(<[u8]>::to_vec)).is_err() => return Ok(()),
            Some(Err(error)) => tracing::warn!(%error, "read inventory.events"), // the client tries again by itself
            Some(Ok(_)) | None => {}
        }
    }
}

/// Tells the caches what changed: soon, and once more when whatever was on its way has arrived. What a cache did not take is told again.
async fn tell(codec: &Codec, client: &Client, caches: &[String], mut values: mpsc::Receiver<Option<Vec<u8>>>) {
    let mut fresh = Changed::everything();
    let mut told = Changed::default();
    let (mut soon, mut again) = (Instant::now(), Instant::now() + AGAIN);
    loop {
        tokio::select! {
            value = values.recv() => match value {
                Some(value) => {
                    if fresh == Changed::default() {
                        soon = Instant::now() + TOGETHER;
                    }
                    fresh.join(read(codec, value.as_deref()).await);
                }
                None => return,
            },
            () = sleep_until(soon), if fresh != Changed::default() => {
                if purge(client, caches, &fresh).await {
                    told.join(std::mem::take(&mut fresh));
                } else {
                    soon = Instant::now() + AGAIN;
                }
            }
            () = sleep_until(again) => {
                again = Instant::now() + AGAIN;
                if !purge(client, caches, &told).await {
                    fresh.join(told);
                }
                told = Changed::default();
            }
        }
    }
}

async fn read(codec: &Codec, value: Option<&[u8]>) -> Changed {
    let mut changed = Changed::default();
    match codec.show(value).await {
        Ok((_, name, body)) => changed.add(&name, &body),
        Err(failure) => {
            tracing::warn!(%failure, "an event that cannot be read: the whole catalogue is purged");
            changed = Changed::everything();
        }
    }
    changed
}

/// Whether every cache has forgotten what changed.
async fn purge(client: &Client, caches: &[String], changed: &Changed) -> bool {
    let (Some(tags), Ok(method)) = (changed.tags(), Method::from_bytes(b"PURGE")) else { return true };
    let mut all = true;
    for cache in caches {
        let answer = client.request(method.clone(), cache).header("X-Purge-Tags", &tags).send().await;
        let status = answer.map(|answer| answer.status());
        if !matches!(status, Ok(StatusCode::NO_CONTENT)) {
            tracing::warn!(cache, ?status, "a cache was not purged; it is asked again");
            all = false;
        }
    }
    all
}
