//! Which headers cross the gateway, in both directions.

use actix_web::{HttpRequest, HttpResponseBuilder, http::header as inner};
use contract::headers as names;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;
use values::CustomerId;

/// What a client may say to a service. Everything else stays at the door, a client's own `X-Customer-Id` included.
static FORWARDED: [HeaderName; 10] = [
    HeaderName::from_static(names::IDEMPOTENCY_KEY),
    hyper::header::CONTENT_TYPE,
    hyper::header::ACCEPT,
    HeaderName::from_static("prefer"),
    hyper::header::IF_MATCH,
    hyper::header::IF_NONE_MATCH,
    hyper::header::IF_MODIFIED_SINCE,
    hyper::header::IF_UNMODIFIED_SINCE,
    hyper::header::IF_RANGE,
    HeaderName::from_static("traceparent"),
];

/// What belongs to one connection (RFC 9110, 7.6.1), and what the gateway says itself.
const KEPT_BACK: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "date",
    "server",
    names::REQUEST_ID,
];

/// The headers of the request to a service.
pub(crate) fn request_headers(request: &HttpRequest, customer: Option<&CustomerId>, request_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    for name in &FORWARDED {
        for value in request.headers().get_all(name.as_str()) {
            // Two versions of one crate: the same bytes are valid in both.
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(name, value);
            }
        }
    }
    if let Some(customer) = customer.and_then(|customer| HeaderValue::from_str(customer.as_str()).ok()) {
        headers.insert(HeaderName::from_static(names::CUSTOMER_ID), customer);
    }
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static(names::REQUEST_ID), request_id);
    }
    headers
}

/// Copies what the client may see of a service's answer.
pub(crate) fn copy_response_headers(from: &HeaderMap, to: &mut HttpResponseBuilder) {
    let connection = from.get_all(hyper::header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = connection.flat_map(|value| value.split(',').map(str::trim)).collect();
    for (name, value) in from {
        let kept_back = KEPT_BACK.contains(&name.as_str()) || named.iter().any(|other| name.as_str().eq_ignore_ascii_case(other));
        if kept_back {
            continue;
        }
        if let Ok(value) = inner::HeaderValue::from_bytes(value.as_bytes()) {
            to.append_header((name.as_str(), value));
        }
    }
}

/// The id of a request: the client's, if it is one that can stand in a log, or a new one.
pub(crate) fn request_id(request: &HttpRequest) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let given = request.headers().get(names::REQUEST_ID).and_then(|value| value.to_str().ok());
    match given.filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(allowed)) {
        Some(id) => id.to_owned(),
        None => Uuid::now_v7().to_string(),
    }
}
