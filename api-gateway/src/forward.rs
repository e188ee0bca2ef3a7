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
use hyper::http::uri::PathAndQuery;
use metrics::Histogram;
use values::{CustomerId, OrderId};

use crate::{
    hygiene, products,
    routes::{Caller, ROUTES, Route, Service, Then},
    server::Shared,
    upstream::{Answer, Outgoing, Upstream},
};

/// What one worker thread needs to serve; not shared with the others.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: Upstream,
    pub(crate) inventory: Upstream,
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
        Self { orders: upstream(Service::Orders), inventory: upstream(Service::Inventory), served: RefCell::default(), shared }
    }

    pub(crate) const fn upstream(&self, service: Service) -> &Upstream {
        match service {
            Service::Orders => &self.orders,
            Service::Inventory => &self.inventory,
        }
    }

    fn record(&self, route: Option<usize>, status: u16, started: Instant) {
        let mut served = self.served.borrow_mut();
        let histogram = served.entry((route, status));
        let histogram = histogram.or_insert_with(|| self.shared.metrics.served(route.and_then(|index| ROUTES.get(index)), status));
        histogram.record(started.elapsed());
    }
}

/// Serves a request to line `index` of the table.
pub(crate) async fn serve(index: usize, request: HttpRequest, payload: Payload, worker: Data<Worker>) -> HttpResponse {
    let started = Instant::now();
    let request_id = hygiene::request_id(&request);
    let in_flight = InFlight::enter(&worker.shared);
    let result = match (ROUTES.get(index), in_flight.is_over()) {
        (Some(_), true) => Err(Problem::new(Code::Overloaded)),
        (Some(route), false) => forward(route, &request, payload, &request_id, &worker).await,
        (None, _) => Err(Problem::new(Code::NotFound)),
    };
    let response = result.unwrap_or_else(|problem| refuse(&worker, problem, &request));
    finish(&worker, Some(index), response, &request_id, started)
}

/// Answers a path that is not in the table, or a method that its path does not take.
pub(crate) async fn refuse_path(allowed: Option<String>, request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    let started = Instant::now();
    let request_id = hygiene::request_id(&request);
    let code = if allowed.is_some() { Code::MethodNotAllowed } else { Code::NotFound };
    let mut response = refuse(&worker, Problem::new(code), &request);
    if let Some(value) = allowed.and_then(|methods| header::HeaderValue::from_str(&methods).ok()) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    finish(&worker, None, response, &request_id, started)
}

fn refuse(worker: &Worker, problem: Problem, request: &HttpRequest) -> HttpResponse {
    worker.shared.metrics.problems(problem.code()).increment(1);
    problem.with_instance(request.path()).error_response()
}

fn finish(worker: &Worker, route: Option<usize>, mut response: HttpResponse, request_id: &str, started: Instant) -> HttpResponse {
    if let Ok(value) = header::HeaderValue::from_str(request_id) {
        response.headers_mut().insert(header::HeaderName::from_static(headers::REQUEST_ID), value);
    }
    let status = response.status().as_u16();
    worker.record(route, status, started);
    let path = route.and_then(|index| ROUTES.get(index)).map_or("", |route| route.path);
    let duration_us = started.elapsed().as_micros();
    tracing::debug!(request.id = request_id, http.route = path, http.response.status_code = status, duration_us, "served");
    response
}

async fn forward(
    route: &Route,
    request: &HttpRequest,
    payload: Payload,
    request_id: &str,
    worker: &Worker,
) -> Result<HttpResponse, Problem> {
    let customer = customer(route, request, worker).await?;
    let path_and_query = path_and_query(route, request)?;
    let body = read(route, request, payload, worker).await?;
    let outgoing = Outgoing {
        method: hyper::Method::from_bytes(route.method.as_str().as_bytes()).unwrap_or_default(),
        path_and_query,
        headers: hygiene::request_headers(request, customer.as_ref(), request_id),
        body: body.clone(),
    };
    let answer = worker.upstream(route.upstream).send(outgoing).await?;
    match route.then {
        Then::Answer => Ok(respond(answer)),
        Then::WaitForPrices => Ok(respond(products::wait_for_prices(worker, answer, &body, request_id).await)),
    }
}

/// The customer, who has to be known for a customer's path and must be valid wherever one is given.
async fn customer(route: &Route, request: &HttpRequest, worker: &Worker) -> Result<Option<CustomerId>, Problem> {
    match route.caller {
        Caller::Anyone if !request.headers().contains_key(headers::CUSTOMER_ID) => Ok(None),
        Caller::Anyone | Caller::Customer => worker.shared.authenticator.authenticate(request).await.map(Some),
    }
}

/// The path is made anew from the table, so that no spelling of it can lead to another path of the service.
fn path_and_query(route: &Route, request: &HttpRequest) -> Result<PathAndQuery, Problem> {
    let mut target = match request.match_info().get("id") {
        None => route.path.to_owned(),
        Some(id) => {
            let id: OrderId = id.parse().map_err(|_not_a_uuid| Problem::new(Code::OrderNotFound))?;
            route.path.replace("{id}", &id.to_string())
        }
    };
    if !request.query_string().is_empty() {
        target.push('?');
        target.push_str(request.query_string());
    }
    target.try_into().map_err(|_invalid| Problem::new(Code::InvalidQuery))
}

async fn read(route: &Route, request: &HttpRequest, payload: Payload, worker: &Worker) -> Result<Bytes, Problem> {
    let has_body = request.headers().contains_key(header::TRANSFER_ENCODING)
        || request.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if !has_body {
        return Ok(Bytes::new());
    }
    body::check_announced_length(request, route.body_bytes_max)?;
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Code::UnsupportedMediaType));
    }
    let read = body::read_body(payload.into_inner(), route.body_bytes_max);
    match tokio::time::timeout(worker.shared.config.body_timeout, read).await {
        Ok(body) => body,
        Err(_elapsed) => Err(Problem::new(Code::RequestTimeout)),
    }
}

fn respond(answer: Answer) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(answer.status.as_u16()).unwrap_or_default();
    let mut response = HttpResponse::build(status);
    hygiene::copy_response_headers(&answer.headers, &mut response);
    response.body(answer.body)
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
