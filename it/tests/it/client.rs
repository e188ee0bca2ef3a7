//! A customer at the public door. Everything it asks and hears goes to the HTTP log that the checker reads.

use std::sync::Arc;
use std::time::Duration;

use it::httplog::{Entry, Outcome, Writer, hash};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::wait::{SOON, until};

#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    log: Arc<Writer>,
    pub(crate) customer: String,
}

/// What the system answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The id of the order it shows.
    pub(crate) fn id(&self) -> Uuid {
        self.json()["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no order in {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self
    }
}

/// One order: lines of SKU and quantity, paid with `token`.
pub(crate) fn order(lines: &[(&str, u64)], token: &str) -> Value {
    let lines: Vec<Value> = lines.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
    json!({"lines": lines, "payment": {"token": token}})
}

impl Client {
    pub(crate) fn new(base: String, log: Arc<Writer>, customer: impl Into<String>) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build().unwrap();
        Self { http, base, log, customer: customer.into() }
    }

    /// The same client as another customer.
    pub(crate) fn of(&self, customer: &str) -> Self {
        Self { customer: customer.to_owned(), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).header("X-Customer-Id", &self.customer)
    }

    /// Sends and logs; `Err` when no answer came.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let request = request.build()?;
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut entry = Entry {
            at_ms: jiff::Timestamp::now().as_millisecond(),
            method: request.method().to_string(),
            path: request
                .url()
                .query()
                .map_or_else(|| request.url().path().to_owned(), |query| format!("{}?{query}", request.url().path())),
            key: header("Idempotency-Key"),
            customer: header("X-Customer-Id"),
            body_hash: request.body().and_then(reqwest::Body::as_bytes).map(hash),
            outcome: Outcome::Unknown,
            status: None,
            order_id: None,
            response_hash: None,
        };
        let answer = async {
            let response = self.http.execute(request).await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok(Answer { status, headers, bytes: response.bytes().await?.to_vec() })
        }
        .await;
        if let Ok(answer) = &answer {
            entry.outcome = Outcome::of_status(Some(answer.status));
            entry.status = Some(answer.status);
            entry.order_id = answer.json()["id"].as_str().and_then(|id| id.parse().ok());
            entry.response_hash = Some(hash(&answer.bytes));
        }
        if entry.method != "GET" {
            self.log.append(&entry).unwrap();
        }
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await.unwrap()
    }

    pub(crate) async fn place(&self, key: &str, order: &Value) -> Answer {
        self.post("/v1/orders", key, order).await
    }

    /// Places an order that must be accepted, under a key of its own.
    pub(crate) async fn placed(&self, lines: &[(&str, u64)], token: &str) -> Uuid {
        self.place(&Uuid::now_v7().to_string(), &order(lines, token)).await.expect(202).id()
    }

    /// Places an order and asks again, under the same key, until it is accepted or refused for good.
    pub(crate) async fn place_surely(&self, key: &str, order: &Value) -> Answer {
        until("an answer to a placement", 2 * SOON, || async {
            match self.send(self.request(Method::POST, "/v1/orders").header("Idempotency-Key", key).json(order)).await {
                Ok(answer) if !matches!(answer.status, 409 | 429 | 500..) => Ok(answer),
                other => Err(other.map(|answer| answer.status)),
            }
        })
        .await
    }

    pub(crate) async fn cancel(&self, id: Uuid) -> Answer {
        self.send(self.request(Method::POST, &format!("/v1/orders/{id}/cancel"))).await.unwrap()
    }

    pub(crate) async fn order(&self, id: Uuid) -> Value {
        self.get(&format!("/v1/orders/{id}")).await.expect(200).json()
    }

    /// The order once `wanted` accepts it.
    pub(crate) async fn order_when(&self, id: Uuid, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("order {id} {what}"), SOON, || async {
            match self.send(self.request(Method::GET, &format!("/v1/orders/{id}"))).await {
                Ok(answer) if wanted(&answer.json()) => Ok(answer.json()),
                other => Err(other.map(|answer| answer.json())),
            }
        })
        .await
    }

    /// The order once its saga has ended.
    pub(crate) async fn ended(&self, id: Uuid) -> Value {
        self.order_when(id, "has ended", |order| order["ended_at"].is_string()).await
    }

    #[track_caller]
    pub(crate) fn assert_ended(order: &Value, status: &str, reason: Option<&str>) {
        assert_eq!((order["status"].as_str(), order["reason"].as_str()), (Some(status), reason), "{order}");
    }

    /// Creates products that all cost `price_minor`, with `stock` units each.
    pub(crate) async fn create(&self, skus: &[&str], price_minor: i64, stock: u64) {
        let products: Vec<Value> = skus
            .iter()
            .map(|sku| {
                json!({"sku": sku, "name": format!("product {sku}"), "category": "test", "brand": "it",
                    "price": {"minor": price_minor, "currency": "USD"}, "stock": stock})
            })
            .collect();
        self.create_all(&products).await;
    }

    /// Creates products and waits until they can be ordered.
    pub(crate) async fn create_all(&self, products: &[Value]) {
        for part in products.chunks(1_000) {
            let key = Uuid::now_v7().to_string();
            until("products can be ordered", SOON, || async {
                let answer = self.post("/v1/products", &key, &Value::from(part.to_vec())).await;
                assert!(answer.status < 400 || answer.status == 503, "{}", String::from_utf8_lossy(&answer.bytes));
                if answer.status == 201 { Ok(()) } else { Err(answer.status) }
            })
            .await;
        }
    }

    /// Units of `sku` that can be held now, as the shop shows them.
    pub(crate) async fn available(&self, sku: &str) -> i64 {
        // the page starts after a SKU: the one just before ours
        let mut before = sku.to_owned();
        let last = before.pop().unwrap();
        let before = format!("{before}{}", char::from_u32(u32::from(last) - 1).unwrap());
        let page = self.get(&format!("/v1/products?limit=1000&after={before}")).await.expect(200).json();
        let product =
            page["data"].as_array().unwrap().iter().find(|product| product["sku"] == sku).unwrap_or_else(|| panic!("no {sku} in {page}"));
        product["available"].as_i64().unwrap()
    }
}
