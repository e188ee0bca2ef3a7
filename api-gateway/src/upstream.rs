//! The only place that makes HTTP clients.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use actix_web::web::Bytes;
use contract::{Code, Problem};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    http::uri::{Authority, PathAndQuery, Scheme, Uri},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{
    config::{BaseUrl, Config},
    console::Desk,
    metrics::{AskedDurations, Metrics, Outcome},
    routes::Service,
};

/// Most bytes of an answer: far above a full page of a list.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Pause before a connection is tried again; doubles each time.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// At most one failure in this time is logged for an upstream and worker: during an outage every request would be one.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// A service as one worker reaches it: its own connections, so that nothing is shared between threads on the way.
#[derive(Debug)]
pub(crate) struct Upstream {
    name: &'static str,
    authority: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
    connect_retries: u32,
    durations: AskedDurations,
    logged_at: Cell<Option<Instant>>,
}

/// A request to a service.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) path_and_query: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A service's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Upstream {
    /// A client for `service`. To be made on the thread that uses it.
    pub(crate) fn new(service: Service, config: &Config, metrics: &Metrics) -> Self {
        Self::at(service.name(), base_url(service, config), config, AskedDurations::new(metrics, service.name()))
    }

    /// A client for the ops port of a service; none where its address is not configured.
    pub(crate) fn of_desk(desk: Desk, config: &Config, metrics: &Metrics) -> Option<Self> {
        let (url, name) = match desk {
            Desk::Orders => (&config.orders_ops_url, "orders ops"),
            Desk::Inventory => (&config.inventory_ops_url, "inventory ops"),
            Desk::Payments => (&config.payments_ops_url, "payments ops"),
        };
        url.0.as_ref().map(|url| Self::at(name, url, config, AskedDurations::new(metrics, name)))
    }

    fn at(name: &'static str, url: &BaseUrl, config: &Config, durations: AskedDurations) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.upstream_connect_timeout));
        let client =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(config.upstream_idle).build(connector);
        Self {
            name,
            authority: url.authority().clone(),
            client,
            timeout: config.upstream_timeout,
            connect_retries: config.upstream_connect_retries,
            durations,
            logged_at: Cell::new(None),
        }
    }

    /// Sends `outgoing` once and reads the answer whole. Only a connection that could not be made, or that was closed
    /// before anything was written to it, is tried again.
    ///
    /// # Errors
    /// `unavailable` when the service cannot be reached or the connection breaks; `upstream_timeout` when it is slow.
    /// After the second and third it is not known whether the request took effect.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Answer, Problem> {
        let started = Instant::now();
        let result = match tokio::time::timeout(self.timeout, self.exchange(outgoing)).await {
            Ok(result) => result,
            Err(_elapsed) => Err((Outcome::Slow, "no answer in time".to_owned())),
        };
        let outcome = result.as_ref().map_or_else(|(outcome, _)| *outcome, |_| Outcome::Answered);
        self.durations.record(outcome, started.elapsed());
        result.map_err(|(outcome, cause)| self.problem(outcome, &cause))
    }

    async fn exchange(&self, outgoing: Outgoing) -> Result<Answer, (Outcome, String)> {
        let mut attempt = 0;
        let response = loop {
            match self.client.request(self.request(outgoing.clone())?).await {
                Ok(response) => break response,
                Err(error) if error.is_connect() && attempt < self.connect_retries => {
                    tokio::time::sleep(RETRY_PAUSE * 2_u32.pow(attempt)).await;
                    attempt += 1;
                }
                Err(error) if error.is_connect() => return Err((Outcome::NotConnected, chain(&error))),
                Err(error) => return Err((Outcome::Broken, chain(&error))),
            }
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| (Outcome::Broken, chain(&*error)))?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    fn request(&self, outgoing: Outgoing) -> Result<Request<Full<Bytes>>, (Outcome, String)> {
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(self.authority.clone()).path_and_query(outgoing.path_and_query);
        let mut request = Request::new(Full::new(outgoing.body));
        *request.method_mut() = outgoing.method;
        *request.uri_mut() = uri.build().map_err(|error| (Outcome::Broken, error.to_string()))?;
        *request.headers_mut() = outgoing.headers;
        Ok(request)
    }

    fn problem(&self, outcome: Outcome, cause: &str) -> Problem {
        let now = Instant::now();
        if self.logged_at.get().is_none_or(|last| now.duration_since(last) >= LOG_PAUSE) {
            self.logged_at.set(Some(now));
            tracing::warn!(upstream = self.name, ?outcome, cause, "a request to an upstream failed");
        }
        match outcome {
            Outcome::NotConnected => Problem::new(Code::Unavailable),
            Outcome::Answered | Outcome::Broken => {
                Problem::new(Code::Unavailable).with_detail("the connection broke: whether the request took effect is not known")
            }
            Outcome::Slow => Problem::new(Code::UpstreamTimeout).with_detail("whether the request took effect is not known"),
        }
    }
}

/// Where `service` is.
pub(crate) const fn base_url(service: Service, config: &Config) -> &BaseUrl {
    match service {
        Service::Orders => &config.orders_url,
        Service::Inventory => &config.inventory_url,
    }
}

/// The whole chain of an error in one line; hyper's top level says little.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
