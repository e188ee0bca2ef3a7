use reqwest::Method;

use crate::{ORDER, ORDER_ID, World, upstream::Reply};

#[actix_web::test]
async fn every_line_of_the_table_reaches_its_service() {
    let world = World::new();
    let cancel = format!("/v1/orders/{ORDER_ID}/cancel");
    let order = format!("/v1/orders/{ORDER_ID}");
    for (method, path, at_orders) in [
        (Method::POST, "/v1/orders", true),
        (Method::GET, "/v1/orders?limit=2&after=ab", true),
        (Method::GET, order.as_str(), true),
        (Method::POST, cancel.as_str(), true),
        (Method::GET, "/v1/products?after=&limit=3", false),
        (Method::POST, "/v1/stock", false),
    ] {
        let request = if method == Method::POST { world.post(path, "[1]") } else { world.get(path) };
        assert_eq!(request.send().await.unwrap().status(), 200, "{method} {path}");
        let service = if at_orders { &world.orders } else { &world.inventory };
        let seen = service.seen().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method.as_str(), path));
        assert_eq!(seen.body, if method == Method::POST { "[1]" } else { "" });
    }
    assert_eq!((world.orders.seen().len(), world.inventory.seen().len()), (4, 2));
}

#[actix_web::test]
async fn the_answer_is_the_services() {
    let world = World::new();
    world.orders.reply(|_| {
        let reply =
            Reply::new(202, r#"{"status":"PENDING"}"#).header("location", "/v1/orders/1").header("content-type", "application/json");
        reply.header("idempotent-replayed", "true").header("set-cookie", "a=1").header("set-cookie", "b=2")
    });
    let response = world.post("/v1/orders", ORDER).send().await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["location"], "/v1/orders/1");
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["idempotent-replayed"], "true");
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(response.text().await.unwrap(), r#"{"status":"PENDING"}"#);
    assert_eq!(world.orders.only().body, ORDER);
}

#[actix_web::test]
async fn a_services_problem_passes_with_its_trace_named() {
    let world = World::new();
    world.orders.reply(|_| {
        Reply::new(429, r#"{"code":"overloaded"}"#).header("retry-after", "1").header("content-type", "application/problem+json")
    });
    let response = world.post("/v1/orders", ORDER).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(response.text().await.unwrap().starts_with(r#"{"code":"overloaded","trace_id":"#));
}

#[actix_web::test]
async fn large_bodies_pass_whole_in_both_directions() {
    let world = World::new();
    world.inventory.reply(|seen| Reply::new(200, "x".repeat(seen.body.len() * 3)));
    let body = "y".repeat(1024 * 1024);
    let response = world.post("/v1/stock", body.clone()).send().await.unwrap();
    assert_eq!(response.text().await.unwrap().len(), 3 * 1024 * 1024);
    assert_eq!(world.inventory.only().body, body);
}

#[actix_web::test]
async fn one_connection_to_a_service_is_used_again() {
    let world = World::new();
    world.orders.reply(|_| Reply::new(200, ""));
    for _ in 0..50 {
        world.get("/v1/orders").send().await.unwrap();
    }
    assert_eq!(world.orders.seen().len(), 50);
}

#[actix_web::test]
async fn a_path_cannot_be_spelt_to_lead_elsewhere() {
    let world = World::new();
    for path in [
        "/v1/orders/..%2f..%2finternal%2fprices%2fknown",
        "/v1/orders/%2e%2e",
        "/v1/orders/not-a-uuid",
        "//v1/orders",
        "/internal/prices/known",
        "/v1/orders/",
    ] {
        assert_eq!(world.get(path).send().await.unwrap().status(), 404, "{path}");
        assert_eq!(world.post(path, "{}").send().await.unwrap().status().as_u16() / 100, 4, "{path}");
    }
    // Another spelling of the same id is the same id.
    world.get(&format!("/v1/orders/{}", ORDER_ID.replace('-', "").to_uppercase())).send().await.unwrap();
    assert_eq!(world.orders.only().target, format!("/v1/orders/{ORDER_ID}"));
}
