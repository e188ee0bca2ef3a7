//! The operators' side of the services, for the console: `/v1/ops/{service}/…` is the service's ops port, which nobody outside reaches.
//!
//! The token and its scope are checked here, whatever the ops port does; who acts is what the token says and not what the body does. Only
//! what [`LINES`] lists goes through, its path made anew. Without an address of a service there is nothing here.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web::{self, Bytes, Data, Payload, ServiceConfig},
};
use contract::{Code, Problem, web as body};
use hyper::{
    HeaderMap,
    header::{CONTENT_TYPE, HeaderValue},
    http::uri::PathAndQuery,
};
use identity::{Caller, Scope};
use serde_json::{Map, Value};

use crate::{
    forward::{self, Worker, respond},
    hygiene,
    upstream::Outgoing,
};

/// Most bytes of a body: an edited message, as the ops port takes it.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest id in a path.
const ID_MAX: usize = 128;

/// Whose ops port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Desk {
    Orders,
    Inventory,
    Payments,
}

impl Desk {
    pub(crate) const ALL: [Self; 3] = [Self::Orders, Self::Inventory, Self::Payments];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Inventory => "inventory",
            Self::Payments => "payments",
        }
    }
}

/// What an operator may ask: method, path behind the service's name, path on the ops port. `{id}` is any one id.
const LINES: &[(Method, &str, &str)] = &[
    (Method::GET, "metrics", "/metrics"),
    (Method::GET, "readyz", "/readyz"),
    (Method::GET, "dlq/groups", "/ops/dlq/groups"),
    (Method::GET, "dlq/letters", "/ops/dlq/letters"),
    (Method::POST, "dlq/redrive", "/ops/dlq/redrive"),
    (Method::POST, "dlq/skip", "/ops/dlq/skip"),
    (Method::POST, "dlq/abandon", "/ops/dlq/abandon"),
    (Method::GET, "letters/{id}", "/ops/letters/{id}"),
    (Method::POST, "letters/{id}/edit", "/ops/letters/{id}/edit"),
    (Method::GET, "retry/waiting", "/ops/retry/waiting"),
    (Method::GET, "retry/effects", "/ops/retry/effects"),
    (Method::GET, "sagas", "/ops/sagas"),
    (Method::GET, "sagas/{id}", "/ops/sagas/{id}"),
    (Method::POST, "sagas/{id}/resume", "/ops/sagas/{id}/resume"),
    (Method::POST, "sagas/{id}/abandon", "/ops/sagas/{id}/abandon"),
    (Method::GET, "stories/{id}", "/ops/stories/{id}"),
];

/// Registers the paths.
pub(crate) fn configure(service: &mut ServiceConfig) {
    service.route("/v1/ops/{service}/{path:.*}", web::route().to(serve));
}

async fn serve(request: HttpRequest, payload: Payload, worker: Data<Worker>) -> HttpResponse {
    forward::serve_operator(&request, &worker, answer(&request, payload, &worker)).await
}

