//! Where a service waits while its database must be rebuilt: HTTP answers 503, and the ops port takes the operator's word.

use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use sqlx::Row as _;
use sqlx::postgres::PgPool;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Job, plan, run};
use crate::service::{Service, anyhow_lite};

/// Between two looks whether another process has rebuilt the database.
const LOOK: Duration = Duration::from_secs(1);

/// Who a database is, and whether it may be served from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) incarnation: Uuid,
    pub(crate) live: bool,
}

impl Identity {
    pub(crate) async fn read(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let row = sqlx::query("SELECT incarnation, mode = 'live' AS live FROM db_identity").fetch_one(pool).await?;
        Ok(Self { incarnation: row.try_get("incarnation")?, live: row.try_get("live")? })
    }
}

/// Waits for the word and rebuilds, or until another process has. Answers the consumer of the rebuild, if it was made here.
///
/// # Errors
/// The public port cannot be bound.
pub(crate) async fn wait<S: Service>(job: &Job<S>, http_addr: &str) -> anyhow_lite::Result<Option<JoinHandle<()>>> {
    let server = closed(http_addr)?;
    let handle = server.handle();
    tokio::spawn(server);
    tracing::error!(code = "rebuild_needed", "the database was lost or given up and must be rebuilt; next: ops rebuild {}", S::NAME);
    let engine = rebuilt(job).await;
    handle.stop(false).await;
    Ok(engine)
}

async fn rebuilt<S: Service>(job: &Job<S>) -> Option<JoinHandle<()>> {
    loop {
        match plan(job).await {
            Ok(plan) => job.status.needed(plan),
            Err(error) => {
                tracing::warn!(code = error.code(), error = %error, "plan the rebuild");
                tokio::time::sleep(LOOK).await;
                continue;
            }
        }
        let wanted = tokio::select! {
            wanted = job.status.wanted() => wanted,
            () = made_elsewhere(job) => {
                job.status.live();
                return None;
            }
        };
        tracing::warn!(who = wanted.who, why = wanted.why, "the rebuild begins");
        job.status.running();
        match run(job, &wanted).await {
            Ok(engine) => {
                job.status.done();
                return Some(engine);
            }
            Err(error) => {
                tracing::error!(code = error.code(), error = ?error, "the rebuild failed; nothing was emitted");
                job.status.failed(&error);
            }
        }
    }
}

async fn made_elsewhere<S: Service>(job: &Job<S>) {
    loop {
        tokio::time::sleep(LOOK).await;
        match Identity::read(&job.units.pool).await {
            Ok(identity) if identity.live => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(error = %error, "look whether the database is live"),
        }
    }
}

/// A public port that sends everybody away for a while.
fn closed(addr: &str) -> std::io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(|| {
        App::new().default_service(web::to(|| async {
            HttpResponse::ServiceUnavailable()
                .insert_header(("Retry-After", "5"))
                .insert_header(("Cache-Control", "no-store"))
                .content_type("application/problem+json")
                .body(r#"{"type":"/problems/unavailable","title":"the service cannot answer now","status":503,"code":"unavailable"}"#)
        }))
    })
    .workers(1)
    .disable_signals()
    .bind(addr)?
    .run();
    Ok(server)
}
