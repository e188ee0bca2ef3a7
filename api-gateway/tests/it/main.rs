//! The gateway over real sockets, in front of upstreams that do as a test says.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helper functions of tests fail by panicking")]

mod callers;
mod console;
mod conventions;
mod events;
mod failures;
mod forwarding;
mod headers;
#[expect(dead_code, reason = "the tests of crate identity use the rest")]
#[path = "../../identity/tests/it/issuer.rs"]
mod issuer;
mod limits;
mod openapi;
mod operations;
mod process;
mod products;
mod refusals;
mod site;
mod slow;
mod upstream;

use std::time::Duration;

use api_gateway::{
    Config, Gateway,
    config::{BaseUrl, LogFormat},
};
use contract::ProblemDocument;
use identity::Door;
use reqwest::{Client, Method, RequestBuilder, Response};
use tokio::time::{Instant, sleep};
use upstream::Upstream;

const ORDER: &str = r#"{"lines":[{"sku":"A","quantity":1}],"payment":{"token":"tok_ok"}}"#;
const ORDER_ID: &str = "0192f0c1-2345-7abc-8def-0123456789ab";

/// A gateway and the two services behind it.
struct World {
    gateway: Gateway,
    orders: Upstream,
    inventory: Upstream,
    client: Client,
}

impl World {
    /// With upstreams that answer 200, and the default settings.
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// With settings changed by `change`, which finds the upstreams' addresses already there.
    fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::behind(Door::trusting(), change)
    }

    /// The same with another door than the one that believes headers.
    fn behind(door: Door, change: impl FnOnce(&mut Config)) -> Self {
        let (orders, inventory) = (Upstream::start(), Upstream::start());
        let mut config = Config::defaults().unwrap();
        config.http_addr = "127.0.0.1:0".parse().unwrap();
        config.ops_addr = "127.0.0.1:0".parse().unwrap();
        config.orders_url = base_url(orders.address());
        config.inventory_url = base_url(inventory.address());
        config.workers = 1;
        config.log_format = LogFormat::Text;
        change(&mut config);
        let gateway = Gateway::start(config, door).unwrap();
        Self { gateway, orders, inventory, client: Client::new() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.gateway.http_addr()))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path).header("x-customer-id", "c1")
    }

    /// A POST of JSON with everything a valid one has.
    fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let request = self.request(Method::POST, path).header("x-customer-id", "c1").header("idempotency-key", "k1");
        request.header("content-type", "application/json").body(body)
    }

    async fn ops(&self, path: &str) -> Response {
        self.client.get(format!("http://{}{path}", self.gateway.ops_addr())).send().await.unwrap()
    }
}

fn base_url(address: impl ToString) -> BaseUrl {
    format!("http://{}", address.to_string()).try_into().unwrap()
}

/// An address that nobody listens on.
fn nowhere() -> BaseUrl {
    base_url(std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

/// Checks that `response` is a problem as agreed, and returns it.
async fn problem(response: Response) -> ProblemDocument {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert!(response.headers().contains_key("x-request-id"));
    let status = response.status().as_u16();
    let problem: ProblemDocument = response.json().await.unwrap();
    assert_eq!(problem.status, status);
    assert!(problem.instance.is_some());
    problem
}

/// Waits until `condition` holds, at most five seconds.
async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
