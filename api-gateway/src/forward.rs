//! One request from the client to a service and back.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::header,
    web::{Bytes, Data, Payload},
};
use contract::{Code, Problem, headers, web as body};
use hyper::{header::HeaderValue, http::uri::PathAndQuery};
use identity::Caller;
use metrics::Histogram;
use values::OrderId;

use crate::{
    console::Desk,
    cors, events, gzip, hygiene, products,
    rates::Standing,
    routes::{Access, ROUTES, Route, Service, Then},
    server::Shared,
    upstream::{Answer, Outgoing, Upstream},
};

/// What one worker thread needs to serve; not shared with the others.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: Upstream,
    pub(crate) inventory: Upstream,
    desks: [(Desk, Option<Upstream>); 3],
    served: RefCell<HashMap<(Option<usize>, u16), Histogram>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let upstream = |service| Upstream::new(service, &shared.config, &shared.metrics);
        let desks = Desk::ALL.map(|desk| (desk, Upstream::of_desk(desk, &shared.config, &shared.metrics)));
        Self { orders: upstream(Service::Orders), inventory: upstream(Service::Inventory), desks, served: RefCell::default(), shared }
    }

    pub(crate) const fn upstream(&self, service: Service) -> &Upstream {
        match service {
            Service::Orders => &self.orders,
            Service::Inventory => &self.inventory,
        }
    }

    /// The ops port of a service; none where its address is not configured.
    pub(crate) fn desk(&self, desk: Desk) -> Option<&Upstream> {
        self.desks.iter().find(|(known, _)| *known == desk).and_then(|(_, upstream)| upstream.as_ref())
    }

    fn record(&self, route: Option<usize>, status: u16, started: Instant) {
        let mut served = self.served.borrow_mut();
        let histogram = served.entry((route, status));
        let histogram = histogram.or_insert_with(|| self.shared.metrics.served(route.and_then(|index| ROUTES.get(index)), status));
        histogram.record(started.elapsed());
    }
}

/// What is found out about a request on its way, for the headers of its answer.
#[derive(Debug, Default)]
struct Notes {
    standing: Option<Standing>,
    /// Its server span.
    trace: Option<trace::Context>,
}

/// Serves a request to line `index` of the table.
pub(crate) async fn serve(index: usize, request: HttpRequest, payload: Payload, worker: Data<Worker>) -> HttpResponse {
    let started = Instant::now();
    let request_id = hygiene::request_id(&request);
    let in_flight = InFlight::enter(&worker.shared);
    let above = trace::web::parent(request.headers());
    let mut notes = Notes { trace: trace::begin(above), ..Notes::default() };
    let began = notes.trace.map(|_| trace::now());
    let result = match (ROUTES.get(index), in_flight.is_over()) {
        (Some(_), true) => Err(Problem::new(Code::Overloaded)),
        (Some(route), false) => forward(route, &request, payload, &request_id, &worker, &mut notes).await,
        (None, _) => Err(Problem::new(Code::NotFound)),
    };
    let mut response = result.unwrap_or_else(|problem| refuse(&worker, problem, &request));
    if let Some(deprecation) = ROUTES.get(index).and_then(|route| route.deprecated) {
        hygiene::announce_end(deprecation, response.headers_mut());
    }
    let response = finish(&worker, Some(index), response, &request, &request_id, &notes, started);
    if let (Some(context), Some(began), Some(route)) = (notes.trace, began, ROUTES.get(index)) {
        trace::emit([trace::web::server(route.method.as_str(), route.path, response.status().as_u16(), (context, above), began)]);
    }
    response
}

/// Answers a path that is not in the table, or a method that its path does not take.
pub(crate) async fn refuse_path(allowed: Option<String>, request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    let started = Instant::now();
    let request_id = hygiene::request_id(&request);
    let mut notes = Notes::default();
    let limited = worker.shared.rates.address(request.peer_addr(), request.headers(), &mut notes.standing);
    let preflight = allowed.as_deref().and_then(|methods| cors::preflight(&worker.shared, &request, methods));
    let response = match (limited, preflight) {
        (Err(problem), _) => refuse(&worker, problem, &request),
        (Ok(()), Some(response)) => response,
        (Ok(()), None) => {
            let code = if allowed.is_some() { Code::MethodNotAllowed } else { Code::NotFound };
            let mut response = refuse(&worker, Problem::new(code), &request);
            if let Some(value) = allowed.and_then(|methods| header::HeaderValue::from_str(&methods).ok()) {
                response.headers_mut().insert(header::ALLOW, value);
            }
            response
        }
    };
    finish(&worker, None, response, &request, &request_id, &notes, started)
}

