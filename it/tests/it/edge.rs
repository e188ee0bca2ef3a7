//! The way in: HAProxy and Varnish with the files that compose mounts, in front of two gateways. What is one caller's is never another's,
//! what changed is seen, a stream passes as it happens, and a gateway that is lost takes no request with it that may be sent again.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use stack::{Provider, Service, Stack};
use tokio::time::timeout;
use uuid::Uuid;

use crate::wait::{SOON, until};

const ALL: &str = "orders:read orders:write stock:write";

struct Edge {
    stack: Stack,
    http: Client,
    ada: String,
    bob: String,
}

impl Edge {
    async fn open() -> Self {
        let stack = Stack::builder().identity(Provider::Mock).secured().edge().start().await;
        let stack = stack.unwrap_or_else(|error| panic!("start the system with its edge: {error}"));
        let (ada, bob) = (stack.token("ada", ALL).await.unwrap(), stack.token("bob", ALL).await.unwrap());
        // The certificate is this machine's own and signed by nobody.
        let http = Client::builder().timeout(Duration::from_secs(30)).no_proxy().danger_accept_invalid_certs(true).build().unwrap();
        Self { stack, http, ada, bob }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.stack.edge_tls_url().unwrap())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    async fn get(&self, path: &str) -> Response {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer
    }

    fn place(&self, key: &str, card: &str) -> RequestBuilder {
        let body = json!({"lines": [{"sku": "edge-1", "quantity": 1}], "payment": {"token": card}});
        self.request(Method::POST, "/v1/orders").bearer_auth(&self.ada).header("Idempotency-Key", key).json(&body)
    }

    async fn product(&self, path: &str) -> (i64, i64) {
        let page: Value = self.get(path).await.json().await.unwrap();
        let product = &page["data"][0];
        (product["price"]["minor"].as_i64().unwrap(), product["available"].as_i64().unwrap())
    }

