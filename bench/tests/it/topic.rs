//! Watching decisions in a real topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::client::Client;
use bench::flight::{Decision, Flight, Placed};
use bench::watch::{self, Source, kafka};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use stack::{Part, Stack};
use uuid::Uuid;

const WAIT: Duration = Duration::from_secs(20);

fn producer(bootstrap: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", bootstrap).set("transactional.id", "test").create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    producer
}

fn send(producer: &BaseProducer, kind: &str, id: Uuid) {
    let headers = OwnedHeaders::new()
        .insert(Header { key: "ce_type", value: Some(kind) })
        .insert(Header { key: "ce_time", value: Some("2026-11-23T05:00:00.25Z") });
    let key = id.to_string();
    producer.send(BaseRecord::to("orders.events").key(&key).payload("x").headers(headers)).unwrap();
}

fn placed(id: Uuid) -> Placed {
    Placed { id, customer: "c".into(), sent_at: Instant::now(), placed_at: None, measured: true }
}

async fn until(what: impl Fn() -> bool) {
    let started = Instant::now();
    while !what() {
        assert!(started.elapsed() < WAIT, "waited too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn committed_decisions_after_the_start_are_seen_and_no_others() {
    let stack = Stack::builder().parts([Part::Kafka]).start().await.unwrap();
    let bootstrap = stack.kafka_bootstrap();
    let flight = Arc::new(Flight::default());
    let client = Arc::new(Client::new("http://127.0.0.1:1", Duration::ZERO, None).unwrap());
    let source = Source::Kafka(bootstrap.clone());
    let missing = watch::start(&source, &flight, &client).await;
    assert!(matches!(missing, Err(kafka::Error::NoTopic | kafka::Error::Kafka(_))), "{missing:?}");

    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", &bootstrap).create().unwrap();
    let topic = NewTopic::new("orders.events", 3, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let producer = producer(&bootstrap);
    let (before, aborted, cancelled, confirmed) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3), Uuid::from_u128(4));
    producer.begin_transaction().unwrap();
    send(&producer, "orders.OrderConfirmed", before);
    producer.commit_transaction(WAIT).unwrap();

    let watch = watch::start(&source, &flight, &client).await.unwrap();
    for id in [before, aborted, cancelled, confirmed] {
        flight.placed(placed(id), None);
    }
    producer.begin_transaction().unwrap();
    send(&producer, "orders.OrderConfirmed", aborted);
    producer.flush(WAIT).unwrap();
    producer.abort_transaction(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, "orders.OrderCancelled", cancelled);
    send(&producer, "orders.OrderPlaced", aborted);
    producer.commit_transaction(WAIT).unwrap();
    until(|| flight.done_count() == 1).await;
    producer.begin_transaction().unwrap();
    send(&producer, "orders.OrderConfirmed", confirmed);
    producer.commit_transaction(WAIT).unwrap();
    until(|| flight.done_count() == 2).await;
    drop(watch);

    let done: Vec<_> =
        flight.take_done().into_iter().map(|done| (done.placed.id, done.decision, done.decided_at.unwrap().to_string())).collect();
    let at = "2026-11-23T05:00:00.25Z".to_owned();
    assert_eq!(done, [(cancelled, Decision::Cancelled, at.clone()), (confirmed, Decision::Confirmed, at)]);
    assert_eq!(flight.open_count(), 2, "what came before the start or was aborted is not seen");
    stack.shutdown().await;
}
