//! Every refusal names its reason and the field, and leaves nothing behind.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, order};
use crate::system::{Shared, System};

const CUSTOMER: &str = "refused";

/// Nothing of this customer is in any table of any service, and nothing was sent.
async fn nothing_is_left(system: &System, key: &str) {
    let orders = system.count("orders", "SELECT count(*) FROM orders WHERE customer_id = $1", CUSTOMER).await;
    let keys = system.count("orders", "SELECT count(*) FROM idempotency WHERE key = $1", key).await;
    let receipts = system.count("inventory", "SELECT count(*) FROM idempotency WHERE key = $1", key).await;
    assert_eq!((orders, keys, receipts), (0, 0, 0), "{key} left something behind");
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str, pointer: Option<&str>) {
    let problem = answer.json();
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{problem}");
    assert_eq!(answer.header("content-type").map(|value| value.split(';').next().unwrap()), Some("application/problem+json"));
    assert_eq!(problem["type"], format!("/problems/{code}"));
    assert_eq!(problem["status"], status);
    if let Some(pointer) = pointer {
        let pointers: Vec<&str> =
            problem["errors"].as_array().into_iter().flatten().filter_map(|error| error["pointer"].as_str()).collect();
        assert!(pointers.contains(&pointer), "{pointer} is not named in {problem}");
    }
}

#[tokio::test]
async fn a_wrong_order_is_refused_by_field_and_leaves_nothing_behind() {
    let system = Shared::enter().await;
    let client = system.client(CUSTOMER);
    client.create(&["refuse-1"], 100, 10).await;
    let many: Vec<(String, u64)> = (0..201).map(|number| (format!("many-{number}"), 1)).collect();
    let many: Vec<(&str, u64)> = many.iter().map(|(sku, quantity)| (sku.as_str(), *quantity)).collect();
    let line = |line: Value| json!({"lines": [line], "payment": {"token": "tok_ok"}});
    let cases: Vec<(&str, Value, u16, &str, Option<&str>)> = vec![
        ("empty", order(&[], "tok_ok"), 422, "empty_order", Some("/lines")),
        ("many", order(&many, "tok_ok"), 422, "too_many_lines", Some("/lines")),
        ("zero", order(&[("refuse-1", 0)], "tok_ok"), 422, "quantity_out_of_range", Some("/lines/0/quantity")),
        ("million", order(&[("refuse-1", 1_000_001)], "tok_ok"), 422, "quantity_out_of_range", Some("/lines/0/quantity")),
        ("twice", order(&[("refuse-1", 1), ("refuse-1", 1)], "tok_ok"), 422, "duplicate_sku", Some("/lines/1/sku")),
        ("unknown", order(&[("refuse-1", 1), ("no-such-sku", 1)], "tok_ok"), 422, "unknown_sku", Some("/lines/1/sku")),
        ("sku", order(&[("not a sku", 1)], "tok_ok"), 422, "invalid_sku", Some("/lines/0/sku")),
        ("token", order(&[("refuse-1", 1)], "4111111111111111"), 422, "invalid_payment_token", Some("/payment/token")),
        ("missing", json!({"lines": [{"sku": "refuse-1", "quantity": 1}]}), 422, "missing_field", Some("/payment")),
        ("price", line(json!({"sku": "refuse-1", "quantity": 1, "unit_price": 1})), 422, "unknown_field", Some("/lines/0/unit_price")),
        ("negative", line(json!({"sku": "refuse-1", "quantity": -1})), 422, "quantity_out_of_range", Some("/lines/0/quantity")),
        ("text", line(json!({"sku": "refuse-1", "quantity": "1"})), 422, "wrong_type", Some("/lines/0/quantity")),
    ];
    for (name, body, status, code, pointer) in cases {
        let key = format!("refused-{name}");
        let answer = client.place(&key, &body).await;
        eprintln!("{name}: {}", answer.json());
        assert_problem(&answer, status, code, pointer);
        nothing_is_left(&system, &key).await;
    }
    system.verdict().await;
}

#[tokio::test]
async fn a_wrong_request_is_refused_before_its_body_matters() {
    let system = Shared::enter().await;
    let client = system.client(CUSTOMER);
    let post = |key: Option<&str>, content: &str, body: Vec<u8>| {
        let request = client.request(Method::POST, "/v1/orders").header("Content-Type", content).body(body);
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    };
    let whole = order(&[("refuse-1", 1)], "tok_ok").to_string().into_bytes();
    let long = "k".repeat(129);
    let cases = vec![
        ("no key", post(None, "application/json", whole.clone()), 400, "idempotency_key_required"),
        ("long key", post(Some(&long), "application/json", whole.clone()), 400, "idempotency_key_invalid"),
        ("odd key", post(Some("a key"), "application/json", whole.clone()), 400, "idempotency_key_invalid"),
        ("not JSON", post(Some("refused-json"), "application/json", b"{\"lines\":".to_vec()), 400, "malformed_json"),
        ("too large", post(Some("refused-large"), "application/json", vec![b' '; 64 * 1024 + 1]), 413, "body_too_large"),
        ("XML", post(Some("refused-type"), "application/xml", whole.clone()), 415, "unsupported_media_type"),
        ("no such path", client.request(Method::GET, "/v1/nothing"), 404, "not_found"),
        ("no such method", client.request(Method::DELETE, "/v1/orders"), 405, "method_not_allowed"),
        ("bad cursor", client.request(Method::GET, "/v1/orders?after=%21%21"), 400, "invalid_cursor"),
        ("bad limit", client.request(Method::GET, "/v1/products?limit=1001"), 400, "limit_out_of_range"),
        ("no such order", client.request(Method::GET, "/v1/orders/01890000-0000-7000-8000-000000000000"), 404, "order_not_found"),
    ];
    for (name, request, status, code) in cases {
        let answer = client.send(request).await.unwrap();
        eprintln!("{name}: {}", answer.json());
        assert_problem(&answer, status, code, None);
    }
    for key in ["refused-json", "refused-large", "refused-type"] {
        nothing_is_left(&system, key).await;
    }
    let nobody = reqwest::Client::new().get(format!("{}/v1/orders", system.stack.gateway_url())).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    system.verdict().await;
}

#[tokio::test]
async fn a_receipt_of_an_unknown_product_is_refused_whole() {
    let system = Shared::enter().await;
    let client = system.client(CUSTOMER);
    client.create(&["refuse-stock-1"], 100, 5).await;
    let body = json!([{"sku": "refuse-stock-1", "units": 5}, {"sku": "no-such-sku", "units": 1}]);
    let answer = client.post("/v1/stock", "refused-stock", &body).await;
    assert_problem(&answer, 422, "unknown_sku", Some("/1/sku"));
    assert_eq!(client.available("refuse-stock-1").await, 5);
    nothing_is_left(&system, "refused-stock").await;
    system.verdict().await;
}
