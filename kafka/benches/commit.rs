//! What the relay's transactions cost: `cargo bench -p kafka`.
//!
//! 1. One row at a time through the relay: from the COMMIT in PostgreSQL to the committed Kafka transaction. Fails unless
//!    the median is below 20 ms and at least three times below a bare `commit_transaction` on the same broker, which
//!    flushes for 100 ms whenever something is in flight (fede1024/rust-rdkafka#777).
//! 2. A backlog: rows a second, against a producer that does nothing but send the same rows in transactions of the same size.
//!
//! Both halves of a figure are measured in one run; only their ratio can be compared between machines.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark fails loudly and prints its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka::relay::{self, Position};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use record::Topic;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use stack::{Part, Stack};
use tokio::sync::{Notify, watch};

const EVENTS: &str = "commitbench.events";
const RAW: &str = "commitbench.raw";
const PARTITIONS: i32 = 3;
/// Broker and database are warm after these; not counted.
const WARM_UP: usize = 300;
const SINGLE: usize = 500;
const NAIVE: usize = 20;
const MEDIAN_MAX: Duration = Duration::from_millis(20);
const RATIO_MIN: f64 = 3.0;
const BACKLOG_BLOCKS: usize = 20_000;
const ROWS_A_BLOCK: usize = 5;
const PAYLOAD_BYTES: usize = 250;

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to know that it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let stack = Stack::builder().parts([Part::Postgres, Part::Kafka]).start().await.unwrap();
    let database = stack.create_database("orders").await.unwrap();
    let connect: PgConnectOptions = database.owner_url.parse().unwrap();
    let mut db = PgConnection::connect_with(&connect).await.unwrap();
    sqlx::migrate!("./migrations").run(&mut db).await.unwrap();
    sqlx::query("INSERT INTO db_identity (incarnation) VALUES (gen_random_uuid())").execute(&mut db).await.unwrap();
    let topic = |name| Topic { name, owner: "commitbench", key: "key", records: &[] };
    kafka::topics::create(&kafka::Cluster::open(stack.kafka_bootstrap()), "commitbench", &[&topic(EVENTS), &topic(RAW)], PARTITIONS)
        .await
        .unwrap();
    let config = relay::Config { service: "commitbench".to_owned(), bootstrap: stack.kafka_bootstrap(), login: None, connect };
    relay::write_first_position(&config, &[EVENTS]).await.unwrap();

    single(&config, &mut db).await;
    backlog(&config, &mut db).await;
}

struct Running {
    status: Arc<relay::Status>,
    wake: Arc<Notify>,
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<Result<(), relay::Error>>,
}

async fn start(config: &relay::Config) -> Running {
    let (stop, stopped) = watch::channel(false);
    let (status, wake) = (Arc::new(relay::Status::default()), Arc::new(Notify::new()));
    let thread = relay::spawn(config.clone(), tokio::runtime::Handle::current(), Arc::clone(&wake), Arc::clone(&status), stopped);
    while !status.owner() {
        assert!(!thread.is_finished(), "the relay ended");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Running { status, wake, stop, thread }
}

async fn end(running: Running) {
    running.stop.send_replace(true);
    tokio::task::spawn_blocking(move || running.thread.join().unwrap()).await.unwrap().unwrap();
}

/// Appends `rows` rows of one transaction; its block.
async fn append(db: &mut PgConnection, blocks: usize, rows: usize) -> i64 {
    let statement = format!(
        "SELECT max(outbox_append(
             (SELECT array_agg(gen_random_uuid()) FROM generate_series(1, {rows})),
             array_fill('{EVENTS}'::text, ARRAY[{rows}]),
             (SELECT array_agg(((block + ordinal) % {PARTITIONS})::int) FROM generate_series(1, {rows}) ordinal),
             array_fill('\\x6b6579'::bytea, ARRAY[{rows}]),
             array_fill(convert_to($1, 'UTF8'), ARRAY[{rows}]),
             array_fill(convert_to(repeat('x', {PAYLOAD_BYTES}), 'UTF8'), ARRAY[{rows}])))
         FROM generate_series(1, {blocks}) AS block"
    );
    sqlx::query_scalar(AssertSqlSafe(statement)).bind(STORED_HEADERS).fetch_one(db).await.unwrap()
}

const STORED_HEADERS: &str = "ce_id: 0195f4b0-7c11-7000-8000-000000000000\nce_type: orders.OrderPlaced\nce_subject: 0195f4b0-7c11-7000-8000-000000000000\n\
    ce_time: 2026-11-22T00:00:00Z\ncausation-id: 0195f4b0-7c11-5000-8000-000000000000\ncorrelation-id: 0195f4b0-7c11-7000-8000-000000000000\n\
    stream: order-0195f4b0-7c11-7000-8000-000000000000\nstream-version: 1\n";

