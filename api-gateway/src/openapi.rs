//! The OpenAPI document: schemas from the contract's types, paths from the route table, problems from the registry of codes.
//! Committed as `openapi.json`; a test fails when it differs from what the code says.

use std::collections::BTreeMap;

use contract::{Code, IdempotencyKey, Problem, limits, schema::Components};
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;

use crate::routes::{Access, Body, Query, ROUTES, Route, Success, Then};

/// What every path may be answered.
const EVERYWHERE: &[Code] = &[
    Code::BadRequest,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::RequestTimeout,
    Code::RateLimited,
    Code::Overloaded,
    Code::Unavailable,
    Code::UpstreamTimeout,
    Code::Internal,
];

/// How a body may be refused, whatever it is.
const ANY_BODY: &[Code] = &[
    Code::MalformedJson,
    Code::UnknownField,
    Code::DuplicateField,
    Code::MissingField,
    Code::WrongType,
    Code::InvalidSku,
    Code::DuplicateSku,
];

/// What a request that must not happen twice may be answered.
const ONCE: &[Code] = &[Code::IdempotencyKeyRequired, Code::IdempotencyKeyInvalid, Code::IdempotencyKeyReused, Code::RequestInFlight];

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let mut document = serde_json::to_value(Components::openapi()).unwrap_or_default();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(operations) = operations.as_object_mut() {
            operations.insert(route.method.as_str().to_lowercase(), operation(route));
        }
    }
    // A page names what is on it, in place of saying all of it again.
    for entry in ["Order", "Product"] {
        if let Some(items) = document.pointer_mut(&format!("/components/schemas/Page_{entry}/properties/data/items")) {
            *items = reference(entry);
        }
    }
    if let Some(root) = document.as_object_mut() {
        root.insert("openapi".to_owned(), json!("3.1.0"));
        root.insert("paths".to_owned(), Value::Object(paths));
        root.insert("servers".to_owned(), json!([{ "url": "/" }]));
    }
    document
}

/// The document as text, as it is committed.
#[must_use]
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// Every code that `route` may be refused with, in the order of the registry.
#[must_use]
pub fn codes(route: &Route) -> Vec<Code> {
    let access: &[Code] = match route.access {
        Access::Public => &[],
        Access::Customer(_) | Access::Holder(_) => &[Code::Unauthenticated, Code::InvalidToken, Code::InsufficientScope],
    };
    let of_body: &[&[Code]] = match route.body {
        Body::None | Body::Ignored => &[],
        Body::PlaceOrder => &[
            ANY_BODY,
            ONCE,
            &[Code::EmptyOrder, Code::TooManyLines, Code::QuantityOutOfRange, Code::InvalidPaymentToken, Code::InvalidText],
        ],
        Body::NewProducts => &[
            ANY_BODY,
            ONCE,
            &[Code::EmptyList, Code::TooManyItems, Code::PriceOutOfRange, Code::InvalidCurrency, Code::StockOutOfRange, Code::InvalidText],
        ],
        Body::StockReceipts => &[ANY_BODY, ONCE, &[Code::EmptyList, Code::TooManyItems, Code::StockOutOfRange]],
    };
    let of_query: &[Code] = match route.query {
        Query::None => &[],
        Query::Orders | Query::Products => &[Code::LimitOutOfRange],
    };
    let of_path: &[Code] = if route.path.contains("{id}") { &[Code::OrderNotFound] } else { &[] };
    let parts = [EVERYWHERE, access, of_query, of_path, route.problems, &[Code::InvalidQuery]];
    let all: Vec<Code> = parts.into_iter().chain(of_body.iter().copied()).flatten().copied().collect();
    Code::ALL.iter().copied().filter(|code| all.contains(code)).collect()
}

