use std::{
    net::TcpListener,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    ORDER, World, base_url, nowhere, problem,
    upstream::{Reply, Upstream, rude},
};
use contract::Code;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

#[actix_web::test]
async fn a_service_that_is_down_is_unavailable_and_the_other_is_not() {
    let world = World::with(|config| config.orders_url = nowhere());
    let started = Instant::now();
    let response = world.post("/v1/orders", ORDER).send().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "2");
    let refused = problem(response).await;
    assert_eq!((refused.code, refused.instance.as_deref()), (Code::Unavailable, Some("/v1/orders")));
    assert_eq!(world.get("/v1/products").send().await.unwrap().status(), 200);
}

#[actix_web::test]
async fn a_service_that_comes_back_at_once_is_not_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let world = World::with(|config| {
        config.orders_url = base_url(address);
        config.upstream_connect_retries = 6;
    });
    let request = tokio::spawn(world.post("/v1/orders", ORDER).send());
    tokio::time::sleep(Duration::from_millis(60)).await;
    let late = Upstream::on(TcpListener::bind(address).unwrap());
    assert_eq!(request.await.unwrap().unwrap().status(), 200);
    assert_eq!(late.seen().len(), 1);
}

#[actix_web::test]
async fn a_service_that_is_slow_is_a_timeout_and_is_asked_once() {
    let world = World::with(|config| config.upstream_timeout = Duration::from_millis(150));
    world.orders.reply(|_| Reply::new(200, "{}").after(Duration::from_secs(2)));
    let response = world.post("/v1/orders", ORDER).send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let refused = problem(response).await;
    assert_eq!((refused.code, refused.status), (Code::UpstreamTimeout, 504));
    assert_eq!(world.orders.seen().len(), 1);
}

#[actix_web::test]
async fn a_request_that_may_have_been_sent_is_not_sent_again() {
    let (address, requests) = rude(b"").await;
    let world = World::with(|config| config.orders_url = base_url(address));
    let refused = problem(world.post("/v1/orders", ORDER).send().await.unwrap()).await;
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.detail.unwrap().contains("not known"));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[actix_web::test]
async fn an_answer_that_breaks_off_is_a_problem_not_half_an_answer() {
    for answer in [&b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"[..], b"HTTP/1.1 200 OK\r\nContent-", b"nonsense\r\n\r\n"] {
        let (address, _) = rude(answer).await;
        let world = World::with(|config| config.orders_url = base_url(address));
        assert_eq!(problem(world.get("/v1/orders").send().await.unwrap()).await.code, Code::Unavailable);
    }
}

#[actix_web::test]
async fn a_kept_connection_that_the_service_closed_is_replaced() {
    let (address, requests) = rude(ANSWER).await;
    let world = World::with(|config| config.orders_url = base_url(address));
    for _ in 0..20 {
        assert_eq!(world.post("/v1/orders", ORDER).send().await.unwrap().status(), 200);
        // Long enough for the close to arrive: an idle connection that is already closed has carried nothing.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(requests.load(Ordering::SeqCst), 20);
}

#[actix_web::test]
async fn an_answer_beyond_all_limits_is_a_problem() {
    let world = World::new();
    world.inventory.reply(|_| Reply::new(200, "x".repeat(9 * 1024 * 1024)));
    assert_eq!(problem(world.get("/v1/products").send().await.unwrap()).await.code, Code::Unavailable);
}