async fn single(config: &relay::Config, db: &mut PgConnection) {
    let running = start(config).await;
    let mut times = Vec::with_capacity(SINGLE);
    for round in 0..WARM_UP + SINGLE {
        let block = append(db, 1, 1).await;
        let committed = Instant::now();
        running.wake.notify_one();
        while running.status.cursor().unwrap() < block * 8192 {
            assert!(!running.thread.is_finished(), "the relay ended");
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        if round >= WARM_UP {
            times.push(committed.elapsed());
        }
    }
    let doubts = running.status.doubts();
    end(running).await;
    let relayed = percentiles(&mut times);
    let bootstrap = config.bootstrap.clone();
    let mut naive = tokio::task::spawn_blocking(move || naive(&bootstrap)).await.unwrap();
    let bare = percentiles(&mut naive);
    let ratio = bare.0.as_secs_f64() / relayed.0.as_secs_f64();
    println!("one row at a time through the relay: p50 {:.1?} p99 {:.1?}, {doubts} doubts", relayed.0, relayed.1);
    println!("one row and a bare commit_transaction: p50 {:.1?} p99 {:.1?}", bare.0, bare.1);
    println!("ratio {ratio:.1} (must be at least {RATIO_MIN})");
    assert!(relayed.0 < MEDIAN_MAX, "the relay's median is {:?}", relayed.0);
    assert!(ratio >= RATIO_MIN, "a commit through the relay is only {ratio:.1} times as fast as a bare one");
}

fn producer(bootstrap: &str, id: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", id)
        .set("linger.ms", "0")
        .set("compression.type", "none")
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer
}

/// What the obvious code does: begin, send, commit.
fn naive(bootstrap: &str) -> Vec<Duration> {
    let producer = producer(bootstrap, "commitbench.naive");
    (0..NAIVE)
        .map(|_| {
            let started = Instant::now();
            producer.begin_transaction().unwrap();
            producer.send(BaseRecord::to(RAW).partition(0).key("key").payload("value")).map_err(|(error, _)| error).unwrap();
            producer.commit_transaction(Duration::from_secs(30)).unwrap();
            started.elapsed()
        })
        .collect()
}

async fn backlog(config: &relay::Config, db: &mut PgConnection) {
    let last = append(db, BACKLOG_BLOCKS, ROWS_A_BLOCK).await;
    // A block a call: all calls of one statement share a transaction but not a number.
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&mut *db).await.unwrap();
    sqlx::query("VACUUM ANALYZE outbox").execute(&mut *db).await.unwrap();
    let started = Instant::now();
    let running = start(config).await;
    let owner_at = started.elapsed();
    let first = running.status.rows();
    while running.status.cursor().unwrap() < last * 8192 {
        assert!(!running.thread.is_finished(), "the relay ended");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = started.elapsed() - owner_at;
    let (sent, transactions, doubts) = (running.status.rows() - first, running.status.transactions(), running.status.doubts());
    end(running).await;
    let relayed = f64::from(u32::try_from(sent).unwrap()) / took.as_secs_f64();
    let batch = usize::try_from(sent / transactions.max(1)).unwrap();
    let (bootstrap, total) = (config.bootstrap.clone(), BACKLOG_BLOCKS * ROWS_A_BLOCK);
    let raw_took = tokio::task::spawn_blocking(move || raw(&bootstrap, total, batch.max(1))).await.unwrap();
    let raw = f64::from(u32::try_from(total).unwrap()) / raw_took.as_secs_f64();
    println!(
        "backlog: {rows} rows in the outbox, {sent} sent in {took:.2?} after {owner_at:.2?} to become owner, {transactions} transactions of {batch} rows, {doubts} doubts"
    );
    println!("relay {relayed:.0} rows/s, bare producer {raw:.0} rows/s, ratio {:.2}", relayed / raw);
    println!("position {}", Position::topic(&config.service));
}

/// The same rows from memory, with the same headers, two producers in turn, acknowledgements awaited as the relay does.
fn raw(bootstrap: &str, rows: usize, batch: usize) -> Duration {
    let producers = [producer(bootstrap, "commitbench.raw.0"), producer(bootstrap, "commitbench.raw.1")];
    let payload = "x".repeat(PAYLOAD_BYTES);
    let started = Instant::now();
    let mut sent = 0;
    for producer in producers.iter().cycle() {
        if sent >= rows {
            break;
        }
        producer.begin_transaction().unwrap();
        for row in 0..batch.min(rows - sent) {
            let mut headers = OwnedHeaders::new_with_capacity(16);
            for line in STORED_HEADERS.lines() {
                let (name, value) = line.split_once(": ").unwrap();
                headers = headers.insert(Header { key: name, value: Some(value) });
            }
            for name in ["ce_source", "ce_specversion", "content-type", "src", "seq", "prev"] {
                headers = headers.insert(Header { key: name, value: Some("0195f4b0-7c11-7000") });
            }
            let partition = i32::try_from(row).unwrap() % PARTITIONS;
            producer
                .send(BaseRecord::to(RAW).partition(partition).key("key").payload(&payload).headers(headers))
                .map_err(|(error, _)| error)
                .unwrap();
        }
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::ZERO);
            std::thread::sleep(Duration::from_micros(30));
        }
        producer.commit_transaction(Duration::from_secs(30)).unwrap();
        sent += batch;
    }
    started.elapsed()
}

/// Median and 99th percentile.
fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |percent: usize| *times.get(times.len() * percent / 100).expect("times were taken");
    (at(50), at(99))
}