    async fn list(&self, key: &str, price: i64) -> Response {
        let products = json!([{"sku": "edge-1", "name": "Edge", "category": "edge", "brand": "it", "price": {"minor": price, "currency": "USD"}, "stock": 1000}]);
        let request = self.request(Method::POST, "/v1/products").bearer_auth(&self.ada).header("Idempotency-Key", key);
        request.json(&products).send().await.unwrap()
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_way_in() {
    let edge = Edge::open().await;
    until("the product can be ordered", SOON, || async {
        let answer = edge.list("list", 100).await;
        if answer.status() == 201 { Ok(()) } else { Err(answer.status()) }
    })
    .await;
    the_catalogue_is_kept_and_forgotten_when_it_changes(&edge).await;
    what_is_one_callers_is_never_anothers(&edge).await;
    the_cache_is_emptied_from_inside_only(&edge).await;
    a_stream_passes_as_it_happens(&edge).await;
    a_lost_gateway_takes_no_repeatable_request_with_it(&edge).await;
}

async fn the_catalogue_is_kept_and_forgotten_when_it_changes(edge: &Edge) {
    let path = "/v1/products?category=edge&limit=5";
    // Within its two seconds a copy is sent; in any order of its query, and without what was one caller's.
    until("a copy is sent", SOON, || async {
        let _warm = edge.get(path).await;
        let answer = edge.get("/v1/products?limit=5&category=edge").await;
        for private in ["ratelimit", "cache-tag", "set-cookie"] {
            assert_eq!(header(&answer, private), "", "{private}");
        }
        if header(&answer, "x-cache") == "hit" { Ok(()) } else { Err(header(&answer, "x-cache").to_owned()) }
    })
    .await;
    let (_, available) = edge.product(path).await;
    // A new price: the next to look sees it, long before grace would let it.
    assert_eq!(edge.list("dearer", 120).await.status(), 201);
    until("the new price is seen", SOON, || async {
        let (price, _) = edge.product(path).await;
        if price == 120 { Ok(()) } else { Err(price) }
    })
    .await;
    let receipt = edge.request(Method::POST, "/v1/stock").bearer_auth(&edge.ada).header("Idempotency-Key", "receive");
    assert_eq!(receipt.json(&json!([{"sku": "edge-1", "units": 7}])).send().await.unwrap().status(), 200);
    until("the receipt is seen", SOON, || async {
        let (_, now) = edge.product(path).await;
        if now == available + 7 { Ok(()) } else { Err(now) }
    })
    .await;
    // An order takes units by way of Kafka; the page is forgotten all the same.
    assert_eq!(edge.place("takes-one", "tok_ok").send().await.unwrap().status(), 202);
    until("the taken unit is seen", SOON, || async {
        let (_, now) = edge.product(path).await;
        if now == available + 6 { Ok(()) } else { Err(now) }
    })
    .await;
}

/// Ada and Bob ask for the same paths at the same time, with and without tokens, at HAProxy and at Varnish itself.
async fn what_is_one_callers_is_never_anothers(edge: &Edge) {
    let placed: Value = edge.place("private", "tok_ok").send().await.unwrap().json().await.unwrap();
    let order = format!("/v1/orders/{}", placed["id"].as_str().unwrap());
    let cache = edge.stack.cache_url().unwrap();
    for base in [edge.url(""), cache] {
        for _ in 0..3 {
            for path in ["/v1/orders", order.as_str()] {
                let ask = |token: Option<&str>| {
                    let request = edge.http.get(format!("{base}{path}"));
                    token.map_or_else(|| edge.http.get(format!("{base}{path}")), |token| request.bearer_auth(token)).send()
                };
                let answers = join_all([ask(Some(&edge.ada)), ask(Some(&edge.bob)), ask(None)]).await;
                let answers: Vec<Response> = answers.into_iter().map(Result::unwrap).collect();
                for answer in &answers {
                    assert_ne!(header(answer, "x-cache"), "hit", "{base}{path}");
                }
                let statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
                assert_eq!(statuses, if path == "/v1/orders" { [200, 200, 401] } else { [200, 404, 401] }, "{base}{path}");
                for (index, answer) in answers.into_iter().enumerate() {
                    let has = answer.text().await.unwrap().contains(placed["id"].as_str().unwrap());
                    // The refusal names the path that was asked for, and nothing of the order.
                    assert_eq!(has, index == 0 || path != "/v1/orders", "{base}{path} for caller {index}");
                }
            }
            // Public pages asked for with a token come from the gateway and stay out of the cache.
            let named = edge.http.get(format!("{base}/v1/products?q=never-kept-{}", Uuid::now_v7())).bearer_auth(&edge.ada);
            let url = named.try_clone().unwrap().build().unwrap().url().clone();
            assert_ne!(header(&named.send().await.unwrap(), "x-cache"), "hit");
            assert_ne!(header(&edge.http.get(url).send().await.unwrap(), "x-cache"), "hit", "a copy was made of an answer to a token");
        }
    }
}

async fn the_cache_is_emptied_from_inside_only(edge: &Edge) {
    let purge = || Method::from_bytes(b"PURGE").unwrap();
    assert_eq!(edge.request(purge(), "/").header("X-Purge-Tags", "catalogue").send().await.unwrap().status(), 405);
    let inside = |tags: &'static str| edge.http.request(purge(), edge.stack.cache_url().unwrap()).header("X-Purge-Tags", tags).send();
    assert_eq!(inside("catalogue").await.unwrap().status(), 204);
    for refused in ["", ".*", "a || obj.status == 200", "sku:a)("] {
        assert_eq!(inside(refused).await.unwrap().status(), 400, "{refused}");
    }
}

/// The first events are read while the order still waits for its bank, which nobody can reach: nothing on the way holds them back.
async fn a_stream_passes_as_it_happens(edge: &Edge) {
    let mut payments = PgConnection::connect(&edge.stack.owner_url("payments")).await.unwrap();
    let mut held = payments.begin().await.unwrap();
    sqlx::query("LOCK TABLE effects IN EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let mut held = Some(held);
    let placed: Value = edge.place("slow", "tok_ok").send().await.unwrap().json().await.unwrap();
    let path = format!("/v1/orders/{}/events", placed["id"].as_str().unwrap());
    let mut stream = edge.request(Method::GET, &path).bearer_auth(&edge.ada).send().await.unwrap();
    assert_eq!((stream.status().as_u16(), header(&stream, "content-type")), (200, "text/event-stream"));
    let mut text = String::new();
    while let Some(chunk) = timeout(Duration::from_secs(60), stream.chunk()).await.expect("the stream goes on").unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        if text.contains("event: OrderPlaced")
            && let Some(held) = held.take()
        {
            held.rollback().await.unwrap();
        }
    }
    assert!(held.is_none() && text.contains("event: SagaEnded"), "{text}");
}

/// Orders with keys and pages are asked for without a pause while one gateway dies and comes back, then the other: every one is answered.
async fn a_lost_gateway_takes_no_repeatable_request_with_it(edge: &Edge) {
    let asking = async {
        let mut keys = Vec::new();
        for round in 0..40 {
            let batch: Vec<String> = (0..4).map(|number| format!("lost-{round}-{number}")).collect();
            let orders = join_all(batch.iter().map(|key| edge.place(key, "tok_ok").send()));
            let pages = join_all((0..4).map(|_| edge.request(Method::GET, "/v1/orders?limit=1").bearer_auth(&edge.ada).send()));
            let (orders, pages) = tokio::join!(orders, pages);
            for answer in orders {
                assert_eq!(answer.unwrap().status(), 202, "an order in round {round}");
            }
            for answer in pages {
                assert_eq!(answer.unwrap().status(), 200, "a page in round {round}");
            }
            keys.extend(batch);
        }
        keys
    };
    let dying = async {
        for instance in [1, 2] {
            edge.stack.kill(Service::Gateway.instance(instance)).await.unwrap();
            edge.stack.restart(Service::Gateway.instance(instance)).await.unwrap();
            // The other is taken only when this one is asked again.
            until("HAProxy sees it", SOON, || async {
                let figures = edge.stack.edge_figures().await.unwrap();
                let up = |number: u32| {
                    let name = format!("proxy=\"gateways\",server=\"gateway-{number}\",state=\"UP\"");
                    figures.lines().any(|line| line.starts_with("haproxy_server_status{") && line.contains(&name) && line.ends_with(" 1"))
                };
                if up(1) && up(2) { Ok(()) } else { Err("a gateway is not up") }
            })
            .await;
        }
    };
    let (keys, ()) = tokio::join!(asking, dying);
    // Sent twice or not, each key is one order.
    let repeated = join_all(keys.iter().map(|key| edge.place(key, "tok_ok").send())).await;
    for answer in repeated {
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "idempotent-replayed")), (202, "true"));
    }
}
