use std::{fmt, time::Duration};

use contract::Code;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::routes::{Route, Service};

const SERVER_DURATION: &str = "http_server_request_duration_seconds";
const CLIENT_DURATION: &str = "http_client_request_duration_seconds";
const ACTIVE: &str = "http_server_active_requests";
const REFUSED: &str = "gateway_problems_total";
const UP: &str = "gateway_upstream_up";

/// Bounds of the buckets of both histograms, in seconds. The first ones are where the gateway's own cost shows.
const BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const METADATA: Metadata<'static> = Metadata::new("api_gateway", Level::INFO, None);

/// The gateway's metrics. Not global, so that a process can hold several gateways.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    active: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// How a request to an upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    NotConnected,
    Broken,
    Slow,
}

impl Outcome {
    pub(crate) const ALL: [Self; 4] = [Self::Answered, Self::NotConnected, Self::Broken, Self::Slow];

    const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NotConnected => "not_connected",
            Self::Broken => "broken",
            Self::Slow => "slow",
        }
    }
}

impl Metrics {
    /// Metrics that have counted nothing yet.
    ///
    /// # Errors
    /// Only if the buckets are empty, which they are not.
    pub(crate) fn new() -> Result<Self, BuildError> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(SERVER_DURATION.to_owned()), BUCKETS)?
            .set_buckets_for_metric(Matcher::Full(CLIENT_DURATION.to_owned()), BUCKETS)?;
        let recorder = builder.build_recorder();
        let text = SharedString::const_str;
        recorder.describe_histogram(SERVER_DURATION.into(), Some(Unit::Seconds), text("Requests of clients by route and status."));
        recorder.describe_histogram(CLIENT_DURATION.into(), Some(Unit::Seconds), text("Requests to upstreams by how they ended."));
        recorder.describe_gauge(ACTIVE.into(), None, text("Requests of clients being handled."));
        recorder.describe_counter(REFUSED.into(), None, text("Problems the gateway itself answered, by code."));
        recorder.describe_gauge(UP.into(), None, text("1 when the last probe could connect to the upstream."));
        let active = recorder.register_gauge(&Key::from_static_name(ACTIVE), &METADATA);
        let handle = recorder.handle();
        Ok(Self { recorder, handle, active })
    }

    /// Everything counted so far, in the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Moves samples into their buckets. To be called every few seconds, or memory grows between two scrapes.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Requests being handled now.
    pub(crate) const fn active(&self) -> &Gauge {
        &self.active
    }

    /// Where the durations of answers of one route and status go; `None` is every path that is not in the table.
    pub(crate) fn served(&self, route: Option<&Route>, status: u16) -> Histogram {
        let method = route.map_or("", |route| route.method.as_str()).to_owned();
        let labels = vec![
            Label::new("http_request_method", method),
            Label::new("http_route", route.map_or("", |route| route.path)),
            Label::new("http_response_status_code", status.to_string()),
        ];
        self.recorder.register_histogram(&Key::from_parts(SERVER_DURATION, labels), &METADATA)
    }

    /// Where the durations of requests to `upstream` go.
    pub(crate) fn asked(&self, upstream: &'static str, outcome: Outcome) -> Histogram {
        let labels = vec![Label::new("upstream", upstream), Label::new("outcome", outcome.name())];
        self.recorder.register_histogram(&Key::from_parts(CLIENT_DURATION, labels), &METADATA)
    }

    /// How many problems of this code the gateway itself answered.
    pub(crate) fn problems(&self, code: Code) -> Counter {
        self.recorder.register_counter(&Key::from_parts(REFUSED, vec![Label::new("code", code.as_str())]), &METADATA)
    }

    /// Whether `service` could be reached.
    pub(crate) fn up(&self, service: Service) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(UP, vec![Label::new("upstream", service.name())]), &METADATA)
    }
}

/// The durations of requests to one upstream, registered once because registering costs more than recording.
#[derive(Debug)]
pub(crate) struct AskedDurations(Vec<(Outcome, Histogram)>);

impl AskedDurations {
    pub(crate) fn new(metrics: &Metrics, upstream: &'static str) -> Self {
        Self(Outcome::ALL.into_iter().map(|outcome| (outcome, metrics.asked(upstream, outcome))).collect())
    }

    pub(crate) fn record(&self, outcome: Outcome, duration: Duration) {
        if let Some((_, histogram)) = self.0.iter().find(|(known, _)| *known == outcome) {
            histogram.record(duration);
        }
    }
}
