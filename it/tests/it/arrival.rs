//! Topics are not ordered between each other. To hold back `orders.events` alone, a test opens a Kafka transaction on it:
//! `read_committed` readers wait at it until it is aborted, while the command topics flow. Its records are aborted, so no
//! reader ever sees them, and the checker is not told of them.
//!
//! A command that overtakes its own compensation on the *same* topic cannot be made here (one key's messages keep one order
//! until retry tiers exist): the domain crates' properties and the services' handler tests show that case.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use uuid::Uuid;

use crate::client::Client;
use crate::system::{Exclusive, OUR_OWN, System};
use crate::wait::{SOON, until};

/// Holds back what is written to all partitions of a topic until it is released.
struct HeldBack(BaseProducer);

impl HeldBack {
    fn topic(system: &System, topic: &str) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", system.stack.kafka_bootstrap())
            .set("transactional.id", format!("it-{}", Uuid::now_v7()))
            .set("transaction.timeout.ms", "120000")
            .create()
            .unwrap();
        producer.init_transactions(SOON).unwrap();
        producer.begin_transaction().unwrap();
        let partitions = producer.client().fetch_metadata(Some(topic), SOON).unwrap().topics()[0].partitions().len();
        for partition in 0..i32::try_from(partitions).unwrap() {
            producer.send(BaseRecord::<str, str>::to(topic).partition(partition).key(OUR_OWN).payload("")).unwrap();
        }
        producer.flush(SOON).unwrap();
        Self(producer)
    }

    fn release(self) {
        self.0.abort_transaction(SOON).unwrap();
    }
}

#[tokio::test]
async fn a_capture_that_arrives_before_the_order_is_paid_once() {
    let system = Exclusive::enter().await;
    let client = system.client("overtaken");
    client.create(&["overtaken-1"], 100, 5).await;
    let held_back = HeldBack::topic(&system, "orders.events");
    let id = client.placed(&[("overtaken-1", 2)], "tok_ok").await;
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    held_back.release();
    projected(&system, "overtaken-1", 2).await;
    let captured = "SELECT coalesce(sum(captured_minor), 0)::bigint FROM payments WHERE order_id::text = $1";
    assert_eq!(system.count("payments", captured, &id.to_string()).await, 200);
    system.verdict().await;
}

#[tokio::test]
async fn an_order_that_arrives_after_its_void_is_never_authorized() {
    let system = Exclusive::enter().await;
    let client = system.client("undone");
    client.create(&["undone-1"], 100, 1).await;
    let held_back = HeldBack::topic(&system, "orders.events");
    let id = client.placed(&[("undone-1", 2)], "tok_ok").await;
    Client::assert_ended(&client.ended(id).await, "CANCELLED", Some("out_of_stock"));
    held_back.release();
    projected(&system, "undone-1", 2).await;
    let authorized = "SELECT count(*) FROM events WHERE stream = 'payment-' || $1 AND type = 'payments.PaymentAuthorized'";
    assert_eq!(system.count("payments", authorized, &id.to_string()).await, 0);
    system.verdict().await;
}

/// Waits until the held-back order was read: inventory counts its units as demand. Payments reads the same partitions.
async fn projected(system: &System, sku: &str, units: i64) {
    until("the order arrives at last", SOON, || async {
        match system.count("inventory", "SELECT coalesce(sum(units), 0)::bigint FROM demand WHERE sku = $1", sku).await {
            seen if seen == units => Ok(()),
            seen => Err(seen),
        }
    })
    .await;
    // payments has read as far as inventory once its progress on orders.events is at least inventory's
    let read = "SELECT coalesce(sum(next_offset), 0)::bigint FROM progress WHERE topic = $1";
    let target = system.count("inventory", read, "orders.events").await;
    until("payments has read it too", SOON, || async {
        let seen = system.count("payments", read, "orders.events").await;
        if seen >= target { Ok(()) } else { Err((seen, target)) }
    })
    .await;
    tokio::time::timeout(Duration::from_secs(60), settled(system)).await.unwrap();
}

/// No call to the provider is under way.
async fn settled(system: &System) {
    until("the provider has answered everything", SOON, || async {
        let open = system.open_calls().await;
        if open.is_empty() { Ok(()) } else { Err(open) }
    })
    .await;
}
