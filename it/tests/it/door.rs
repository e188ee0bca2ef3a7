//! The system as in production: only bearers of tokens are let in, by the gateway and by each service; a stream that is dropped anywhere
//! goes on; a gateway or an order-service killed between the commit and the answer places no second order.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use stack::{Provider, Service, Stack};
use uuid::Uuid;

use crate::wait::{SOON, until};
use crate::{ops_port, personal, rights};

const ALL: &str = "orders:read orders:write stock:write";

struct Door {
    stack: Stack,
    http: Client,
    ada: String,
    bob: String,
}

impl Door {
    async fn open() -> Self {
        let stack =
            Stack::builder().identity(Provider::Mock).secured().start().await.unwrap_or_else(|error| panic!("start the system: {error}"));
        let (ada, bob) = (stack.token("ada", ALL).await.unwrap(), stack.token("bob", ALL).await.unwrap());
        let http = Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().unwrap();
        Self { stack, http, ada, bob }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.stack.gateway_url()))
    }

    fn place(&self, key: &str, token: &str) -> RequestBuilder {
        let body = json!({"lines": [{"sku": "door-1", "quantity": 1}], "payment": {"token": token}});
        self.request(Method::POST, "/v1/orders").bearer_auth(&self.ada).header("Idempotency-Key", key).json(&body)
    }

    async fn orders_of(&self, customer: &str) -> Vec<Uuid> {
        let mut db = PgConnection::connect(&self.stack.reader_url("orders")).await.unwrap();
        sqlx::query_scalar("SELECT id FROM orders WHERE customer_id = $1 ORDER BY placed_at")
            .bind(customer)
            .fetch_all(&mut db)
            .await
            .unwrap()
    }
}

