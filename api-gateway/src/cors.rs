//! Which pages of other origins may use the API from a browser: those listed, exactly.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

use crate::server::Shared;

/// What a page may read of an answer.
const EXPOSED: &str = "Location, ETag, Link, Retry-After, RateLimit, RateLimit-Policy, Idempotent-Replayed, Preference-Applied, \
    Deprecation, Sunset, X-Request-Id, traceparent, WWW-Authenticate";
/// What a page may send.
const ACCEPTED: &str = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Prefer, X-Request-Id, traceparent, X-Customer-Id";
/// How long a browser keeps the answer to its question.
const MAX_AGE_SECONDS: &str = "600";

/// The origin of `request`, if it is one that may be answered.
pub(crate) fn origin(shared: &Shared, request: &HttpRequest) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    let listed = shared.config.cors_origins.0.iter().any(|listed| listed.as_bytes() == origin.as_bytes());
    listed.then(|| origin.clone())
}

/// Lets the page of `origin` read the answer.
pub(crate) fn expose(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

/// The answer to a browser that asks before it sends; none for anything else.
pub(crate) fn preflight(shared: &Shared, request: &HttpRequest, methods: &str) -> Option<HttpResponse> {
    let asks = request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !asks || origin(shared, request).is_none() {
        return None;
    }
    let mut response = HttpResponse::NoContent().finish();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    set(header::ACCESS_CONTROL_ALLOW_HEADERS, ACCEPTED);
    set(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS);
    Some(response)
}