fn operation(route: &Route) -> Value {
    let (tag, security) = match route.access {
        Access::Public => ("catalogue", json!([])),
        Access::Customer(scope) => ("orders", json!([{ "bearer": [scope.as_str()] }])),
        Access::Holder(scope) => ("catalogue", json!([{ "bearer": [scope.as_str()] }])),
    };
    let mut responses: Map<String, Value> =
        route.successes.iter().map(|success| (success.status.to_string(), answer(route, success))).collect();
    responses.extend(problems(&codes(route)));
    let mut operation = json!({
        "operationId": route.name, "summary": route.summary, "tags": [tag], "security": security,
        "parameters": parameters(route), "responses": responses,
    });
    if let Some(operation) = operation.as_object_mut() {
        if !route.description.is_empty() {
            operation.insert("description".to_owned(), json!(route.description));
        }
        if let Some(schema) = body(route.body) {
            let content = json!({ "required": true, "content": { "application/json": { "schema": reference(schema) } } });
            operation.insert("requestBody".to_owned(), content);
        }
        if route.deprecated.is_some() {
            operation.insert("deprecated".to_owned(), json!(true));
        }
    }
    operation
}

const fn body(body: Body) -> Option<&'static str> {
    match body {
        Body::None | Body::Ignored => None,
        Body::PlaceOrder => Some("PlaceOrder"),
        Body::NewProducts => Some("NewProducts"),
        Body::StockReceipts => Some("StockReceipts"),
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn answer(route: &Route, success: &Success) -> Value {
    let mut answer = json!({ "description": success.description, "headers": headers(success.headers) });
    let content = match (success.schema, route.then, success.status) {
        (Some(schema), _, _) => json!({ "application/json": { "schema": reference(schema) } }),
        (None, Then::Stream, 200) => json!({ "text/event-stream": { "schema": event() } }),
        (None, _, _) => return answer,
    };
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("content".to_owned(), content);
    }
    answer
}

/// One event of a stream; 3.1 describes a stream by what it is made of.
fn event() -> Value {
    let data = json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": reference("OrderEvent") });
    let properties = json!({ "id": { "type": "string", "pattern": "^[1-9][0-9]*$" }, "event": { "type": "string" }, "data": data });
    json!({ "type": "object", "properties": properties })
}

/// One answer for each status, with an example for each code.
fn problems(codes: &[Code]) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(*code);
    }
    let answer = |(status, codes): (u16, Vec<Code>)| {
        let names: Vec<String> = codes.iter().map(|code| format!("[`{code}`](/problems/{code})")).collect();
        let examples: Map<String, Value> = codes
            .iter()
            .map(|code| (code.to_string(), json!({ "summary": code.title(), "value": Problem::new(*code).document() })))
            .collect();
        let waits = codes.iter().any(|code| code.retry_after_seconds().is_some());
        let extra: &[&str] = match (status, waits) {
            (401 | 403, _) => &["WWW-Authenticate"],
            (_, true) => &["Retry-After"],
            (_, false) => &[],
        };
        let content = json!({ "application/problem+json": { "schema": reference("Problem"), "examples": examples } });
        (status.to_string(), json!({ "description": names.join(", "), "headers": headers(extra), "content": content }))
    };
    by_status.into_iter().map(answer).collect()
}

/// The headers of every answer, and `extra`.
fn headers(extra: &[&str]) -> Value {
    let describe = |name: &&str| {
        let (description, schema) = match *name {
            "X-Request-Id" => ("Names the request in logs: the client's, or a new one.", json!({ "type": "string" })),
            "RateLimit-Policy" => ("What the caller may ask for: `\"subject\";q=200;w=4`.", json!({ "type": "string" })),
            "RateLimit" => ("What is left of it: `\"subject\";r=199;t=1`.", json!({ "type": "string" })),
            "Location" => ("Where the order is.", json!({ "type": "string", "format": "uri-reference" })),
            "ETag" => ("The version of the order, for `If-Match` and `If-None-Match`.", json!({ "type": "string" })),
            "Retry-After" => ("Seconds after which to ask again.", json!({ "type": "integer", "minimum": 0 })),
            "Idempotent-Replayed" => {
                ("`true` where this is the answer to an earlier request with the same key.", json!({ "type": "string", "enum": ["true"] }))
            }
            "Preference-Applied" => ("The preferences that were met.", json!({ "type": "string" })),
            "Link" => ("The next page, as `<…>; rel=\"next\"` (RFC 8288).", json!({ "type": "string" })),
            "Cache-Control" => ("How long caches may keep it.", json!({ "type": "string" })),
            "WWW-Authenticate" => ("What is wanted of a caller (RFC 6750).", json!({ "type": "string" })),
            _ => ("", json!({ "type": "string" })),
        };
        ((*name).to_owned(), json!({ "description": description, "schema": schema }))
    };
    let always = ["X-Request-Id", "RateLimit-Policy", "RateLimit"];
    Value::Object(always.iter().chain(extra).map(describe).collect())
}

