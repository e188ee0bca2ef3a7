//! What HTTP promises beside the orders themselves: versions, waiting, the story, limits.

use std::time::Duration;

use contract::{OrderEvents, OrderStatus};
use reqwest::{Response, StatusCode};
use sqlx::Connection as _;
use tokio::time::Instant;

use crate::world::{Order, body, name, problem, world};

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn an_order_has_a_version_that_reads_and_cancels_can_name() {
    let order = world().await.order().await;
    let (world, path) = (order.world, format!("/v1/orders/{}", order.id));
    let tag = header(&world.get(&path, &order.customer).send().await.unwrap(), "etag");
    assert_eq!(tag, "\"1\"");
    let known = world.get(&path, &order.customer).header("if-none-match", format!("\"7\", W/{tag}")).send().await.unwrap();
    assert_eq!((known.status(), header(&known, "etag")), (StatusCode::NOT_MODIFIED, tag.clone()));
    let other = world.get(&path, &order.customer).header("if-none-match", "\"7\"").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::OK);
    let cancel = |tag: &str| world.post(&format!("{path}/cancel"), &order.customer).header("if-match", tag.to_owned()).send();
    let (status, code, _) = problem(cancel("\"7\"").await.unwrap()).await;
    assert_eq!((status, code.as_str()), (412, "precondition_failed"));
    assert_eq!(order.read().await.status, OrderStatus::Pending);
    let cancelled = cancel(&tag).await.unwrap();
    assert_eq!((cancelled.status(), header(&cancelled, "etag")), (StatusCode::ACCEPTED, "\"2\"".to_owned()));
    // Its saga's end shows as well, and so has another tag.
    order.released().await;
    order.voided().await;
    order.ended().await;
    assert_eq!(header(&world.get(&path, &order.customer).send().await.unwrap(), "etag"), "\"2.ended\"");
    assert_eq!(problem(cancel(&tag).await.unwrap()).await.1, "precondition_failed");
    assert_eq!(cancel("*").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_list_links_to_its_next_page() {
    let (world, customer) = (world().await, name("customer"));
    for n in 0..3 {
        assert_eq!(world.place(&customer, &n.to_string(), &body(&[("apple", 1)])).await.status(), StatusCode::ACCEPTED);
    }
    let page = world.get("/v1/orders?limit=2", &customer).send().await.unwrap();
    let link = header(&page, "link");
    let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap().to_owned();
    let page = world.get(&next, &customer).send().await.unwrap();
    assert_eq!(header(&page, "link"), "");
    assert_eq!(page.json::<contract::Page<contract::Order>>().await.unwrap().data.len(), 1);
}

#[tokio::test]
async fn a_client_that_prefers_to_wait_hears_of_the_end() {
    let (world, customer) = (world().await, name("customer"));
    let place = |key: &'static str, wait: &'static str| {
        let request = world.post("/v1/orders", &customer).header("idempotency-key", key).header("prefer", wait);
        request.header("content-type", "application/json").body(body(&[("apple", 1)])).send()
    };
    let began = Instant::now();
    let undecided = place("k1", "wait=1").await.unwrap();
    assert_eq!((undecided.status(), header(&undecided, "preference-applied")), (StatusCode::ACCEPTED, String::new()));
    assert!(began.elapsed() >= Duration::from_secs(1));
    let id = undecided.json::<contract::Order>().await.unwrap().id;
    let order = Order { world, customer: customer.clone(), id };
    // The same key again, while its stock is refused: the answer is the order as it ended.
    let (ended, ()) = tokio::join!(place("k1", "wait=8"), async {
        order.rejected().await;
        order.sent("VoidPayment").await;
        order.voided().await;
    });
    let ended = ended.unwrap();
    assert_eq!((ended.status(), header(&ended, "preference-applied").as_str()), (StatusCode::OK, "wait"));
    assert_eq!(header(&ended, "idempotent-replayed"), "true");
    let shown: contract::Order = ended.json().await.unwrap();
    assert_eq!((shown.id, shown.status), (id, OrderStatus::Cancelled));
    let read = world.get(&format!("/v1/orders/{id}"), &customer).header("prefer", "wait=5").send().await.unwrap();
    assert_eq!((read.status(), header(&read, "preference-applied").as_str()), (StatusCode::OK, "wait"));
}

async fn told(order: &Order<'_>, query: &str) -> OrderEvents {
    let path = format!("/internal/orders/{}/events?{query}", order.id);
    let response = order.world.get(&path, &order.customer).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

#[tokio::test]
async fn the_story_of_an_order_is_told_from_any_place_without_gap_or_repeat() {
    let order = world().await.order().await;
    let first = told(&order, "").await;
    let kinds: Vec<&str> = first.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!((&kinds[..2], first.ended), (&["SagaStarted", "OrderPlaced"][..], false));
    // Who waits is woken by what happens next.
    let known = first.events.len();
    let began = Instant::now();
    let query = format!("after={known}&wait_ms=8000");
    let (next, ()) = tokio::join!(told(&order, &query), order.reserved());
    assert!(!next.events.is_empty() && began.elapsed() < Duration::from_secs(8));
    assert_eq!(next.events[0].sequence, u64::try_from(known).unwrap() + 1);
    order.sent("CapturePayment").await;
    order.captured().await;
    order.status(OrderStatus::Confirmed).await;
    order.committed().await;
    order.ended().await;
    let whole = told(&order, "after=0").await;
    assert!(whole.ended);
    assert_eq!(whole.events[..known], first.events);
    assert_eq!(whole.events.last().unwrap().kind, "SagaEnded");
    assert!(whole.events.iter().any(|event| event.kind == "OrderConfirmed"));
    for known in 0..=whole.events.len() {
        let rest = told(&order, &format!("after={known}&wait_ms=8000")).await;
        assert_eq!((rest.events.as_slice(), rest.ended), (&whole.events[known..], true));
    }
    let sequences: Vec<u64> = whole.events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=u64::try_from(whole.events.len()).unwrap()).collect::<Vec<_>>());
    let path = |query: &str| format!("/internal/orders/{}/events?{query}", order.id);
    let refused = |query: &str, customer: &str| order.world.get(&path(query), customer).send();
    let beyond = format!("after={}", whole.events.len() + 1);
    assert_eq!(problem(refused(&beyond, &order.customer).await.unwrap()).await.1, "invalid_event_id");
    assert_eq!(problem(refused("after=x", &order.customer).await.unwrap()).await.1, "invalid_query");
    assert_eq!(problem(refused("", "mallory").await.unwrap()).await.1, "order_not_found");
}