async fn code(response: Response, status: u16) -> String {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    response.json::<Value>().await.unwrap()["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_door_of_the_whole_system() {
    let door = Door::open().await;
    let product = json!([{"sku": "door-1", "name": "Door", "category": "test", "brand": "it", "price": {"minor": 100, "currency": "USD"}, "stock": 1000}]);
    let create =
        |token: &str| door.request(Method::POST, "/v1/products").bearer_auth(token).header("Idempotency-Key", "door").json(&product).send();
    until("the product can be ordered", SOON, || async {
        let answer = create(&door.ada).await.unwrap();
        if answer.status() == 201 { Ok(()) } else { Err(answer.status()) }
    })
    .await;
    only_bearers_come_in(&door).await;
    let order = a_dropped_stream_goes_on(&door).await;
    only_the_owner_sees(&door, order).await;
    killed_before_the_answer(&door, Service::Gateway).await;
    killed_before_the_answer(&door, Service::Orders).await;
    ops_port::only_operators_come_in(&door.stack).await;
    ops_port::the_command_line_shows_its_token(&door.stack).await;
    personal::is_sealed_and_can_be_erased(&door.stack).await;
    nothing_secret_was_logged(&door);
    rights::are_the_agreed_ones(&door.stack).await;
    for service in [Service::Orders, Service::Inventory, Service::Payments] {
        door.stack.terminate(service).await.unwrap();
    }
    tokio::task::spawn_blocking(move || rights::each_may_its_own_and_nothing_else(&door.stack)).await.unwrap();
}

async fn only_bearers_come_in(door: &Door) {
    let named = |base: String, path: &str| door.http.get(format!("{base}{path}")).header("X-Customer-Id", "ada").send();
    // Not at the gateway, and not past it.
    for base in [door.stack.gateway_url(), door.stack.service_url(Service::Orders, 1)] {
        assert_eq!(code(named(base, "/v1/orders").await.unwrap(), 401).await, "unauthenticated");
    }
    let customer = door.stack.token("carl", "orders:read orders:write").await.unwrap();
    for base in [door.stack.gateway_url(), door.stack.service_url(Service::Inventory, 1)] {
        let receive = door.http.post(format!("{base}/v1/stock")).bearer_auth(&customer).header("Idempotency-Key", "k");
        let refused = receive.json(&json!([{"sku": "door-1", "units": 1}])).send().await.unwrap();
        assert_eq!(code(refused, 403).await, "insufficient_scope");
    }
    // What a client says of itself does not count beside its token, at the service neither.
    let direct = door.http.get(format!("{}/v1/orders", door.stack.service_url(Service::Orders, 1)));
    let answer = direct.bearer_auth(&door.bob).header("X-Customer-Id", "ada").send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

async fn events(door: &Door, id: Uuid, last: Option<u64>) -> Response {
    let request = door.request(Method::GET, &format!("/v1/orders/{id}/events")).bearer_auth(&door.ada);
    let request = match last {
        Some(last) => request.header("Last-Event-ID", last),
        None => request,
    };
    request.send().await.unwrap()
}

fn ids(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect()
}

/// Follows an order from its placement, dropping the connection after every event, and the whole story again at every place.
async fn a_dropped_stream_goes_on(door: &Door) -> Uuid {
    let placed: Value = door.place("story", "tok_ok").send().await.unwrap().json().await.unwrap();
    let id: Uuid = placed["id"].as_str().unwrap().parse().unwrap();
    let mut live: Vec<u64> = Vec::new();
    loop {
        let mut response = events(door, id, live.last().copied()).await;
        if response.status() == 204 {
            break;
        }
        assert_eq!(response.status(), 200);
        let mut text = String::new();
        while ids(&text).is_empty() {
            let Some(chunk) = response.chunk().await.unwrap() else { break };
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        live.extend(ids(&text).first());
    }
    let whole = events(door, id, None).await.text().await.unwrap();
    assert!(whole.contains("event: OrderConfirmed") && whole.contains("event: SagaEnded"), "{whole}");
    assert_eq!(live, ids(&whole));
    assert_eq!(live, (1..=u64::try_from(live.len()).unwrap()).collect::<Vec<_>>());
    for dropped in &live {
        let response = events(door, id, Some(*dropped)).await;
        let rest = if response.status() == 204 { Vec::new() } else { ids(&response.text().await.unwrap()) };
        assert_eq!((1..=*dropped).chain(rest).collect::<Vec<_>>(), live);
    }
    id
}

/// Every path with an order in it, from the document: the owner's answers differ, a stranger's is always the same.
async fn only_the_owner_sees(door: &Door, id: Uuid) {
    let document: Value = door.request(Method::GET, "/openapi.json").send().await.unwrap().json().await.unwrap();
    let mut paths = 0;
    for (path, operations) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.contains("{id}")) {
        for method in operations.as_object().unwrap().keys() {
            paths += 1;
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let ask =
                |token: &str, id: Uuid| door.request(method.clone(), &path.replace("{id}", &id.to_string())).bearer_auth(token).send();
            assert_eq!(code(ask(&door.bob, id).await.unwrap(), 404).await, "order_not_found", "{method} {path}");
            assert_eq!(code(ask(&door.bob, Uuid::now_v7()).await.unwrap(), 404).await, "order_not_found", "{method} {path}");
            assert_ne!(ask(&door.ada, id).await.unwrap().status(), 404, "{method} {path}");
        }
    }
    assert_eq!(paths, 3);
    let list: Value = door.request(Method::GET, "/v1/orders").bearer_auth(&door.bob).send().await.unwrap().json().await.unwrap();
    assert_eq!(list["data"], json!([]));
}

/// The request waits for the order's end, so that its answer is behind the commit for long enough to be killed.
async fn killed_before_the_answer(door: &Door, service: Service) {
    let key = format!("killed-{}", service.name());
    let before = door.orders_of("ada").await;
    let asked = door.place(&key, "tok_slow").header("Prefer", "wait=8").send();
    let committed = async {
        let id = until("the order is committed", SOON, || async {
            let now = door.orders_of("ada").await;
            now.into_iter().find(|id| !before.contains(id)).ok_or(())
        })
        .await;
        door.stack.kill(service).await.unwrap();
        id
    };
    let (answer, id) = tokio::join!(asked, committed);
    // No answer, or the gateway's own that it does not know.
    assert!(answer.as_ref().map_or(true, |answer| answer.status().is_server_error()), "{answer:?}");
    door.stack.restart(service).await.unwrap();
    let again = until("the request is answered", SOON, || async {
        match door.place(&key, "tok_slow").send().await {
            Ok(answer) if answer.status() == 202 => Ok(answer),
            other => Err(other.map(|answer| answer.status())),
        }
    })
    .await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    let shown: Value = again.json().await.unwrap();
    assert_eq!(shown["id"].as_str().unwrap(), id.to_string());
    assert_eq!(door.orders_of("ada").await.len(), before.len() + 1);
}

fn nothing_secret_was_logged(door: &Door) {
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let canaries = [signature(&door.ada), signature(&door.bob), "tok_slow".to_owned(), "tok_ok".to_owned()];
    for (part, _) in door.stack.running() {
        let log = door.stack.logs(part);
        for canary in &canaries {
            assert!(!log.contains(canary.as_str()), "{part} logged {canary}");
        }
    }
}
