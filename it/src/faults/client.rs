//! A customer at the public door. Everything it asks and hears goes to the HTTP log that the checker reads.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::httplog::{Entry, Outcome, Writer, hash};

/// Longest wait for an answer: the gateway gives up before.
const ANSWER: Duration = Duration::from_secs(20);

/// A client of the gateway; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    log: Arc<Writer>,
    /// Sent as `X-Customer-Id`.
    pub customer: String,
}

/// What the system answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The id of the order it shows.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.json().get("id").and_then(Value::as_str).and_then(|id| id.parse().ok())
    }
}

/// The body of an order: lines of SKU and quantity, paid with `token`.
#[must_use]
pub fn order(lines: &[(String, u64)], token: &str) -> Value {
    let lines: Vec<Value> = lines.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
    json!({"lines": lines, "payment": {"token": token}})
}

impl Client {
    /// A customer of the door at `base`.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(base: String, log: Arc<Writer>, customer: impl Into<String>) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().timeout(ANSWER).no_proxy().build()?;
        Ok(Self { http, base, log, customer: customer.into() })
    }

    /// The same client as another customer.
    #[must_use]
    pub fn of(&self, customer: &str) -> Self {
        Self { customer: customer.to_owned(), ..self.clone() }
    }

    /// A request to be sent with [`Client::send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).header("X-Customer-Id", &self.customer)
    }

    /// Sends and logs; `Ok(None)` when no answer came.
    ///
    /// # Errors
    /// The request is none, or the log cannot be written.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Option<Answer>> {
        let request = request.build()?;
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let path =
            request.url().query().map_or_else(|| request.url().path().to_owned(), |query| format!("{}?{query}", request.url().path()));
        let mut entry = Entry {
            at_ms: jiff::Timestamp::now().as_millisecond(),
            method: request.method().to_string(),
            path,
            key: header("Idempotency-Key"),
            customer: header("X-Customer-Id"),
            body_hash: request.body().and_then(reqwest::Body::as_bytes).map(hash),
            outcome: Outcome::Unknown,
            status: None,
            order_id: None,
            response_hash: None,
        };
        let answer = self.answer(request).await.ok();
        if let Some(answer) = &answer {
            entry.outcome = Outcome::of_status(Some(answer.status));
            entry.status = Some(answer.status);
            entry.order_id = answer.id();
            entry.response_hash = Some(hash(&answer.bytes));
        }
        if entry.method != "GET" {
            self.log.append(&entry)?;
        }
        Ok(answer)
    }

    async fn answer(&self, request: reqwest::Request) -> reqwest::Result<Answer> {
        let response = self.http.execute(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, bytes: response.bytes().await?.to_vec() })
    }

    /// `POST` of `body` under `key`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn post(&self, path: &str, key: &str, body: &Value) -> anyhow::Result<Option<Answer>> {
        self.send(self.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await
    }
}
