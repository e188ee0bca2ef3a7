//! A collector of traces within this process, for `./run` and tests: takes OTLP over HTTP, keeps the newest spans, tells one
//! trace as a tree.

mod otlp;
mod tree;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};

use crate::error::{Doing, Error};

/// Spans kept at most; the oldest go first.
const SPANS_MAX: usize = 50_000;
/// Bytes of one export at most.
const EXPORT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A span as it was exported. Ids are lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// `service.name` of who exported it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `internal`, `server`, `client`, `producer` or `consumer`.
    pub kind: &'static str,
    /// Its trace.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// Its parent's id; `None` for a root.
    pub parent: Option<String>,
    /// Trace and span of every link.
    pub links: Vec<(String, String)>,
    /// Attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// The status message, when it failed.
    pub error: Option<String>,
    /// Start and end, in nanoseconds since 1970 by the exporting machine's clock.
    pub time_ns: (u64, u64),
    /// Where its names are defined.
    pub schema_url: String,
}

type Kept = Arc<Mutex<VecDeque<Span>>>;

/// A running collector; it ends with its process or when it is dropped.
#[derive(Debug)]
pub struct Traces {
    port: u16,
    kept: Kept,
    handle: actix_web::dev::ServerHandle,
}

impl Traces {
    /// Listens on a loopback port; 0 for any.
    ///
    /// # Errors
    /// The port is taken, or no thread can be started.
    pub(crate) fn start(port: u16) -> Result<Self, Error> {
        let doing = || format!("listen for traces on port {port}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).doing(doing)?;
        let port = listener.local_addr().doing(doing)?.port();
        let kept = Kept::default();
        let data = web::Data::new(Arc::clone(&kept));
        let (tell, told) = std::sync::mpsc::channel();
        // A thread and runtime of its own: tests come and go with theirs.
        std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || {
                actix_web::rt::System::new().block_on(async move {
                    let app = move || {
                        App::new()
                            .app_data(data.clone())
                            .app_data(web::PayloadConfig::new(EXPORT_BYTES_MAX))
                            .route("/v1/traces", web::post().to(take))
                            .route("/traces/{id}", web::get().to(tell_one))
                    };
                    let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).map(HttpServer::run);
                    let handle = server
                        .as_ref()
                        .map(actix_web::dev::Server::handle)
                        .map_err(|error| std::io::Error::new(error.kind(), error.to_string()));
                    if tell.send(handle).is_ok()
                        && let Ok(server) = server
                        && let Err(error) = server.await
                    {
                        tracing::warn!(%error, "the collector of traces ended");
                    }
                });
            })
            .doing(doing)?;
        let handle = told.recv().map_err(std::io::Error::other).doing(doing)?.doing(doing)?;
        Ok(Self { port, kept, handle })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The spans of a trace that have arrived, by their start.
    #[must_use]
    pub fn of(&self, trace: &str) -> Vec<Span> {
        of(&lock(&self.kept), trace)
    }

    /// Spans that link to a span of this trace from others.
    #[must_use]
    pub fn linked_to(&self, trace: &str) -> Vec<Span> {
        lock(&self.kept)
            .iter()
            .filter(|span| span.trace != trace && span.links.iter().any(|(linked, _)| linked == trace))
            .cloned()
            .collect()
    }

    /// The trace as a tree, for people.
    #[must_use]
    pub fn tell(&self, trace: &str) -> String {
        tree::draw(&self.of(trace), &self.linked_to(trace))
    }

    /// Waits until nothing has come to the trace for a while, as long as `limit` at most.
    pub async fn settled(&self, trace: &str, limit: Duration) {
        let deadline = tokio::time::Instant::now() + limit;
        let (mut seen, mut since) = (0, tokio::time::Instant::now());
        while tokio::time::Instant::now() < deadline {
            let now = self.of(trace).len();
            if now != seen {
                (seen, since) = (now, tokio::time::Instant::now());
            }
            if now > 0 && since.elapsed() > Duration::from_millis(1_500) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // The returned future only waits for the end; the order is given by the call.
        drop(self.handle.stop(false));
    }
}

fn lock(kept: &Kept) -> MutexGuard<'_, VecDeque<Span>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of(kept: &VecDeque<Span>, trace: &str) -> Vec<Span> {
    let mut found: Vec<Span> = kept.iter().filter(|span| span.trace == trace).cloned().collect();
    found.sort_by_key(|span| span.time_ns);
    found
}

async fn take(kept: web::Data<Kept>, body: web::Bytes) -> HttpResponse {
    let Some(spans) = otlp::decode(&body) else { return HttpResponse::BadRequest().body("no OTLP traces") };
    let mut kept = lock(&kept);
    kept.extend(spans);
    let over = kept.len().saturating_sub(SPANS_MAX);
    kept.drain(..over);
    HttpResponse::Ok().content_type("application/x-protobuf").finish()
}

async fn tell_one(kept: web::Data<Kept>, id: web::Path<String>) -> HttpResponse {
    let kept = lock(&kept);
    let spans = of(&kept, &id);
    if spans.is_empty() {
        return HttpResponse::NotFound().body("no span of this trace has arrived\n");
    }
    let linked: Vec<Span> = kept.iter().filter(|span| span.trace != *id && span.links.iter().any(|(t, _)| *t == *id)).cloned().collect();
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(tree::draw(&spans, &linked))
}
