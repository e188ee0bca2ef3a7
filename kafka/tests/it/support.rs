//! One stack for the whole binary, a database of its own for every test.

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use kafka::codec::Codec;
use kafka::registry::Registry;
use kafka::{Partitions, Units};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use stack::Stack;
use tokio::sync::{Notify, OnceCell};

static STACK: OnceCell<Stack> = OnceCell::const_new();

/// The shared stack: Kafka, registry, PostgreSQL.
pub(crate) async fn stack() -> &'static Stack {
    STACK
        .get_or_init(|| async {
            // What went wrong is told beside the test that failed; a second test binary's subscriber may be there already.
            let filter = tracing_subscriber::EnvFilter::from_default_env();
            drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
            Stack::infrastructure().await.expect("start the stack")
        })
        .await
}

/// A fresh database with the runtime's tables, connected as its owner.
pub(crate) async fn database(name: &str) -> PgPool {
    let database = stack().await.create_database(name).await.expect("create a database");
    let options = PgConnectOptions::from_str(&database.owner_url).unwrap();
    let pool = PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
    sqlx::migrate!("./migrations").run(&pool).await.unwrap();
    sqlx::query("INSERT INTO db_identity (incarnation) VALUES (gen_random_uuid())").execute(&pool).await.unwrap();
    pool
}

/// Creates a topic.
pub(crate) async fn topic(name: &str, partitions: i32) {
    topic_with(name, partitions, &[]).await;
}

/// Creates a topic with settings of its own.
pub(crate) async fn topic_with(name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", stack().await.kafka_bootstrap()).create().unwrap();
    let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
    let results = admin.create_topics(&[new], &AdminOptions::new()).await.unwrap();
    for result in results {
        result.unwrap();
    }
}

/// Units on `pool` that can write `own`: (full name, schema, topic), whose topics have `partitions`, and `more` topics of as
/// many.
pub(crate) async fn units_beside(
    pool: PgPool,
    own: &[(&'static str, &'static str, &'static str)],
    partitions: i32,
    more: &[String],
) -> Units {
    let registry = Registry::new(&stack().await.registry_url()).unwrap();
    let mut ids = Vec::new();
    for (name, schema, topic) in own {
        ids.push((*name, *schema, registry.register(&format!("{topic}-{name}"), schema, |_, _, _| Ok(())).await.unwrap()));
    }
    let codec = Codec::new(registry, &ids).unwrap();
    let names = own.iter().map(|(_, _, topic)| (*topic).to_owned()).chain(more.iter().cloned());
    let partitions = Partitions::new(names.map(|topic| (topic, partitions)));
    Units::new(pool, Arc::new(codec), Arc::new(partitions), Arc::new(Notify::new()), Arc::new(Notify::new()))
}

/// Waits until `condition` yields a value; fails with `what` after 30 s.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} did not happen within 30 s");
        tokio::task::yield_now().await;
        drop(tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await);
    }
}
