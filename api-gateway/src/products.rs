//! A product can be ordered once order-service has read its price; whoever creates products wants to know when.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, web::Bytes};
use contract::{NewProducts, PricesKnown, PricesQuery, headers as names};
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    http::uri::PathAndQuery,
};

use crate::{
    forward::Worker,
    hygiene,
    upstream::{Answer, Outgoing},
};

/// First pause between two questions; doubles up to the second.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(160);

/// `created` with status 201 if order-service knows all prices before the time is over, else with 202. An answer that is
/// not a success stays as it is.
pub(crate) async fn wait_for_prices(worker: &Worker, created: Answer, body: &[u8], request: &HttpRequest, request_id: &str) -> Answer {
    if !created.status.is_success() {
        return created;
    }
    let wait = worker.shared.config.prices_wait;
    let known = match Question::about(body, request, request_id) {
        Some(question) => tokio::time::timeout(wait, until_known(worker, &question)).await.is_ok(),
        // inventory-service accepted a body that we do not understand: say the weaker thing.
        None => false,
    };
    Answer { status: if known { StatusCode::CREATED } else { StatusCode::ACCEPTED }, ..created }
}

/// Asks until all prices are known. Bounded by the caller's timeout.
async fn until_known(worker: &Worker, question: &Question) {
    let mut pause = PAUSE;
    loop {
        let asked_at = Instant::now();
        let known = worker.orders.send(question.outgoing.clone()).await.ok().and_then(|answer| known(&answer));
        if known.is_some_and(|known| known >= question.skus) {
            return;
        }
        tokio::time::sleep(pause.saturating_sub(asked_at.elapsed())).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

fn known(answer: &Answer) -> Option<u64> {
    let known: PricesKnown = serde_json::from_slice(&answer.body).ok()?;
    answer.status.is_success().then_some(known.known)
}

struct Question {
    skus: u64,
    outgoing: Outgoing,
}

impl Question {
    fn about(body: &[u8], request: &HttpRequest, request_id: &str) -> Option<Self> {
        let products: NewProducts = contract::parse(body).ok()?;
        let query = PricesQuery { skus: products.products.into_iter().map(|product| product.sku).collect() };
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HeaderName::from_static(names::REQUEST_ID), HeaderValue::from_str(request_id).ok()?);
        hygiene::copy_token(request, &mut headers);
        let outgoing = Outgoing {
            method: Method::POST,
            path_and_query: PathAndQuery::from_static("/internal/prices/known"),
            headers,
            body: Bytes::from(serde_json::to_vec(&query).ok()?),
        };
        Some(Self { skus: u64::try_from(query.skus.len()).ok()?, outgoing })
    }
}
