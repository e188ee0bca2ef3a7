//! The ways of an order that need no help from outside.

use futures_util::stream::{self, StreamExt as _};

use crate::client::{Client, order};
use crate::system::Shared;

#[tokio::test]
async fn an_order_is_confirmed_and_its_units_leave_the_shop() {
    let system = Shared::enter().await;
    let client = system.client("happy");
    client.create(&["happy-1", "happy-2"], 250, 10).await;
    let key = "happy-order";
    let answer = client.place(key, &order(&[("happy-1", 2), ("happy-2", 1)], "tok_ok")).await.expect(202);
    let id = answer.id();
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(answer.header("Location"), Some(format!("/v1/orders/{id}").as_str()));
    assert_eq!(answer.json()["status"], "PENDING");
    let order = client.ended(id).await;
    Client::assert_ended(&order, "CONFIRMED", None);
    assert_eq!(order["total"], serde_json::json!({"minor": 750, "currency": "USD"}));
    assert_eq!(order["lines"][0], serde_json::json!({"sku": "happy-1", "quantity": 2, "unit_price": order["lines"][0]["unit_price"]}));
    assert_eq!(client.available("happy-1").await, 8);
    assert_eq!(client.available("happy-2").await, 9);
    let refused = client.cancel(id).await.expect(409);
    assert_eq!(refused.code(), "order_already_confirmed");
    assert_eq!(client.order(id).await["status"], "CONFIRMED");
    system.verdict().await;
}

#[tokio::test]
async fn an_order_beyond_the_stock_is_cancelled_whole() {
    let system = Shared::enter().await;
    let client = system.client("short");
    client.create(&["short-1", "short-2"], 100, 3).await;
    let id = client.placed(&[("short-1", 3), ("short-2", 4)], "tok_ok").await;
    Client::assert_ended(&client.ended(id).await, "CANCELLED", Some("out_of_stock"));
    assert_eq!(client.available("short-1").await, 3);
    assert_eq!(client.available("short-2").await, 3);
    let again = client.cancel(id).await.expect(200);
    assert_eq!(again.json()["status"], "CANCELLED");
    system.verdict().await;
}

#[tokio::test]
async fn a_declined_payment_releases_the_stock() {
    let system = Shared::enter().await;
    let client = system.client("declined");
    client.create(&["declined-1"], 100, 5).await;
    let id = client.placed(&[("declined-1", 5)], "tok_declined").await;
    Client::assert_ended(&client.ended(id).await, "CANCELLED", Some("payment_declined"));
    assert_eq!(client.available("declined-1").await, 5);
    system.verdict().await;
}

/// The refusal of the card and the request to capture race in payment-service: whoever is second must see the first.
#[tokio::test]
async fn payments_declined_by_the_hundred_leave_no_call_open() {
    let system = Shared::enter().await;
    let client = system.client("declined-many");
    client.create(&["declined-many-1"], 100, 10_000).await;
    let ids: Vec<uuid::Uuid> = stream::iter(0..400)
        .map(|number| {
            let client = &client;
            async move {
                client
                    .place_surely(&format!("declined-many-{number}"), &order(&[("declined-many-1", 1)], "tok_declined"))
                    .await
                    .expect(202)
                    .id()
            }
        })
        .buffer_unordered(64)
        .collect()
        .await;
    for id in ids {
        Client::assert_ended(&client.ended(id).await, "CANCELLED", Some("payment_declined"));
    }
    assert_eq!(client.available("declined-many-1").await, 10_000);
    system.rest().await;
    system.verdict().await;
}

#[tokio::test]
async fn a_slow_a_flaky_and_a_silent_provider_still_capture_once() {
    let system = Shared::enter().await;
    let client = system.client("moody");
    client.create(&["moody-1"], 100, 50).await;
    let mut ids = Vec::new();
    for token in ["tok_slow", "tok_flaky", "tok_timeout", "tok_anything_else"] {
        ids.push(client.placed(&[("moody-1", 1)], token).await);
    }
    for id in ids {
        Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    }
    assert_eq!(client.available("moody-1").await, 46);
    system.verdict().await;
}

/// The stock runs short within 100 ms, the authorisation takes 300: the void meets it in flight.
#[tokio::test]
async fn a_void_that_meets_an_authorisation_in_flight_leaves_nothing_authorized() {
    let system = Shared::enter().await;
    let client = system.client("in-flight");
    client.create(&["in-flight-1"], 100, 1).await;
    for _ in 0..5 {
        let id = client.placed(&[("in-flight-1", 2)], "tok_slow").await;
        Client::assert_ended(&client.ended(id).await, "CANCELLED", Some("out_of_stock"));
        let stream = format!("payment-{id}");
        let key: uuid::Uuid = sqlx::query_scalar("SELECT key FROM effects WHERE stream = $1 AND step = 'authorize'")
            .bind(&stream)
            .fetch_optional(&mut system.sql("payments").await)
            .await
            .unwrap()
            .unwrap_or_default();
        let open = system
            .count("provider", "SELECT count(*) FROM operations WHERE state = 'authorized' AND auth_key::text = $1", &key.to_string())
            .await;
        assert_eq!(open, 0, "order {id} left an authorisation open");
    }
    system.verdict().await;
}

#[tokio::test]
async fn nobody_sees_or_cancels_the_order_of_another() {
    let system = Shared::enter().await;
    let client = system.client("owner");
    client.create(&["private-1"], 100, 5).await;
    let id = client.placed(&[("private-1", 1)], "tok_ok").await;
    let thief = client.of("thief");
    assert_eq!(thief.get(&format!("/v1/orders/{id}")).await.expect(404).code(), "order_not_found");
    assert_eq!(thief.cancel(id).await.expect(404).code(), "order_not_found");
    assert_eq!(thief.get("/v1/orders").await.expect(200).json()["data"], serde_json::json!([]));
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    system.verdict().await;
}

#[tokio::test]
async fn orders_are_listed_newest_first_page_by_page() {
    let system = Shared::enter().await;
    let client = system.client("pager");
    client.create(&["paged-1"], 100, 50).await;
    let mut placed = Vec::new();
    for _ in 0..7 {
        placed.push(client.placed(&[("paged-1", 1)], "tok_ok").await);
    }
    placed.reverse();
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/orders?limit=3{after}")).await.expect(200).json();
        let ids = page["data"].as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap());
        listed.extend(ids);
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
        assert!(listed.len() <= 9, "pages without end");
    }
    assert_eq!(listed, placed);
    for id in placed {
        client.ended(id).await;
    }
    system.verdict().await;
}
