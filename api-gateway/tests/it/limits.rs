use std::time::Duration;

use contract::Code;
use futures_util::{future::join_all, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{ORDER, World, problem, upstream::Reply};

/// Sends `text` on a new connection and reads until the gateway closes it.
async fn raw(world: &World, text: &str) -> String {
    let mut stream = TcpStream::connect(world.gateway.http_addr()).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer));
    // A reset after the answer is as good as a close.
    drop(read.await.unwrap());
    String::from_utf8(answer).unwrap()
}

#[actix_web::test]
async fn a_body_is_at_most_64_kib_for_an_order_and_1_mib_for_a_list() {
    let world = World::new();
    for (path, bytes_max) in [("/v1/orders", 64 * 1024), ("/v1/stock", 1024 * 1024), ("/v1/products", 1024 * 1024)] {
        assert!(world.post(path, " ".repeat(bytes_max)).send().await.unwrap().status().is_success(), "{path}");
        let refused = problem(world.post(path, " ".repeat(bytes_max + 1)).send().await.unwrap()).await;
        assert_eq!(refused.code, Code::BodyTooLarge, "{path}");
    }
    assert_eq!(world.orders.seen().len(), 1);
}

#[actix_web::test]
async fn a_body_that_does_not_announce_its_length_is_cut_at_the_limit() {
    let world = World::new();
    let chunks = stream::iter((0..70).map(|_| Ok::<_, std::io::Error>(" ".repeat(1024))));
    let refused = world.post("/v1/orders", reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    assert_eq!(problem(refused).await.code, Code::BodyTooLarge);
    let chunks = stream::iter((0..10).map(|_| Ok::<_, std::io::Error>(" ".repeat(1024))));
    let accepted = world.post("/v1/orders", reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    assert_eq!(accepted.status(), 200);
    assert_eq!(world.orders.only().body.len(), 10 * 1024);
}

#[actix_web::test]
async fn a_head_that_does_not_arrive_ends_the_connection() {
    let world = World::with(|config| config.header_timeout = Duration::from_millis(200));
    let answer = raw(&world, "POST /v1/orders HTTP/1.1\r\nHost: x\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(world.orders.seen().is_empty());
}

#[actix_web::test]
async fn a_body_that_does_not_arrive_is_a_problem() {
    let world = World::with(|config| config.body_timeout = Duration::from_millis(200));
    let head = "POST /v1/orders HTTP/1.1\r\nHost: x\r\nX-Customer-Id: c1\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{";
    let answer = raw(&world, head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains(r#""code":"request_timeout""#), "{answer}");
    assert!(world.orders.seen().is_empty());
}

#[actix_web::test]
async fn more_requests_than_allowed_at_once_are_refused_and_the_others_served() {
    let world = World::with(|config| config.in_flight_max = 4);
    world.orders.reply(|_| Reply::new(200, "{}").after(Duration::from_millis(300)));
    let all = join_all((0..10).map(|_| world.post("/v1/orders", ORDER).send())).await;
    let mut served = 0;
    for response in all.into_iter().map(Result::unwrap) {
        if response.status() == 200 {
            served += 1;
        } else {
            assert_eq!(response.headers()["retry-after"], "1");
            assert_eq!(problem(response).await.code, Code::Overloaded);
        }
    }
    assert_eq!(served, 4);
    assert_eq!(world.get("/v1/orders").send().await.unwrap().status(), 200);
}
