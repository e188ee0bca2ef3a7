use std::{net::TcpListener, time::Duration};

use api_gateway::Config;
use serde_json::{Value, json};

use crate::{
    ORDER, World, base_url, eventually, nowhere,
    upstream::{Reply, Upstream},
};

async fn readiness(world: &World) -> (u16, Value) {
    let response = world.ops("/readyz").await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[actix_web::test]
async fn probes_tell_alive_started_and_ready_with_every_upstream() {
    let world = World::new();
    assert_eq!(world.ops("/livez").await.status(), 200);
    eventually("started", || async { world.ops("/startupz").await.status() == 200 }).await;
    let (status, body) = readiness(&world).await;
    let expected = json!({"status": "ready", "instance": "gateway-1", "upstreams": [
        {"name": "orders", "reachable": true}, {"name": "inventory", "reachable": true}]});
    assert_eq!((status, body), (200, expected));
}

#[actix_web::test]
async fn it_is_degraded_without_one_upstream_and_not_ready_without_any() {
    let half = World::with(|config| config.orders_url = nowhere());
    eventually("inventory found", || async { readiness(&half).await.1["upstreams"][1]["reachable"] == true }).await;
    let (status, body) = readiness(&half).await;
    assert_eq!((status, &body["status"]), (200, &json!("degraded")));
    assert_eq!(half.ops("/startupz").await.status(), 503);

    let none = World::with(|config| (config.orders_url, config.inventory_url) = (nowhere(), nowhere()));
    assert_eq!(none.ops("/readyz").await.status(), 503);
    assert_eq!(none.ops("/livez").await.status(), 200);
}

#[actix_web::test]
async fn an_upstream_that_starts_later_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let world = World::with(|config| config.orders_url = base_url(address));
    assert_eq!(world.ops("/startupz").await.status(), 503);
    let _late = Upstream::on(TcpListener::bind(address).unwrap());
    eventually("started", || async { world.ops("/startupz").await.status() == 200 }).await;
    assert_eq!(world.get("/v1/orders").send().await.unwrap().status(), 200);
}

#[actix_web::test]
async fn metrics_count_by_route_and_status() {
    let world = World::new();
    world.post("/v1/orders", ORDER).send().await.unwrap();
    world.post("/v1/orders", ORDER).send().await.unwrap();
    world.get("/nothing").send().await.unwrap();
    let text = world.ops("/metrics").await.text().await.unwrap();
    for line in [
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/v1/orders",http_response_status_code="200"} 2"#,
        r#"http_server_request_duration_seconds_bucket{http_request_method="POST",http_route="/v1/orders",http_response_status_code="200",le="+Inf"} 2"#,
        r#"http_server_request_duration_seconds_count{http_request_method="",http_route="",http_response_status_code="404"} 1"#,
        r#"http_client_request_duration_seconds_count{upstream="orders",outcome="answered"} 2"#,
        r#"gateway_problems_total{code="not_found"} 1"#,
        "http_server_active_requests 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[actix_web::test]
async fn stopping_lets_what_has_begun_end_and_takes_nothing_new() {
    let world = World::with(|config| config.drain = Duration::from_secs(5));
    world.orders.reply(|_| Reply::new(200, "done").after(Duration::from_millis(400)));
    let begun = tokio::spawn(world.post("/v1/orders", ORDER).send());
    eventually("the request has arrived", || async { !world.orders.seen().is_empty() }).await;
    let World { gateway, orders, client, .. } = world;
    let address = gateway.http_addr();
    let stopped = tokio::time::timeout(Duration::from_secs(3), gateway.stop());
    stopped.await.unwrap().unwrap();
    assert_eq!(begun.await.unwrap().unwrap().text().await.unwrap(), "done");
    assert!(client.get(format!("http://{address}/v1/products")).send().await.is_err());
    assert_eq!(orders.seen().len(), 1);
}

#[actix_web::test]
async fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::defaults().unwrap();
    config.http_addr = taken.local_addr().unwrap();
    let error = api_gateway::Gateway::start(config, identity::Door::trusting()).unwrap_err();
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()));
}
