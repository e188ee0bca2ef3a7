use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::{World, nowhere, upstream::Reply};

const PRODUCTS: &str = concat!(
    r#"[{"sku":"A","name":"a","category":"","brand":"","price":{"minor":1,"currency":"USD"},"stock":1},"#,
    r#"{"sku":"B","name":"b","category":"","brand":"","price":{"minor":1,"currency":"USD"},"stock":0}]"#
);

#[actix_web::test]
async fn created_is_answered_once_order_service_knows_every_price() {
    let world = World::new();
    world.inventory.reply(|_| Reply::new(201, r#"{"created":2}"#).header("content-type", "application/json"));
    let asked = AtomicUsize::new(0);
    world.orders.reply(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(503, ""),
        1 => Reply::new(200, r#"{"known":0}"#),
        2 => Reply::new(200, r#"{"known":1}"#),
        _ => Reply::new(200, r#"{"known":2}"#),
    });
    let response = world.post("/v1/products", PRODUCTS).header("x-request-id", "r-1").send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.text().await.unwrap(), r#"{"created":2}"#);
    let questions = world.orders.seen();
    assert_eq!(questions.len(), 4);
    assert_eq!((questions[0].method.as_str(), questions[0].target.as_str()), ("POST", "/internal/prices/known"));
    assert_eq!(questions[0].body, r#"{"skus":["A","B"]}"#);
    assert_eq!(questions[0].header("x-request-id"), Some("r-1"));
    assert_eq!(world.inventory.only().body, PRODUCTS);
}

#[actix_web::test]
async fn a_replayed_answer_waits_as_well() {
    let world = World::new();
    world.inventory.reply(|_| Reply::new(200, r#"{"created":2}"#).header("idempotent-replayed", "true"));
    world.orders.reply(|_| Reply::new(200, r#"{"known":2}"#));
    let response = world.post("/v1/products", format!(r#"{{"products":{PRODUCTS}}}"#)).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["idempotent-replayed"], "true");
}

#[actix_web::test]
async fn accepted_is_answered_when_it_takes_too_long_or_cannot_be_known() {
    let slow = World::with(|config| config.prices_wait = Duration::from_millis(200));
    slow.inventory.reply(|_| Reply::new(201, r#"{"created":2}"#));
    slow.orders.reply(|_| Reply::new(200, r#"{"known":1}"#));
    let started = Instant::now();
    let response = slow.post("/v1/products", PRODUCTS).send().await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.text().await.unwrap(), r#"{"created":2}"#);
    assert!(started.elapsed() >= Duration::from_millis(200));

    let down = World::with(|config| {
        config.prices_wait = Duration::from_millis(200);
        config.orders_url = nowhere();
    });
    down.inventory.reply(|_| Reply::new(201, "{}"));
    assert_eq!(down.post("/v1/products", PRODUCTS).send().await.unwrap().status(), 202);
}

#[actix_web::test]
async fn a_refusal_is_answered_at_once() {
    let world = World::new();
    world.inventory.reply(|_| Reply::new(422, r#"{"code":"duplicate_sku"}"#));
    let response = world.post("/v1/products", PRODUCTS).send().await.unwrap();
    assert_eq!(response.status(), 422);
    assert!(world.orders.seen().is_empty());
}