/// Serves what the gateway answers itself.
pub(crate) fn serve_own(request: &HttpRequest, worker: &Worker, answer: impl FnOnce() -> Result<HttpResponse, Problem>) -> HttpResponse {
    let started = Instant::now();
    let request_id = hygiene::request_id(request);
    let mut notes = Notes::default();
    let limited = worker.shared.rates.address(request.peer_addr(), request.headers(), &mut notes.standing);
    let response = limited.and_then(|()| answer()).unwrap_or_else(|problem| refuse(worker, problem, request));
    finish(worker, None, response, request, &request_id, &notes, started)
}

/// Serves what an operator asks: `answer` is not polled before the caller's address has shown its standing.
pub(crate) async fn serve_operator(
    request: &HttpRequest,
    worker: &Worker,
    answer: impl Future<Output = Result<HttpResponse, Problem>>,
) -> HttpResponse {
    let started = Instant::now();
    let request_id = hygiene::request_id(request);
    let mut notes = Notes::default();
    let limited = worker.shared.rates.address(request.peer_addr(), request.headers(), &mut notes.standing);
    let answered = match limited {
        Ok(()) => answer.await,
        Err(problem) => Err(problem),
    };
    let response = answered.unwrap_or_else(|problem| refuse(worker, problem, request));
    finish(worker, None, response, request, &request_id, &notes, started)
}

fn refuse(worker: &Worker, problem: Problem, request: &HttpRequest) -> HttpResponse {
    worker.shared.metrics.problems(problem.code()).increment(1);
    problem.with_instance(request.path()).error_response()
}

