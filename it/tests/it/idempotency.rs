//! One key, one order; one key, one receipt.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;

use crate::client::{Client, order};
use crate::system::Shared;

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_time_whatever_became_of_the_order() {
    let system = Shared::enter().await;
    let client = system.client("repeater");
    client.create(&["repeat-1"], 100, 10).await;
    let body = order(&[("repeat-1", 1)], "tok_ok");
    let first = client.place("repeat-key", &body).await.expect(202);
    assert_eq!(first.header("Idempotent-Replayed"), None);
    client.ended(first.id()).await;
    let again = client.place("repeat-key", &body).await.expect(202);
    assert_eq!(again.header("Idempotent-Replayed"), Some("true"));
    assert_eq!((again.id(), &again.bytes), (first.id(), &first.bytes));
    assert_eq!(client.available("repeat-1").await, 9);
    system.verdict().await;
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_and_with_another_customer_is_another_key() {
    let system = Shared::enter().await;
    let client = system.client("reuser");
    client.create(&["reuse-1"], 100, 10).await;
    let first = client.place("reuse-key", &order(&[("reuse-1", 1)], "tok_ok")).await.expect(202).id();
    let refused = client.place("reuse-key", &order(&[("reuse-1", 2)], "tok_ok")).await.expect(422);
    assert_eq!(refused.code(), "idempotency_key_reused");
    let other = client.of("reuser-2").place("reuse-key", &order(&[("reuse-1", 2)], "tok_ok")).await.expect(202).id();
    assert_ne!(first, other);
    client.ended(first).await;
    client.of("reuser-2").ended(other).await;
    assert_eq!(client.available("reuse-1").await, 7);
    system.verdict().await;
}

#[tokio::test]
async fn a_hundred_posts_at_once_with_one_key_make_one_order() {
    let system = Shared::enter().await;
    let client = system.client("hundred");
    client.create(&["hundred-1"], 100, 1_000).await;
    let body = order(&[("hundred-1", 1)], "tok_ok");
    let answers = join_all((0..100).map(|_| client.place("hundred-key", &body))).await;
    let mut ids = BTreeSet::new();
    for answer in &answers {
        match answer.status {
            202 => {
                ids.insert(answer.id());
            }
            409 => assert_eq!(answer.code(), "request_in_flight"),
            429 | 503 => assert!(answer.header("Retry-After").is_some()),
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let id = *ids.first().unwrap();
    assert_eq!(client.place("hundred-key", &body).await.expect(202).id(), id);
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    let orders = system.count("orders", "SELECT count(*) FROM orders WHERE customer_id = $1", "hundred").await;
    assert_eq!((orders, client.available("hundred-1").await), (1, 999));
    system.verdict().await;
}

#[tokio::test]
async fn a_receipt_counts_once_by_its_key() {
    let system = Shared::enter().await;
    let client = system.client("clerk");
    client.create(&["receipt-1"], 100, 5).await;
    let body = json!([{"sku": "receipt-1", "units": 7}]);
    let first = client.post("/v1/stock", "receipt-key", &body).await.expect(200);
    let again = client.post("/v1/stock", "receipt-key", &body).await.expect(200);
    assert_eq!(first.json(), again.json());
    assert_eq!(client.available("receipt-1").await, 12);
    let other = client.post("/v1/stock", "receipt-key", &json!([{"sku": "receipt-1", "units": 8}])).await.expect(422);
    assert_eq!(other.code(), "idempotency_key_reused");
    assert_eq!(client.available("receipt-1").await, 12);
    system.verdict().await;
}
