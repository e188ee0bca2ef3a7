//! The server span of a service's requests.

use std::time::SystemTime;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest};

use crate::names::attribute;
use crate::{Context, Kind, Span, begin, emit, now, on, received};

/// The context a request was sent with.
#[must_use]
pub fn parent(headers: &HeaderMap) -> Option<Context> {
    if !on() {
        return None;
    }
    received(headers.get("traceparent").and_then(|value| value.to_str().ok()))
}

/// The context of the request being served, for what is decided because of it.
#[must_use]
pub fn of(request: &HttpRequest) -> Option<Context> {
    if on() { request.extensions().get::<Context>().copied() } else { None }
}

/// The span of a request that was served on a route of the table.
#[must_use]
pub fn server(method: &str, route: &str, status: u16, place: (Context, Option<Context>), began: SystemTime) -> Span {
    let span = Span::new(Kind::Server, format!("{method} {route}"), place.0, place.1, began)
        .with(attribute::METHOD, method.to_owned())
        .with(attribute::ROUTE, route.to_owned())
        .with(attribute::STATUS, i64::from(status));
    if status >= 500 { span.failed("internal") } else { span }
}

/// The span of a request to a service behind us.
#[must_use]
pub fn client(method: &str, service: &str, status: u16, place: (Context, Option<Context>), began: SystemTime) -> Span {
    let span = Span::new(Kind::Client, method.to_owned(), place.0, place.1, began)
        .with(attribute::METHOD, method.to_owned())
        .with(attribute::SERVER, service.to_owned())
        .with(attribute::STATUS, i64::from(status));
    if status >= 500 { span.failed("unavailable") } else { span }
}

/// Middleware: a server span for each request, below the caller's.
///
/// # Errors
/// Those of the service.
pub async fn serve(request: ServiceRequest, next: Next<impl MessageBody>) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let above = parent(request.headers());
    let Some(context) = begin(above) else { return next.call(request).await };
    let began = now();
    request.extensions_mut().insert(context);
    let response = next.call(request).await?;
    if context.is_sampled() {
        let served = response.request();
        let route = served.match_pattern().unwrap_or_default();
        emit([server(served.method().as_str(), &route, response.status().as_u16(), (context, above), began)]);
    }
    Ok(response)
}