async fn answer(request: &HttpRequest, payload: Payload, worker: &Worker) -> Result<HttpResponse, Problem> {
    let caller = admit(request, worker).await?;
    let nothing_here = || Problem::new(Code::NotFound);
    let (name, path) = (part(request, "service"), part(request, "path"));
    if name == "gateway" && path == "metrics" && *request.method() == Method::GET {
        // Each gateway counts for itself: who reads two of them has to know which is which.
        let mut response = HttpResponse::Ok();
        response
            .insert_header(("x-instance", worker.shared.config.instance_id.as_str()))
            .insert_header((header::CACHE_CONTROL, "no-store"));
        return Ok(response.content_type("text/plain; version=0.0.4").body(worker.shared.metrics.render()));
    }
    let desk = Desk::ALL.into_iter().find(|desk| desk.name() == name).ok_or_else(nothing_here)?;
    let upstream = worker.desk(desk).ok_or_else(nothing_here)?;
    let target = target(request.method(), path).ok_or_else(nothing_here)?;
    let mut headers = HeaderMap::with_capacity(2);
    hygiene::copy_token(request, &mut headers);
    let body = if *request.method() == Method::POST {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        signed(&read(request, payload, worker).await?, &caller)?
    } else {
        Bytes::new()
    };
    let query = request.query_string();
    let target = if query.is_empty() { target } else { format!("{target}?{query}") };
    let path_and_query: PathAndQuery = target.try_into().map_err(|_unwritable| Problem::new(Code::InvalidQuery))?;
    let method = hyper::Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
    let mut response = respond(upstream.send(Outgoing { method, path_and_query, headers, body }).await?);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A token, always: where the network is trusted, that is for customers. To look takes `ops:read`, to act `ops:write`.
async fn admit(request: &HttpRequest, worker: &Worker) -> Result<Caller, Problem> {
    if !request.headers().contains_key(header::AUTHORIZATION) {
        return Err(Problem::new(Code::Unauthenticated));
    }
    let scope = if *request.method() == Method::GET { Scope::OpsRead } else { Scope::OpsWrite };
    worker.shared.door.admit(request.headers(), scope).await
}

fn part<'a>(request: &'a HttpRequest, name: &str) -> &'a str {
    request.match_info().get(name).unwrap_or_default()
}

/// The path on the ops port; none where the table has no such line.
fn target(method: &Method, path: &str) -> Option<String> {
    LINES.iter().filter(|(known, _, _)| known == method).find_map(|(_, pattern, target)| {
        let mut id = None;
        let (mut given, mut wanted) = (path.split('/'), pattern.split('/'));
        loop {
            match (given.next(), wanted.next()) {
                (None, None) => break,
                (Some(given), Some("{id}")) if is_id(given) => id = Some(given),
                (Some(given), Some(wanted)) if given == wanted => {}
                (_, _) => return None,
            }
        }
        Some(id.map_or_else(|| (*target).to_owned(), |id| target.replace("{id}", id)))
    })
}

/// No separator, no dot of a path, nothing to be decoded: an id stays one part of a path.
fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte);
    (1..=ID_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

async fn read(request: &HttpRequest, payload: Payload, worker: &Worker) -> Result<Bytes, Problem> {
    body::check_announced_length(request, BODY_BYTES_MAX)?;
    let read = body::read_body(payload.into_inner(), BODY_BYTES_MAX);
    tokio::time::timeout(worker.shared.config.body_timeout, read).await.unwrap_or_else(|_elapsed| Err(Problem::new(Code::RequestTimeout)))
}

/// The body with `who` as the token has it: what is kept for ever about a decision is not for its maker to choose.
fn signed(body: &[u8], caller: &Caller) -> Result<Bytes, Problem> {
    let malformed = |error: serde_json::Error| Problem::new(Code::MalformedJson).with_detail(error.to_string());
    let mut members: Map<String, Value> = serde_json::from_slice(body).map_err(malformed)?;
    let who = caller.customer.as_ref().ok_or_else(|| Problem::new(Code::Unauthenticated))?;
    members.insert("who".to_owned(), Value::String(who.as_str().to_owned()));
    serde_json::to_vec(&members).map(Bytes::from).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_where_the_table_says_or_nowhere() {
        let get = |path: &str| target(&Method::GET, path);
        assert_eq!(get("dlq/groups").as_deref(), Some("/ops/dlq/groups"));
        assert_eq!(get("letters/17").as_deref(), Some("/ops/letters/17"));
        assert_eq!(
            get("stories/0192f0c1-2345-7abc-8def-0123456789ab").as_deref(),
            Some("/ops/stories/0192f0c1-2345-7abc-8def-0123456789ab")
        );
        for path in [
            "",
            "letters",
            "letters/",
            "letters/..",
            "letters/1/edit",
            "letters/1%2fedit",
            "letters/a/b",
            "dlq/redrive",
            "../metrics",
            "dlq/groups/",
        ] {
            assert_eq!(get(path), None, "{path}");
        }
        assert_eq!(target(&Method::POST, "letters/1/edit").as_deref(), Some("/ops/letters/1/edit"));
        assert_eq!(target(&Method::POST, "metrics"), None);
    }
}
