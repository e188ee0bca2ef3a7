//! The operators' side: who may look, who may act, and that nothing else of an ops port can be reached.

use api_gateway::config::OptionalUrl;
use contract::Code;
use identity::{Door, Settings, Verifier};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    World, base_url,
    issuer::{AUDIENCE, Issuer},
    problem,
    upstream::{Reply, Upstream},
};

struct Console {
    issuer: Issuer,
    world: World,
    desk: Upstream,
}

impl Console {
    fn open() -> Self {
        let (issuer, desk) = (Issuer::start(), Upstream::start());
        let verifier = Verifier::new(Settings::new(issuer.url(), AUDIENCE)).unwrap();
        let world = World::behind(Door::of(verifier), |config| config.inventory_ops_url = OptionalUrl(Some(base_url(desk.address()))));
        Self { issuer, world, desk }
    }

    async fn ask(&self, method: Method, path: &str, scopes: &str) -> Response {
        let request = self.world.request(method.clone(), path).bearer_auth(self.issuer.token("otto", scopes));
        let request = if method == Method::POST { request.body(r#"{"who":"nobody","why":"w","letters":[]}"#) } else { request };
        request.send().await.unwrap()
    }
}

const LETTERS: &str = "/v1/ops/inventory/dlq/letters";
const SKIP: &str = "/v1/ops/inventory/dlq/skip";

#[actix_web::test]
async fn to_look_takes_one_scope_and_to_act_the_other() {
    let console = Console::open();
    for (method, path, needed) in [(Method::GET, LETTERS, "ops:read"), (Method::POST, SKIP, "ops:write")] {
        let all = "orders:read orders:write stock:write ops:read ops:write";
        let others: Vec<&str> = all.split(' ').filter(|scope| *scope != needed).collect();
        let refused = console.ask(method.clone(), path, &others.join(" ")).await;
        assert_eq!(problem(refused).await.code, Code::InsufficientScope, "{path}");
        let without = console.world.request(method.clone(), path).header("x-customer-id", "otto").send().await.unwrap();
        assert_eq!(problem(without).await.code, Code::Unauthenticated, "{path}");
        assert!(console.desk.seen().is_empty(), "{path}");
    }
    let answer = console.ask(Method::GET, &format!("{LETTERS}?limit=5&class=permanent"), "ops:read").await;
    assert_eq!((answer.status().as_u16(), answer.headers()["cache-control"].to_str().unwrap()), (200, "no-store"));
    let seen = console.desk.only();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/ops/dlq/letters?limit=5&class=permanent"));
    assert!(seen.header("authorization").is_some());
}

#[actix_web::test]
async fn who_acts_is_what_the_token_says() {
    let console = Console::open();
    assert_eq!(console.ask(Method::POST, SKIP, "ops:write").await.status(), 200);
    let body: Value = serde_json::from_str(&console.desk.only().body).unwrap();
    assert_eq!(body, json!({ "who": "otto", "why": "w", "letters": [] }));
    let token = console.issuer.token("otto", "ops:write");
    let broken = console.world.request(Method::POST, SKIP).bearer_auth(token).body("[1").send().await.unwrap();
    assert_eq!(problem(broken).await.code, Code::MalformedJson);
    assert_eq!(console.desk.seen().len(), 1);
}

#[actix_web::test]
async fn a_network_that_is_trusted_is_trusted_with_customers_only() {
    let desk = Upstream::start();
    let world = World::with(|config| config.inventory_ops_url = OptionalUrl(Some(base_url(desk.address()))));
    let answer = world.get(LETTERS).send().await.unwrap();
    assert_eq!(problem(answer).await.code, Code::Unauthenticated);
    assert!(desk.seen().is_empty());
}

#[actix_web::test]
async fn nothing_but_the_table_is_reached() {
    let console = Console::open();
    let all = "ops:read ops:write";
    let nowhere = [
        (Method::GET, "/v1/ops/inventory/livez"),
        (Method::GET, "/v1/ops/inventory/letters/..%2f..%2fmetrics"),
        (Method::GET, "/v1/ops/inventory/letters/1/edit"),
        (Method::GET, "/v1/ops/inventory/"),
        (Method::DELETE, LETTERS),
        (Method::POST, LETTERS),
        // no address of this one, and no such one
        (Method::GET, "/v1/ops/payments/dlq/letters"),
        (Method::GET, "/v1/ops/nobody/dlq/letters"),
    ];
    for (method, path) in nowhere {
        let answer = console.ask(method.clone(), path, all).await;
        assert_eq!(problem(answer).await.code, Code::NotFound, "{method} {path}");
    }
    assert!(console.desk.seen().is_empty());
    let figures = console.ask(Method::GET, "/v1/ops/gateway/metrics", "ops:read").await;
    assert_eq!(figures.headers()["x-instance"], "gateway-1");
    let figures = figures.text().await.unwrap();
    assert!(figures.contains("http_server_request_duration_seconds"), "{figures}");
}

#[actix_web::test]
async fn what_the_ops_port_refuses_is_told_as_it_is() {
    let console = Console::open();
    console.desk.reply(|_| Reply::new(422, r#"{"code":"invalid_edit","status":422}"#).header("content-type", "application/problem+json"));
    let answer = console.ask(Method::POST, "/v1/ops/inventory/letters/17/edit", "ops:write").await;
    assert_eq!(answer.status(), 422);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "invalid_edit");
    assert_eq!(console.desk.only().target, "/ops/letters/17/edit");
}
