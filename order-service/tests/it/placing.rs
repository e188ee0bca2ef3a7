//! Placing orders: idempotency, group commit, refusals that leave nothing behind.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use sqlx::Row;
use tokio::time::{Instant, sleep};
use uuid::Uuid;
use values::OrderId;

use crate::world::{World, body, name, problem, world};

#[tokio::test]
async fn a_placed_order_is_priced_by_the_server() {
    let world = world().await;
    let placed = world.place("ann", &name("key"), &body(&[("apple", 3), ("pear", 2)])).await;
    assert_eq!(placed.status(), StatusCode::ACCEPTED);
    assert!(placed.headers().get("idempotent-replayed").is_none());
    let location = placed.headers()["location"].to_str().unwrap().to_owned();
    let order: serde_json::Value = placed.json().await.unwrap();
    assert_eq!(location, format!("/v1/orders/{}", order["id"].as_str().unwrap()));
    assert_eq!(order["status"], "PENDING");
    assert_eq!(order["total"], serde_json::json!({"minor": 950, "currency": "USD"}));
    assert_eq!(order["lines"][0], serde_json::json!({"sku": "apple", "quantity": 3, "unit_price": {"minor": 250, "currency": "USD"}}));
    assert_eq!(order["reason"], serde_json::Value::Null);
    let read: serde_json::Value = world.get(&location, "ann").send().await.unwrap().json().await.unwrap();
    assert_eq!(read, order);
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_and_another_body_is_refused() {
    let (world, customer) = (world().await, name("customer"));
    let first = world.place(&customer, "k", &body(&[("apple", 1)])).await.text().await.unwrap();
    // The same thing said with other white space.
    let again = world.place(&customer, "k", &body(&[("apple", 1)]).replace(':', " : ")).await;
    assert_eq!((again.status(), &again.headers()["idempotent-replayed"]), (StatusCode::ACCEPTED, &"true".parse().unwrap()));
    assert_eq!(again.text().await.unwrap(), first);
    let other = world.place(&customer, "k", &body(&[("apple", 2)])).await;
    assert_eq!(problem(other).await, (422, "idempotency_key_reused".to_owned(), vec![]));
    let neighbour = world.place(&name("customer"), "k", &body(&[("apple", 1)])).await;
    assert!(neighbour.headers().get("idempotent-replayed").is_none());
}

#[tokio::test]
async fn a_repeat_is_answered_as_placed_whatever_became_of_the_order() {
    let order = world().await.order().await;
    assert_eq!(order.cancel().await.status(), StatusCode::ACCEPTED);
    let again: contract::Order = order.world.place(&order.customer, "1", &body(&[("apple", 1)])).await.json().await.unwrap();
    assert_eq!((again.id, again.status, again.reason), (order.id, contract::OrderStatus::Pending, None));
}

#[tokio::test]
async fn requests_at_once_with_one_key_place_one_order() {
    let (world, customer) = (world().await, name("customer"));
    let say = body(&[("apple", 1)]);
    let answers = join_all((0..60).map(|_| world.place(&customer, "k", &say))).await;
    let (mut ids, mut fresh) = (Vec::new(), 0);
    for answer in answers {
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        fresh += i32::from(answer.headers().get("idempotent-replayed").is_none());
        ids.push(answer.json::<contract::Order>().await.unwrap().id);
    }
    ids.dedup();
    assert_eq!((ids.len(), fresh), (1, 1));
}

#[tokio::test]
async fn many_requests_at_once_each_get_their_own_order() {
    let (world, customer) = (world().await, name("customer"));
    let place = async |n: i64| {
        let units = 1 + n % 7;
        let answer = world.place(&customer, &n.to_string(), &body(&[("pear", units)])).await;
        let order: contract::Order = answer.json().await.unwrap();
        assert_eq!(order.total.minor(), 100 * units);
        order.id
    };
    let mut ids = join_all((0..200).map(place)).await;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

#[tokio::test]
async fn a_refused_order_leaves_nothing_behind() {
    let (world, customer) = (world().await, name("customer"));
    let unknown = world.place(&customer, "k", &body(&[("apple", 1), ("unicorn", 1), ("gnome", 2)])).await;
    assert_eq!(problem(unknown).await, (422, "unknown_sku".to_owned(), vec!["/lines/1/sku".to_owned(), "/lines/2/sku".to_owned()]));
    let overflow = world.place(&customer, "k", &body(&[("gold", 2)])).await;
    assert_eq!(problem(overflow).await, (422, "total_overflow".to_owned(), vec!["/lines".to_owned()]));
    let mixed = world.place(&customer, "k", &body(&[("apple", 1), ("brie", 1)])).await;
    assert_eq!(problem(mixed).await.1, "mixed_currencies");
    let twice = world.place(&customer, "k", &body(&[("apple", 1), ("apple", 1)])).await;
    assert_eq!(problem(twice).await, (422, "duplicate_sku".to_owned(), vec!["/lines/1/sku".to_owned()]));
    let left = sqlx::query(
        "SELECT (SELECT count(*) FROM orders WHERE customer_id = $1) AS orders, (SELECT count(*) FROM idempotency WHERE scope LIKE $1 || ':%') AS keys",
    )
    .bind(&customer)
    .fetch_one(&mut world.reader().await)
    .await
    .unwrap();
    assert_eq!((left.get::<i64, _>("orders"), left.get::<i64, _>("keys")), (0, 0));
    // And the key is free.
    assert_eq!(world.place(&customer, "k", &body(&[("apple", 1)])).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn headers_are_required() {
    let world = world().await;
    let request = || crate::world::client().post(world.post("/v1/orders", "x").build().unwrap().url().clone());
    let json = |request: reqwest::RequestBuilder| request.header("content-type", "application/json").body(body(&[("apple", 1)])).send();
    assert_eq!(problem(json(request()).await.unwrap()).await.1, "unauthenticated");
    assert_eq!(problem(json(request().header("x-customer-id", "ann")).await.unwrap()).await.1, "idempotency_key_required");
    let invalid = request().header("x-customer-id", "ann").header("idempotency-key", "a b");
    assert_eq!(problem(json(invalid).await.unwrap()).await.1, "idempotency_key_invalid");
    assert_eq!(problem(world.get("/v1/nothing", "ann").send().await.unwrap()).await.1, "not_found");
    assert_eq!(problem(world.post("/v1/orders/x", "ann").send().await.unwrap()).await.1, "method_not_allowed");
}

#[tokio::test]
async fn a_key_in_an_open_transaction_is_in_flight_and_does_not_stop_the_others() {
    let (world, customer) = (world().await, name("customer"));
    let pool = world.intruder().await;
    let mut open = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO idempotency (scope, key, request_hash, order_id) VALUES ($1, 'k', '\\x00', gen_random_uuid())")
        .bind(format!("{customer}:POST /v1/orders"))
        .execute(&mut *open)
        .await
        .unwrap();
    let (began, say) = (Instant::now(), body(&[("apple", 1)]));
    let (blocked, neighbour) = tokio::join!(world.place(&customer, "k", &say), async {
        let placed = world.place(&name("customer"), "k", &say).await;
        (placed.status(), began.elapsed())
    });
    assert_eq!(blocked.headers()["retry-after"], "1");
    assert_eq!(problem(blocked).await, (409, "request_in_flight".to_owned(), vec![]));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(neighbour.0 == StatusCode::ACCEPTED && neighbour.1 < Duration::from_secs(3), "{neighbour:?}");
    open.rollback().await.unwrap();
    assert_eq!(world.place(&customer, "k", &body(&[("apple", 1)])).await.status(), StatusCode::ACCEPTED);
}

/// The answer to a COMMIT is lost on the wire: the batch is redone with the same order ids and finds its own orders.
#[tokio::test]
async fn a_lost_commit_answer_is_found_out_and_answered_as_placed() {
    let (world, customer) = (world().await, name("customer"));
    let lost_before = world.log().matches("a lost COMMIT is redone").count();
    world.commits_to_lose.store(5, Ordering::SeqCst);
    let mut answered = Vec::new();
    for n in 0..8_i64 {
        let answer = world.place(&customer, &n.to_string(), &body(&[("pear", 1 + n)])).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        assert!(answer.headers().get("idempotent-replayed").is_none());
        answered.push(answer.json::<contract::Order>().await.unwrap().id);
    }
    assert!(world.log().matches("a lost COMMIT is redone").count() > lost_before);
    assert_eq!(orders_of(world, &customer).await, answered);
}

/// Backends are killed in the middle of placements: whoever asks again under the same key finds one order, the same one.
#[tokio::test]
async fn killed_backends_place_no_order_twice() {
    let (world, customer) = (world().await, name("customer"));
    let pool = world.intruder().await;
    let kill = async {
        for _ in 0..40 {
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'orders-1' AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock'
                   AND (query LIKE 'COMMIT%' OR query LIKE 'INSERT INTO idempotency%' OR query LIKE 'INSERT INTO orders%')",
            )
            .execute(&pool)
            .await
            .unwrap();
            sleep(Duration::from_millis(30)).await;
        }
    };
    let ask = async |n: i64| {
        let (key, say) = (n.to_string(), body(&[("pear", 1 + n)]));
        loop {
            let answer = world.place(&customer, &key, &say).await;
            match answer.status() {
                StatusCode::ACCEPTED => return answer.json::<contract::Order>().await.unwrap().id,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT => sleep(Duration::from_millis(20)).await,
                other => panic!("{other}: {}", answer.text().await.unwrap()),
            }
        }
    };
    let rounds = async {
        let mut all = Vec::new();
        for round in 0..20_i64 {
            all.extend(join_all((0..20).map(|n| ask(round * 20 + n))).await);
        }
        all
    };
    let ((), answered) = tokio::join!(kill, rounds);
    assert_eq!(orders_of(world, &customer).await, answered);
}

/// The customer's orders by total.
async fn orders_of(world: &World, customer: &str) -> Vec<OrderId> {
    let stored: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM orders WHERE customer_id = $1 ORDER BY total_minor")
        .bind(customer)
        .fetch_all(&mut world.reader().await)
        .await
        .unwrap();
    stored.into_iter().map(OrderId::from).collect()
}
