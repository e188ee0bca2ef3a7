//! The HTTP client: keep-alive, and the same request with the same idempotency key until the system answers for good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use it::httplog::{self, Entry, Outcome};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, RETRY_AFTER};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::wire::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const CUSTOMER: HeaderName = HeaderName::from_static("x-customer-id");

/// One attempt may take this long before it counts as lost: longer than any answer the system gives under overload.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// First wait between attempts when the server names none; doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// Longest wait between attempts, whoever names it.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// A request that may be sent more than once.
#[derive(Debug, Clone)]
pub struct Call {
    /// GET or POST.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// `X-Customer-Id`.
    pub customer: Option<Arc<str>>,
    /// JSON.
    pub body: Option<Vec<u8>>,
}

impl Call {
    /// A read.
    #[must_use]
    pub fn get(path: String, customer: Option<Arc<str>>) -> Self {
        Self { method: Method::GET, path, key: None, customer, body: None }
    }

    /// A write, safe to repeat by its `key`.
    #[must_use]
    pub fn post(path: &str, key: String, customer: Option<Arc<str>>, body: Vec<u8>) -> Self {
        Self { method: Method::POST, path: path.to_owned(), key: Some(key), customer, body: Some(body) }
    }
}

/// A final answer: success, or a refusal that asking again does not change.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Whether the server answered from an earlier, same request.
    pub replayed: bool,
    /// Body, as it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether it is 2xx.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Error::Body`] when it is no `T`.
    pub fn json<T: DeserializeOwned>(&self, asked: &Call) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|source| Error::Body { asked: name(asked), source })
    }

    /// The code of the problem it tells; `http_<status>` when it tells none.
    #[must_use]
    pub fn code(&self) -> String {
        self.problem().map_or_else(|| format!("http_{}", self.status), |problem| problem.code)
    }

    /// The problem it tells.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Why no final answer came.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is no URL, or a header value has characters it must not have.
    #[error("build request {asked}")]
    Build {
        /// Method and path.
        asked: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The client could not be made.
    #[error("build the HTTP client")]
    Client(#[source] reqwest::Error),
    /// No final answer within the patience.
    #[error("{asked} had no final answer after {attempts} attempts in {elapsed:?}: {last}")]
    GaveUp {
        /// Method and path.
        asked: String,
        /// How often it was sent.
        attempts: u32,
        /// Since the first.
        elapsed: Duration,
        /// What the last attempt met.
        last: String,
    },
    /// An answer is not what the interface says.
    #[error("read the answer to {asked}")]
    Body {
        /// Method and path.
        asked: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The server refused what it should accept.
    #[error("{asked} was refused: {status} {problem}")]
    Refused {
        /// Method and path.
        asked: String,
        /// Status code.
        status: u16,
        /// Code and text of the problem.
        problem: String,
    },
    /// The HTTP log cannot be written.
    #[error("write the HTTP log")]
    Log(#[from] httplog::Error),
}

/// The gateway, as one client sees it. Shared by reference between tasks.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    patience: Duration,
    log: Option<httplog::Writer>,
    retries: Mutex<BTreeMap<String, u64>>,
}

impl Client {
    /// A client of the gateway at `base`, which repeats a request for at most `patience` and writes each attempt to `log`.
    ///
    /// # Errors
    /// [`Error::Build`] when `base` is no URL, [`Error::Client`] when the client cannot be made.
    pub fn new(base: &str, patience: Duration, log: Option<httplog::Writer>) -> Result<Self, Error> {
        let base = Url::parse(base).map_err(|source| Error::Build { asked: base.to_owned(), source: source.into() })?;
        let http = reqwest::Client::builder()
            .no_proxy() // the gateway is on this machine or beside it; a proxy would be measured too
            .tcp_nodelay(true)
            .pool_max_idle_per_host(usize::MAX)
            .timeout(ATTEMPT_TIMEOUT)
            .build()
            .map_err(Error::Client)?;
        Ok(Self { http, base, patience, log, retries: Mutex::new(BTreeMap::new()) })
    }

    /// Sends `call` until it is answered for good. Repeated, with the same key: transport errors, 429, 502, 503, 504, and 409 while
    /// the first attempt is still being handled. Any other answer is final, a 500 too: repeating it would hide a fault.
    ///
    /// # Errors
    /// [`Error::GaveUp`] when the patience ends, [`Error::Build`] when the call is no valid request.
    pub async fn send(&self, call: &Call) -> Result<Answer, Error> {
        let url = self.base.join(&call.path).map_err(|source| Error::Build { asked: name(call), source: source.into() })?;
        let headers = headers(call).map_err(|source| Error::Build { asked: name(call), source: source.into() })?;
        let started = Instant::now();
        let mut attempts = 0_u32;
        loop {
            attempts += 1;
            let again = match self.attempt(call, &url, &headers).await? {
                Ok(answer) => return Ok(answer),
                Err(again) => again,
            };
            self.count_retry(&again.why);
            let wait = again.after.unwrap_or_else(|| backoff(attempts)).min(BACKOFF_MAX);
            let elapsed = started.elapsed();
            if elapsed + wait > self.patience {
                return Err(Error::GaveUp { asked: name(call), attempts, elapsed, last: again.why });
            }
            sleep(wait).await;
        }
    }

    /// As [`Client::send`], for a call that must succeed.
    ///
    /// # Errors
    /// As [`Client::send`]; [`Error::Refused`] when the final answer is no 2xx.
    pub async fn must(&self, call: &Call) -> Result<Answer, Error> {
        let answer = self.send(call).await?;
        if answer.is_success() {
            return Ok(answer);
        }
        let problem = answer.problem().map_or_else(|| "no problem body".to_owned(), |problem| problem.to_string());
        Err(Error::Refused { asked: name(call), status: answer.status, problem })
    }

    /// How many attempts were repeated, by reason.
    #[must_use]
    pub fn retries(&self) -> BTreeMap<String, u64> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes out the HTTP log.
    ///
    /// # Errors
    /// [`Error::Log`] when it cannot be written.
    pub fn finish_log(&self) -> Result<(), Error> {
        self.log.as_ref().map_or(Ok(()), |log| Ok(log.finish()?))
    }

    async fn attempt(&self, call: &Call, url: &Url, headers: &HeaderMap) -> Result<Result<Answer, Again>, Error> {
        let at_ms = Timestamp::now().as_millisecond();
        let mut request = self.http.request(call.method.clone(), url.clone()).headers(headers.clone());
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let (answer, retry_after) = match receive(request).await {
            Ok(received) => received,
            Err(error) => {
                self.append(at_ms, call, None)?;
                return Ok(Err(Again { why: transport(&error).to_owned(), after: None }));
            }
        };
        self.append(at_ms, call, Some(&answer))?;
        Ok(match answer.status {
            429 | 502 | 503 | 504 => Err(Again { why: format!("http_{}", answer.status), after: retry_after }),
            409 if answer.code() == REQUEST_IN_FLIGHT => Err(Again { why: REQUEST_IN_FLIGHT.to_owned(), after: retry_after }),
            _ => Ok(answer),
        })
    }

    fn count_retry(&self, why: &str) {
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        *retries.entry(why.to_owned()).or_default() += 1;
    }

    fn append(&self, at_ms: i64, call: &Call, answer: Option<&Answer>) -> Result<(), Error> {
        let Some(log) = &self.log else { return Ok(()) };
        let status = answer.map(|answer| answer.status);
        // While the first request with this key is handled nobody knows how it ends, whatever this one was told.
        let in_flight = answer.is_some_and(|answer| answer.status == 409 && answer.code() == REQUEST_IN_FLIGHT);
        let entry = Entry {
            at_ms,
            method: call.method.as_str().to_owned(),
            path: call.path.clone(),
            key: call.key.clone(),
            customer: call.customer.as_deref().map(str::to_owned),
            body_hash: call.body.as_deref().map(httplog::hash),
            outcome: if in_flight { Outcome::Unknown } else { Outcome::of_status(status) },
            status,
            order_id: answer.filter(|answer| answer.is_success()).and_then(order_id),
            response_hash: answer.map(|answer| httplog::hash(&answer.body)),
        };
        Ok(log.append(&entry)?)
    }
}

/// Problem code of a request whose first attempt is still being handled.
const REQUEST_IN_FLIGHT: &str = "request_in_flight";

/// An answer that asks to be asked again.
struct Again {
    why: String,
    after: Option<Duration>,
}

async fn receive(request: reqwest::RequestBuilder) -> Result<(Answer, Option<Duration>), reqwest::Error> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let replayed = response.headers().contains_key(IDEMPOTENT_REPLAYED);
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let body = response.bytes().await?.to_vec();
    Ok((Answer { status, replayed, body }, retry_after))
}

fn headers(call: &Call) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::with_capacity(3);
    if let Some(key) = &call.key {
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(key)?);
    }
    if let Some(customer) = &call.customer {
        headers.insert(CUSTOMER, HeaderValue::from_str(customer)?);
    }
    if call.body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(headers)
}

/// 50 ms, doubled with each failed attempt.
fn backoff(attempts: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX))
}

fn transport(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "transport"
    }
}

fn order_id(answer: &Answer) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Named {
        id: Uuid,
    }
    serde_json::from_slice::<Named>(&answer.body).ok().map(|named| named.id)
}

fn name(call: &Call) -> String {
    format!("{} {}", call.method, call.path)
}
