//! The ops port: `/livez`, `/readyz`, `/startupz`, `/metrics`, and what operators do (crate `operation` lists it). Apart from
//! the public port, never published.

mod admission;
mod desk;
mod letters;
mod problem;
mod query;
mod rebuild;
mod stories;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, web};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::consumer;
use crate::relay;

pub use admission::Admission;
pub use desk::{Desk, Erasures, SagaStatus, Sagas, Slot, instant};
pub use problem::Refusal;

/// Bytes of a request's body: an edited message may be as large as Kafka lets it be by default.
const BODY_MAX: usize = 2 * 1024 * 1024;

/// What the ops port looks at.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// Start-up checks passed.
    pub started: Arc<AtomicBool>,
    /// The consumer engine.
    pub consumer: Arc<consumer::Health>,
    /// The relay.
    pub relay: Option<Arc<relay::Status>>,
    /// Set when the process is draining.
    pub stopping: Arc<AtomicBool>,
}

impl Checks {
    /// Each check by name, and whether it passes.
    #[must_use]
    pub fn list(&self) -> Vec<(&'static str, bool, String)> {
        let held = self
            .consumer
            .held
            .lock()
            .map(|held| held.iter().map(|(at, code)| format!("{at}: {code}")).collect::<Vec<_>>())
            .unwrap_or_default();
        let relay_error = self.relay.as_ref().and_then(|relay| relay.last_error_code());
        vec![
            ("started", self.started.load(Ordering::Relaxed), String::new()),
            ("not_stopping", !self.stopping.load(Ordering::Relaxed), String::new()),
            (
                "group_joined",
                self.consumer.joined.load(Ordering::Relaxed),
                format!("{} partitions", self.consumer.assigned.load(Ordering::Relaxed)),
            ),
            ("partitions_not_held", held.is_empty(), held.join(", ")),
            (
                "relay",
                relay_error.is_none(),
                relay_error.unwrap_or(if self.relay.as_ref().is_some_and(|r| r.owner()) { "owner" } else { "standby" }).to_owned(),
            ),
        ]
    }
}

/// Installs the metrics recorder of this process.
///
/// # Errors
/// There is one already.
pub fn install_metrics() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    // Source of the buckets: OpenTelemetry messaging metrics, 5 ms to 10 s, with two finer ones below.
    PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0])?
        .install_recorder()
}

/// Starts the ops server on `addr`.
///
/// # Errors
/// The address cannot be bound.
pub fn serve(
    addr: &str,
    checks: Checks,
    metrics: PrometheusHandle,
    desk: Slot,
    admission: Admission,
    (service, status): (&'static str, crate::rebuild::Status),
) -> std::io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        let known = rebuild::Known { service, status: status.clone() };
        let (checks, metrics, desk) = (checks.clone(), metrics.clone(), Arc::clone(&desk));
        let started = Arc::clone(&checks.started);
        App::new()
            .app_data(web::Data::new(desk))
            .app_data(web::Data::new(known))
            .app_data(web::PayloadConfig::new(BODY_MAX))
            .app_data(web::Data::new(admission.clone()))
            .wrap(from_fn(admission::admit))
            .configure(rebuild::configure)
            .configure(letters::configure)
            .configure(stories::configure)
            .default_service(web::to(|| async { Refusal::nothing_here().response() }))
            .route("/livez", web::get().to(|| async { HttpResponse::Ok().json(serde_json::json!({"status": "ok"})) }))
            .route("/startupz", web::get().to(move || answer(vec![("started", started.load(Ordering::Relaxed), String::new())])))
            .route("/readyz", web::get().to(move || answer(checks.list())))
            .route(
                "/metrics",
                web::get().to(move || {
                    let text = metrics.render();
                    async { HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text) }
                }),
            )
    })
    .workers(1)
    .disable_signals()
    .bind(addr)?
    .run();
    Ok(server)
}

async fn answer(checks: Vec<(&'static str, bool, String)>) -> HttpResponse {
    let passed = checks.iter().all(|(_, passed, _)| *passed);
    let body: Vec<_> =
        checks.iter().map(|(name, passed, detail)| serde_json::json!({"check": name, "ok": passed, "detail": detail})).collect();
    let mut response = if passed { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(serde_json::json!({"status": if passed { "ok" } else { "unavailable" }, "checks": body}))
}
