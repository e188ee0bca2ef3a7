use crate::{ORDER, World, base_url, upstream::rude};

#[actix_web::test]
async fn only_agreed_headers_reach_a_service() {
    let world = World::new();
    let request = world.post("/v1/orders", ORDER).header("accept", "application/json").header("prefer", "ack=published");
    let request = request.header("if-match", "\"1\"").header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let request = request.header("cookie", "secret=1").header("x-forwarded-for", "1.2.3.4");
    request.header("connection", "x-internal").header("x-internal", "1").header("te", "trailers").send().await.unwrap();
    let seen = world.orders.only();
    let expected = [
        "accept",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "if-match",
        "prefer",
        "traceparent",
        "x-customer-id",
        "x-request-id",
    ];
    assert_eq!(seen.header_names(), expected);
    assert_eq!(seen.header("host"), Some(world.orders.address().to_string().as_str()));
    assert_eq!((seen.header("idempotency-key"), seen.header("x-customer-id")), (Some("k1"), Some("c1")));
}

#[actix_web::test]
async fn a_key_given_twice_arrives_twice_so_that_the_service_refuses_it() {
    let world = World::new();
    world.post("/v1/orders", ORDER).header("idempotency-key", "k2").send().await.unwrap();
    let seen = world.orders.only();
    assert_eq!(seen.headers.get_all("idempotency-key").count(), 2);
}

#[actix_web::test]
async fn what_belongs_to_a_connection_does_not_reach_the_client() {
    let answer = concat!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n",
        "Server: inner\r\nDate: Sun, 01 Jan 2017 10:00:00 GMT\r\nX-Request-Id: inner\r\nETag: \"7\"\r\nX-Kept: 1\r\n\r\n{}"
    );
    let (address, _) = rude(answer.as_bytes()).await;
    let world = World::with(|config| config.orders_url = base_url(address));
    let response = world.get("/v1/orders").header("x-request-id", "r-1").send().await.unwrap();
    for name in ["x-hop", "keep-alive", "server"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    assert_eq!(response.headers()["etag"], "\"7\"");
    assert_eq!(response.headers()["x-kept"], "1");
    assert_eq!(response.headers()["x-request-id"], "r-1");
    assert_eq!(response.headers().get_all("x-request-id").iter().count(), 1);
    assert_eq!(response.headers().get_all("date").iter().count(), 1);
}

#[actix_web::test]
async fn a_request_id_is_kept_or_made_and_echoed() {
    let world = World::new();
    let response = world.get("/v1/orders").header("x-request-id", "abc:1").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "abc:1");
    assert_eq!(world.orders.seen()[0].header("x-request-id"), Some("abc:1"));
    for bad in ["", "a b", "x\"y", &"r".repeat(129)] {
        let response = world.get("/v1/orders").header("x-request-id", bad).send().await.unwrap();
        let made = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(made.len(), 36, "{made}");
        assert_eq!(world.orders.seen().pop().unwrap().header("x-request-id"), Some(made.as_str()));
    }
    let refused = world.get("/nothing").header("x-request-id", "abc:2").send().await.unwrap();
    assert_eq!(refused.headers()["x-request-id"], "abc:2");
}
