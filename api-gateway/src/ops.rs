//! What operators, probes and Prometheus ask. On its own address: never reachable by customers.

use std::sync::{Arc, atomic::Ordering};

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, ServiceConfig, get},
};
use serde::Serialize;

use crate::{routes::Service, server::Shared};

pub(crate) fn configure(service: &mut ServiceConfig) {
    service
        .route("/livez", get().to(live))
        .route("/startupz", get().to(started))
        .route("/readyz", get().to(ready))
        .route("/metrics", get().to(metrics));
}

#[derive(Debug, Serialize)]
struct Readiness {
    status: &'static str,
    instance: String,
    upstreams: Vec<UpstreamReadiness>,
}

#[derive(Debug, Serialize)]
struct UpstreamReadiness {
    name: &'static str,
    reachable: bool,
}

async fn live() -> &'static str {
    "alive\n"
}

/// Started: every upstream has been reached once.
async fn started(shared: Data<Arc<Shared>>) -> HttpResponse {
    answer(&shared, shared.started.load(Ordering::Relaxed))
}

/// Ready as long as one upstream can be reached: the paths of the other are answered 503 by their own, which is better
/// than a load balancer without a gateway.
async fn ready(shared: Data<Arc<Shared>>) -> HttpResponse {
    let any = Service::ALL.into_iter().any(|service| shared.state(service).reachable.load(Ordering::Relaxed));
    answer(&shared, any && !shared.draining.load(Ordering::Relaxed))
}

fn answer(shared: &Shared, good: bool) -> HttpResponse {
    let upstreams = Service::ALL.map(|service| {
        let reachable = shared.state(service).reachable.load(Ordering::Relaxed);
        UpstreamReadiness { name: service.name(), reachable }
    });
    let all = upstreams.iter().all(|upstream| upstream.reachable);
    let status = match (shared.draining.load(Ordering::Relaxed), good, all) {
        (true, _, _) => "draining",
        (false, false, _) => "unavailable",
        (false, true, false) => "degraded",
        (false, true, true) => "ready",
    };
    let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Readiness { status, instance: shared.config.instance_id.clone(), upstreams: upstreams.into() };
    HttpResponse::build(code).json(body)
}

async fn metrics(shared: Data<Arc<Shared>>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(shared.metrics.render())
}
