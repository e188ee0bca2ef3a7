//! Which headers cross the gateway, in both directions.

use std::rc::Rc;

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BoxBody, MessageBody as _},
    http::header as inner,
};
use contract::headers as names;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use identity::Caller;
use uuid::Uuid;

use crate::routes::Deprecation;

pub(crate) const TRACEPARENT: &str = "traceparent";

/// What a client may say to a service. Everything else stays at the door, a client's own `X-Customer-Id` included.
static FORWARDED: [HeaderName; 9] = [
    HeaderName::from_static(names::IDEMPOTENCY_KEY),
    hyper::header::CONTENT_TYPE,
    hyper::header::ACCEPT,
    HeaderName::from_static("prefer"),
    hyper::header::IF_MATCH,
    hyper::header::IF_NONE_MATCH,
    hyper::header::IF_MODIFIED_SINCE,
    hyper::header::IF_UNMODIFIED_SINCE,
    hyper::header::IF_RANGE,
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

/// The headers of the request to a service. It gets the caller's token as well, to check it again.
pub(crate) fn request_headers(request: &HttpRequest, caller: Option<&Caller>, request_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    for name in &FORWARDED {
        for value in request.headers().get_all(name.as_str()) {
            // Two versions of one crate: the same bytes are valid in both.
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(name, value);
            }
        }
    }
    if let Ok(trace) = HeaderValue::from_str(&Trace::of(request).0) {
        headers.insert(HeaderName::from_static(TRACEPARENT), trace);
    }
    copy_caller(request, caller, &mut headers);
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static(names::REQUEST_ID), request_id);
    }
    headers
}

/// Who asks: the token, which the service checks again, and what the gateway read in it.
fn copy_caller(request: &HttpRequest, caller: Option<&Caller>, headers: &mut HeaderMap) {
    let Some(caller) = caller else { return };
    copy_token(request, headers);
    let customer = caller.customer.as_ref().and_then(|customer| HeaderValue::from_str(customer.as_str()).ok());
    if let Some(customer) = customer {
        headers.insert(HeaderName::from_static(names::CUSTOMER_ID), customer);
    }
}

/// The caller's token, for a service that checks it again.
pub(crate) fn copy_token(request: &HttpRequest, headers: &mut HeaderMap) {
    let token = request.headers().get(inner::AUTHORIZATION).and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
    if let Some(mut token) = token {
        token.set_sensitive(true);
        headers.insert(hyper::header::AUTHORIZATION, token);
    }
}

/// The trace a request belongs to: its client's, or one that begins here. Kept with the request, so that whoever asks gets the same.
#[derive(Debug, Clone)]
pub(crate) struct Trace(Rc<str>);

impl Trace {
    /// The trace of `request`.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        if let Some(known) = request.extensions().get::<Self>() {
            return known.clone();
        }
        let trace = Self(given_trace(request).map_or_else(begun_trace, Rc::from));
        request.extensions_mut().insert(trace.clone());
        trace
    }

    /// Its id: 32 hexadecimal digits.
    pub(crate) fn id(&self) -> &str {
        self.0.split('-').nth(1).unwrap_or_default()
    }
}

/// Not sampled: nobody asked for it to be recorded, yet its id stands in every log and problem. A UUID of version 7 has enough chance in both halves.
fn begun_trace() -> Rc<str> {
    let (trace, span) = (Uuid::now_v7(), Uuid::now_v7().as_u64_pair().1);
    Rc::from(format!("00-{}-{span:016x}-00", trace.simple()))
}

/// A client's trace goes on in our services if it is one: version 00 of W3C Trace Context, 3.2.
fn given_trace(request: &HttpRequest) -> Option<&str> {
    let hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let some = |text: &str| text.bytes().any(|byte| byte != b'0');
    let valid = |text: &&str| {
        let parts: Vec<&str> = text.split('-').collect();
        match parts.as_slice() {
            ["00", trace, span, flags] => hex(trace, 32) && some(trace) && hex(span, 16) && some(span) && hex(flags, 2),
            _ => false,
        }
    };
    request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok()).filter(valid)
}

/// Names the trace in a problem, a service's as well as our own. The body of a problem is at hand and small.
pub(crate) fn name_trace(response: HttpResponse, trace: &Trace) -> HttpResponse {
    let is_problem = response.headers().get(inner::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == names::PROBLEM_JSON.as_bytes());
    if !is_problem || response.headers().contains_key(inner::CONTENT_ENCODING) {
        return response;
    }
    let (response, body) = response.into_parts();
    match body.try_into_bytes() {
        Ok(bytes) => match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes) {
            Ok(mut problem) => {
                problem.insert("trace_id".to_owned(), trace.id().into());
                response.set_body(BoxBody::new(serde_json::to_vec(&problem).unwrap_or_default()))
            }
            Err(_not_an_object) => response.set_body(BoxBody::new(bytes)),
        },
        Err(body) => response.set_body(body),
    }
}

/// Says that a route goes away.
pub(crate) fn announce_end(deprecation: Deprecation, headers: &mut inner::HeaderMap) {
    let Deprecation { since_unix_seconds, sunset, link } = deprecation;
    let all = [
        ("deprecation", format!("@{since_unix_seconds}")),
        ("sunset", sunset.to_owned()),
        ("link", format!("<{link}>; rel=\"deprecation\"; type=\"text/html\"")),
    ];
    for (name, text) in all {
        if let Ok(value) = inner::HeaderValue::from_str(&text) {
            headers.append(inner::HeaderName::from_static(name), value);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_goes_away_says_since_when_and_until_when() {
        let mut headers = inner::HeaderMap::new();
        let deprecation = Deprecation { since_unix_seconds: 1_767_225_600, sunset: "Thu, 31 Dec 2026 23:59:59 GMT", link: "/docs" };
        announce_end(deprecation, &mut headers);
        let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!((text("deprecation"), text("sunset")), ("@1767225600".to_owned(), "Thu, 31 Dec 2026 23:59:59 GMT".to_owned()));
        assert_eq!(text("link"), "</docs>; rel=\"deprecation\"; type=\"text/html\"");
    }
}