fn parameters(route: &Route) -> Value {
    let mut all = Vec::new();
    if route.path.contains("{id}") {
        all.push(parameter("path", "id", true, "The order.", json!({ "type": "string", "format": "uuid" })));
    }
    let text = |characters_max: usize| json!({ "type": "string", "maxLength": characters_max });
    let price = || json!({ "type": "integer", "format": "int64", "minimum": 0 });
    let page = |default: u32, max: u32| {
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": max, "default": default });
        let after = json!({ "type": "string", "maxLength": 64 });
        [
            parameter("query", "limit", false, "Most entries of the page.", limit),
            parameter("query", "after", false, "The `next` of the page before.", after),
        ]
    };
    match route.query {
        Query::None => {}
        Query::Orders => all.extend(page(limits::ORDERS_PAGE_DEFAULT, limits::ORDERS_PAGE_MAX)),
        Query::Products => {
            all.extend(page(limits::PRODUCTS_PAGE_DEFAULT, limits::PRODUCTS_PAGE_MAX));
            let words = limits::SEARCH_CHARACTERS_MAX;
            all.push(parameter("query", "q", false, "Stands in the name, the brand or the category, in any case.", text(words)));
            all.push(parameter("query", "category", false, "Is the category.", text(words)));
            all.push(parameter("query", "price_min", false, "Least price of one unit, in minor units.", price()));
            all.push(parameter("query", "price_max", false, "Greatest price of one unit, in minor units.", price()));
        }
    }
    if body(route.body).is_some() {
        let key =
            json!({ "type": "string", "minLength": 1, "maxLength": IdempotencyKey::LENGTH_MAX, "pattern": "^[A-Za-z0-9._:-]{1,128}$" });
        let description =
            "The client's name for this intent. The same key with the same body is answered as the first time; kept for 24 hours.";
        all.push(parameter("header", "Idempotency-Key", true, description, key));
    }
    for (name, description) in optional_headers(route) {
        all.push(parameter("header", name, false, description, json!({ "type": "string" })));
    }
    Value::Array(all)
}

fn optional_headers(route: &Route) -> Vec<(&'static str, &'static str)> {
    let mut headers = Vec::new();
    if route.problems.contains(&Code::NotPublished) {
        headers.push((
            "Prefer",
            "`wait=N`: answer when the order has ended, or after N seconds (at most 8). `ack=published`: answer once the order is in the log as well.",
        ));
    } else if route.successes.iter().any(|success| success.headers.contains(&"Preference-Applied")) {
        headers.push(("Prefer", "`wait=N`: answer when the order has ended, or after N seconds (at most 8)."));
    }
    if route.successes.iter().any(|success| success.status == 304) {
        headers.push(("If-None-Match", "The `ETag` that is known already."));
    }
    if route.problems.contains(&Code::PreconditionFailed) {
        headers.push(("If-Match", "Cancel only if the order still has this `ETag`."));
    }
    if route.then == Then::Stream {
        headers.push(("Last-Event-ID", "The `id` of the last event that was received."));
    }
    headers
}

fn parameter(place: &str, name: &str, required: bool, description: &str, schema: Value) -> Value {
    json!({ "in": place, "name": name, "required": required, "description": description, "schema": schema })
}
