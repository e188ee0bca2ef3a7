use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use stack::Stack;

use super::say;

const CUSTOMER: &str = "sample-customer";
const WITHIN: Duration = Duration::from_secs(30);

/// Creates a few products, orders one of each, and prints how the order goes to its end.
///
/// Fails unless the order is confirmed: a system that cannot do this is not up.
pub(super) async fn show(stack: &Stack) -> anyhow::Result<()> {
    let gateway = &stack.gateway_url();
    let headers = who(stack).await?;
    let headers_have_token = headers.contains_key(AUTHORIZATION);
    let client = Client::builder().timeout(Duration::from_secs(15)).no_proxy().default_headers(headers);
    let client = client.build().context("make an HTTP client")?;
    let run = format!("sample-{}-{}", std::process::id(), jiff::Timestamp::now().as_millisecond());
    let products = create_products(&client, gateway, &run).await?;
    say(format!("\nsample: {products} products listed; ordering one of each"))?;
    let began = Instant::now();
    let (order, trace) = place(&client, gateway, &run).await?;
    let id = order.get("id").and_then(Value::as_str).context("the answer has no order id")?.to_owned();
    say(format!("sample: order {id} {}", text(&order, "status")))?;
    let ended = follow(&client, gateway, &id).await?;
    let status = text(&ended, "status");
    say(format!("sample: order {id} {status} after {} ms, total {}", began.elapsed().as_millis(), total(&ended)))?;
    if status != "CONFIRMED" {
        bail!("the sample order ended as {status} ({})", text(&ended, "reason"));
    }
    if let Some(traces) = stack.traces() {
        traces.settled(&trace, WITHIN).await;
        say(format!("sample: its trace {trace}, also at {}/traces/{trace}\n{}", traces.endpoint(), traces.tell(&trace)))?;
    }
    let customer = if headers_have_token { "Authorization: Bearer $TOKEN" } else { "X-Customer-Id: sample-customer" };
    say(format!("try it:  curl -s -H '{customer}' {gateway}/v1/orders/{id}"))
}

/// The sample's customer: by a token where there is a provider, by the header otherwise.
async fn who(stack: &Stack) -> anyhow::Result<HeaderMap> {
    let env = stack.env();
    let mut headers = HeaderMap::new();
    if env.contains_key("TOKEN_URL") {
        // otto is the demo user who may do all of this; the mock makes him up.
        let token = stack.token("otto", "orders:read orders:write stock:write").await.context("get a token for the sample")?;
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).context("send the token")?);
    } else {
        headers.insert("x-customer-id", HeaderValue::from_static(CUSTOMER));
    }
    Ok(headers)
}

/// Lists the products that are not yet there; each is created with enough stock for many a `./run`.
async fn create_products(client: &Client, gateway: &str, run: &str) -> anyhow::Result<usize> {
    let product = |sku: &str, name: &str, brand: &str, minor: i64| json!({ "sku": sku, "name": name, "category": "sample", "brand": brand, "price": { "minor": minor, "currency": "USD" }, "stock": 1000 });
    let products = [
        product("sample-coffee", "Coffee beans 500 g", "Highland", 899),
        product("sample-tea", "Green tea 100 g", "Highland", 549),
        product("sample-cup", "Stoneware cup", "Kiln", 1250),
    ];
    let listed = get(client, &format!("{gateway}/v1/products?after=sample-&limit=10")).await?;
    let known = |sku: &Value| {
        listed.get("data").and_then(Value::as_array).is_some_and(|data| data.iter().any(|found| found.get("sku") == Some(sku)))
    };
    let missing: Vec<&Value> = products.iter().filter(|product| product.get("sku").is_some_and(|sku| !known(sku))).collect();
    if !missing.is_empty() {
        let answer =
            client.post(format!("{gateway}/v1/products")).header("Idempotency-Key", format!("{run}-products")).json(&missing).send().await;
        expect(answer.context("create products")?, &[StatusCode::CREATED, StatusCode::ACCEPTED]).await?;
    }
    Ok(products.len())
}

/// Prices may still be on their way to order-service when products were answered 202: an unknown SKU is asked again for a while.
async fn place(client: &Client, gateway: &str, run: &str) -> anyhow::Result<(Value, String)> {
    let lines: Vec<Value> = ["sample-coffee", "sample-tea", "sample-cup"].iter().map(|sku| json!({ "sku": sku, "quantity": 1 })).collect();
    let body = json!({ "lines": lines, "payment": { "token": "tok_ok" } });
    let deadline = Instant::now() + WITHIN;
    loop {
        let request = client.post(format!("{gateway}/v1/orders")).header("Idempotency-Key", format!("{run}-order"));
        let trace = new_trace()?;
        let request = request.header("traceparent", format!("00-{trace}-{}-01", trace.get(..16).unwrap_or_default()));
        let answer = request.json(&body).send().await.context("place an order")?;
        if answer.status() == StatusCode::UNPROCESSABLE_ENTITY && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        }
        return Ok((expect(answer, &[StatusCode::ACCEPTED]).await?, trace));
    }
}

/// 32 hexadecimal digits nobody has used.
fn new_trace() -> anyhow::Result<String> {
    stack::random_hex(16).context("draw a trace")
}

async fn follow(client: &Client, gateway: &str, id: &str) -> anyhow::Result<Value> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let order = get(client, &format!("{gateway}/v1/orders/{id}")).await?;
        if text(&order, "status") != "PENDING" {
            return Ok(order);
        }
        if Instant::now() > deadline {
            bail!("order {id} is still PENDING after {} s", WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn get(client: &Client, url: &str) -> anyhow::Result<Value> {
    let answer = client.get(url).send().await.with_context(|| format!("get {url}"))?;
    expect(answer, &[StatusCode::OK]).await
}

async fn expect(answer: reqwest::Response, wanted: &[StatusCode]) -> anyhow::Result<Value> {
    let (status, url) = (answer.status(), answer.url().clone());
    let body = answer.text().await.unwrap_or_default();
    if !wanted.contains(&status) {
        bail!("{url} answered {status}: {body}");
    }
    serde_json::from_str(&body).with_context(|| format!("{url} answered no JSON: {body}"))
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or("none").to_owned()
}

fn total(order: &Value) -> String {
    let part = |name: &str| order.get("total").and_then(|total| total.get(name));
    let minor = part("minor").and_then(Value::as_i64).unwrap_or_default();
    let currency = part("currency").and_then(Value::as_str).unwrap_or_default();
    format!("{}.{:02} {currency}", minor / 100, minor % 100)
}
