//! The stream of an order's events. The gateway asks order-service for what follows the last event a client has, again and again, each
//! question waiting until there is something; so a stream survives a restart of order-service, and nothing is kept for it anywhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data},
};
use contract::{Code, OrderEvents, Problem, headers as names};
use futures_util::stream;
use hyper::{HeaderMap, Method, StatusCode};

use crate::{
    forward::{Worker, respond},
    server::Shared,
    upstream::{Answer, Outgoing},
};

/// How often in a row order-service may fail before the stream is given up: its client comes back by itself.
const FAILURES_MAX: u32 = 8;
/// Pause after a failure; grows with their number.
const PAUSE: Duration = Duration::from_millis(250);
/// What a browser waits before it comes back, in milliseconds.
const RETRY: &str = "retry: 1000\n\n";
/// Keeps proxies from closing a connection on which nothing happens.
const HEARTBEAT: &str = ": still here\n\n";

/// A stream counts from here until its client is gone or it ends.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn enter(shared: &Shared) -> Result<Self, Problem> {
        let open = Self(Arc::clone(&shared.streams));
        if open.0.fetch_add(1, Ordering::Relaxed) >= shared.config.streams_max {
            return Err(Problem::new(Code::Overloaded).with_detail("too many streams are open"));
        }
        Ok(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Story {
    worker: Data<Worker>,
    headers: HeaderMap,
    /// Path of the questions.
    path: String,
    /// The last event that was sent.
    after: u64,
    /// What was asked and not sent yet.
    page: Option<OrderEvents>,
    ended: bool,
    failures: u32,
    _open: Open,
}

enum Heard {
    Page(OrderEvents),
    Refused(Answer),
}

/// Streams the events of the order at `path` behind the one that `request` has seen, asking with `headers`.
///
/// # Errors
/// `invalid_event_id`, `overloaded`, and what order-service could not be asked for.
pub(crate) async fn follow(worker: &Data<Worker>, request: &HttpRequest, id: &str, headers: HeaderMap) -> Result<HttpResponse, Problem> {
    let after = last_event(request)?;
    let open = Open::enter(&worker.shared)?;
    let path = format!("/internal/orders/{id}/events");
    let mut story = Story { worker: worker.clone(), headers, path, after, page: None, ended: false, failures: 0, _open: open };
    match story.ask(Duration::ZERO).await? {
        Heard::Refused(answer) => return Ok(respond(answer)),
        Heard::Page(page) if page.events.is_empty() && page.ended => return Ok(HttpResponse::NoContent().finish()),
        Heard::Page(page) => story.page = Some(page),
    }
    let first = stream::iter([Ok(Bytes::from_static(RETRY.as_bytes()))]);
    let rest = stream::unfold(story, |mut story| async move { story.next().await.map(|bytes| (Ok::<_, actix_web::Error>(bytes), story)) });
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream").insert_header((header::CACHE_CONTROL, "no-store"));
    // Proxies that collect answers would hold back every event: nginx reads this header.
    response.insert_header(("x-accel-buffering", "no"));
    Ok(response.streaming(futures_util::StreamExt::chain(first, rest)))
}

/// The place a client names, 0 for none.
fn last_event(request: &HttpRequest) -> Result<u64, Problem> {
    match request.headers().get(names::LAST_EVENT_ID) {
        None => Ok(0),
        Some(value) if value.is_empty() => Ok(0),
        Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| Problem::new(Code::InvalidEventId)),
    }
}

impl Story {
    /// What to send next: events, or a sign of life; none when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(page) = self.page.take() {
                self.ended = page.ended;
                if let Some(text) = self.text(&page) {
                    return Some(text);
                }
            }
            if self.ended || self.failures > FAILURES_MAX || self.worker.shared.draining.load(Ordering::Relaxed) {
                return None;
            }
            let config = &self.worker.shared.config;
            let wait = config.heartbeat.min(config.upstream_timeout / 2);
            match self.ask(wait).await {
                Ok(Heard::Page(page)) => {
                    self.failures = 0;
                    if page.events.is_empty() && !page.ended {
                        return Some(Bytes::from_static(HEARTBEAT.as_bytes()));
                    }
                    self.page = Some(page);
                }
                // The token has run out, or the order is gone: the client has to ask anew.
                Ok(Heard::Refused(answer)) if answer.status.is_client_error() && answer.status != StatusCode::TOO_MANY_REQUESTS => {
                    return None;
                }
                Ok(Heard::Refused(_)) | Err(_) => {
                    self.failures += 1;
                    tokio::time::sleep(PAUSE * self.failures).await;
                    return Some(Bytes::from_static(HEARTBEAT.as_bytes()));
                }
            }
        }
    }

    async fn ask(&self, wait: Duration) -> Result<Heard, Problem> {
        let target = format!("{}?after={}&wait_ms={}", self.path, self.after, wait.as_millis());
        let path_and_query = target.try_into().map_err(|_invalid: hyper::http::uri::InvalidUri| Problem::new(Code::Internal))?;
        let outgoing = Outgoing { method: Method::GET, path_and_query, headers: self.headers.clone(), body: Bytes::new() };
        let answer = self.worker.orders.send(outgoing).await?;
        if answer.status != StatusCode::OK {
            return Ok(Heard::Refused(answer));
        }
        serde_json::from_slice(&answer.body).map(Heard::Page).map_err(|_not_ours| Problem::new(Code::Unavailable))
    }

    /// The events as the protocol writes them; none when there are none. Source: HTML Living Standard, 9.2.
    fn text(&mut self, page: &OrderEvents) -> Option<Bytes> {
        let mut text = String::new();
        // What was sent already is left out, whatever order-service says.
        for event in page.events.iter().filter(|event| event.sequence > self.after) {
            let data = serde_json::to_string(event).unwrap_or_default();
            text.push_str(&format!("id: {}\nevent: {}\ndata: {data}\n\n", event.sequence, event.kind));
        }
        self.after = page.events.last().map_or(self.after, |event| event.sequence.max(self.after));
        (!text.is_empty()).then(|| Bytes::from(text))
    }
}