fn finish(
    worker: &Worker,
    route: Option<usize>,
    mut response: HttpResponse,
    request: &HttpRequest,
    request_id: &str,
    notes: &Notes,
    started: Instant,
) -> HttpResponse {
    let trace = hygiene::Trace::of(request);
    response = hygiene::name_trace(response, &trace);
    let headers = response.headers_mut();
    if let Ok(value) = header::HeaderValue::from_str(request_id) {
        headers.insert(header::HeaderName::from_static(headers::REQUEST_ID), value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    if let Some(standing) = &notes.standing {
        standing.write(headers);
    }
    if !worker.shared.config.cors_origins.0.is_empty() {
        headers.append(header::VARY, header::HeaderValue::from_static("origin"));
        if let Some(origin) = cors::origin(&worker.shared, request) {
            cors::expose(origin, headers);
        }
    }
    let status = response.status().as_u16();
    worker.record(route, status, started);
    let path = route.and_then(|index| ROUTES.get(index)).map_or("", |route| route.path);
    let duration_us = started.elapsed().as_micros();
    tracing::debug!(
        request.id = request_id,
        trace.id = trace.id(),
        http.route = path,
        http.response.status_code = status,
        duration_us,
        "served"
    );
    response
}

async fn forward(
    route: &Route,
    request: &HttpRequest,
    payload: Payload,
    request_id: &str,
    worker: &Data<Worker>,
    notes: &mut Notes,
) -> Result<HttpResponse, Problem> {
    worker.shared.rates.address(request.peer_addr(), request.headers(), &mut notes.standing)?;
    let caller = admit(route, request, worker).await?;
    let customer = caller.as_ref().and_then(|caller| caller.customer.as_ref());
    if let Some(customer) = customer {
        worker.shared.rates.subject(customer, &mut notes.standing)?;
    }
    let path_and_query = path_and_query(route, request)?;
    let body = read(route, request, payload, worker).await?;
    let mut headers = hygiene::request_headers(request, caller.as_ref(), request_id);
    let asked = notes.trace.and_then(|served| trace::begin(Some(served)));
    if let Some(value) = asked.and_then(|context| HeaderValue::from_str(&context.to_string()).ok()) {
        headers.insert(hygiene::TRACEPARENT, value);
    }
    if route.then == Then::Stream {
        let id = order_id(request)?.map(|id| id.to_string()).unwrap_or_default();
        return events::follow(worker, request, &id, headers).await;
    }
    let outgoing = Outgoing {
        method: hyper::Method::from_bytes(route.method.as_str().as_bytes()).unwrap_or_default(),
        path_and_query,
        headers,
        body: body.clone(),
    };
    let began = asked.map(|_| trace::now());
    let answer = worker.upstream(route.upstream).send(outgoing).await;
    if let (Some(context), Some(began)) = (asked, began) {
        let status = answer.as_ref().map_or_else(|problem| problem.status_code().as_u16(), |answer| answer.status.as_u16());
        trace::emit([trace::web::client(route.method.as_str(), route.upstream.name(), status, (context, notes.trace), began)]);
    }
    let answer = answer?;
    let answer = match route.then {
        Then::Answer | Then::Stream => answer,
        Then::WaitForPrices => products::wait_for_prices(worker, answer, &body, request, request_id).await,
    };
    Ok(respond(squeeze(answer, request)))
}

/// Who asks, where that matters: checked by the token, and told to the service, which checks again.
async fn admit(route: &Route, request: &HttpRequest, worker: &Worker) -> Result<Option<Caller>, Problem> {
    let (scope, needs_customer) = match route.access {
        Access::Public => return Ok(None),
        Access::Customer(scope) => (scope, true),
        Access::Holder(scope) => (scope, false),
    };
    let caller = worker.shared.door.admit(request.headers(), scope).await?;
    if needs_customer && caller.customer.is_none() {
        // Only a door that trusts its network lets such a one in.
        return Err(headers::customer_id(request.headers()).err().unwrap_or(Problem::new(Code::Unauthenticated)));
    }
    Ok(Some(caller))
}

/// The path is made anew from the table, so that no spelling of it can lead to another path of the service.
fn path_and_query(route: &Route, request: &HttpRequest) -> Result<PathAndQuery, Problem> {
    let mut target = match order_id(request)? {
        None => route.path.to_owned(),
        Some(id) => route.path.replace("{id}", &id.to_string()),
    };
    if !request.query_string().is_empty() {
        target.push('?');
        target.push_str(request.query_string());
    }
    target.try_into().map_err(|_invalid| Problem::new(Code::InvalidQuery))
}

fn order_id(request: &HttpRequest) -> Result<Option<OrderId>, Problem> {
    let id = request.match_info().get("id").map(str::parse::<OrderId>);
    id.transpose().map_err(|_not_a_uuid| Problem::new(Code::OrderNotFound))
}

async fn read(route: &Route, request: &HttpRequest, payload: Payload, worker: &Worker) -> Result<Bytes, Problem> {
    let has_body = request.headers().contains_key(header::TRANSFER_ENCODING)
        || request.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if !has_body {
        return Ok(Bytes::new());
    }
    body::check_announced_length(request, route.body.bytes_max())?;
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Code::UnsupportedMediaType));
    }
    let read = body::read_body(payload.into_inner(), route.body.bytes_max());
    match tokio::time::timeout(worker.shared.config.body_timeout, read).await {
        Ok(body) => body,
        Err(_elapsed) => Err(Problem::new(Code::RequestTimeout)),
    }
}

pub(crate) fn respond(answer: Answer) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(answer.status.as_u16()).unwrap_or_default();
    let mut response = HttpResponse::build(status);
    hygiene::copy_response_headers(&answer.headers, &mut response);
    response.body(answer.body)
}

/// Compresses a large answer for a client that takes it. One with an entity tag stays as it is: the tag names its very bytes.
fn squeeze(mut answer: Answer, request: &HttpRequest) -> Answer {
    let names = &answer.headers;
    let plain = !names.contains_key(hyper::header::CONTENT_ENCODING) && !names.contains_key(hyper::header::ETAG);
    let text = names.get(hyper::header::CONTENT_TYPE).is_some_and(|media_type| media_type.as_bytes().starts_with(b"application/json"));
    if plain && text {
        answer.headers.append(hyper::header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(body) = gzip::is_accepted(request).then(|| gzip::compress(&answer.body)).flatten() {
            answer.headers.insert(hyper::header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            answer.body = body;
        }
    }
    answer
}

/// A request counts from here until it is dropped.
struct InFlight<'a> {
    shared: &'a Shared,
    /// With this one.
    count: usize,
}

impl<'a> InFlight<'a> {
    fn enter(shared: &'a Shared) -> Self {
        let count = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        shared.metrics.active().increment(1.0);
        Self { shared, count }
    }

    fn is_over(&self) -> bool {
        self.count > self.shared.config.in_flight_max
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.shared.metrics.active().decrement(1.0);
    }
}