#[tokio::test]
async fn a_customer_may_not_hoard_open_orders_but_may_repeat_requests() {
    let (world, customer) = (world().await, name("hoarder"));
    let place = async |key: &str| world.place(&customer, key, &body(&[("apple", 1)])).await;
    assert_eq!(place("0").await.status(), StatusCode::ACCEPTED);
    // As many more as the default allows, without the sagas they would have.
    sqlx::query(
        "INSERT INTO orders (id, customer_id, status, lines, total_minor, currency, placed_at, version)
         SELECT gen_random_uuid(), $1, 'PENDING', '[]', 0, 'USD', now(), 1 FROM generate_series(1, 999)",
    )
    .bind(&customer)
    .execute(&world.intruder().await)
    .await
    .unwrap();
    let mut placed = 1;
    let refused = loop {
        let answer = place(&placed.to_string()).await;
        if answer.status() != StatusCode::ACCEPTED {
            break answer;
        }
        placed += 1;
        assert!(placed < 50);
    };
    assert_eq!(header(&refused, "retry-after"), "5");
    assert_eq!(problem(refused).await.1, "too_many_open_orders");
    let repeated = place("0").await;
    assert_eq!((repeated.status(), header(&repeated, "idempotent-replayed").as_str()), (StatusCode::ACCEPTED, "true"));
    sqlx::query("UPDATE orders SET status = 'CONFIRMED' WHERE customer_id = $1")
        .bind(&customer)
        .execute(&world.intruder().await)
        .await
        .unwrap();
    assert_eq!(place("later").await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn keys_are_kept_for_a_day() {
    let (world, customer) = (world().await, name("customer"));
    for key in ["old", "new"] {
        assert_eq!(world.place(&customer, key, &body(&[("apple", 1)])).await.status(), StatusCode::ACCEPTED);
    }
    let pool = world.intruder().await;
    let mut db = pool.acquire().await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let scope = order_service::place::scope(&customer.parse().unwrap());
    for (key, age) in [("old", "24 hours 1 second"), ("new", "23 hours")] {
        let aged = sqlx::query("UPDATE idempotency SET created_at = now() - $3::text::interval WHERE scope = $1 AND key = $2");
        assert_eq!(aged.bind(&scope).bind(key).bind(age).execute(&mut *tx).await.unwrap().rows_affected(), 1);
    }
    assert_eq!(order_service::store::delete_old_keys(&mut tx, 5_000).await.unwrap(), 1);
    let left: Vec<String> =
        sqlx::query_scalar("SELECT key FROM idempotency WHERE scope = $1").bind(&scope).fetch_all(&mut *tx).await.unwrap();
    assert_eq!(left, ["new"]);
    tx.commit().await.unwrap();
    let again = world.place(&customer, "old", &body(&[("apple", 2)])).await;
    assert_eq!((again.status(), header(&again, "idempotent-replayed").as_str()), (StatusCode::ACCEPTED, ""));
    // What the new order's events are called has nothing of what the old one's were called.
    drop(db);
    let same: i64 = sqlx::query_scalar(
        "SELECT count(*) - count(DISTINCT event_id) FROM events WHERE stream IN (SELECT 'order-' || id FROM orders WHERE customer_id = $1)",
    )
    .bind(&customer)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(same, 0);
}
