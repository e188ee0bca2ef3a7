//! The process's exporter: one thread that sends spans in batches.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample, SpanData, SpanProcessor,
};

use crate::context::Context;
use crate::names::SCHEMA_URL;

static EXPORTER: OnceLock<Exporter> = OnceLock::new();
static SCOPE: OnceLock<InstrumentationScope> = OnceLock::new();

/// How long spans that are left may take to go out at the end.
const FLUSH: Duration = Duration::from_secs(2);

/// Whether and where to export, by the names of OpenTelemetry's environment variables.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, such as `http://collector:4318`; without it tracing is off.
    pub endpoint: Option<String>,
    /// `OTEL_TRACES_SAMPLER`: `parentbased_always_on`, the default, `parentbased_always_off` (only what a caller asks for),
    /// `parentbased_traceidratio`, `always_on`, `always_off`, `traceidratio`.
    pub sampler: Option<String>,
    /// `OTEL_TRACES_SAMPLER_ARG`: the share for the ratio, 0 to 1.
    pub sampler_arg: Option<String>,
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`.
    pub instance: String,
}

/// Why tracing did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A sampler nobody knows.
    #[error(
        "otel_traces_sampler {0} is none of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio"
    )]
    Sampler(String),
    /// Not a share.
    #[error("otel_traces_sampler_arg {0} is no number from 0 to 1")]
    Share(String),
    /// The endpoint or another `OTEL_EXPORTER_OTLP_` variable does not fit.
    #[error("make the OTLP exporter for {0}")]
    Exporter(String, #[source] ExporterBuildError),
}

/// Sends what is left when it is dropped.
#[derive(Debug)]
#[must_use = "dropped, it ends tracing"]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(exporter) = EXPORTER.get() {
            // A collector that is away costs spans, not the end of the process.
            drop(exporter.processor.shutdown_with_timeout(FLUSH));
        }
    }
}

/// Turns tracing on for this process if an endpoint is given; once, later calls change nothing. `OTEL_EXPORTER_OTLP_HEADERS`,
/// `_TIMEOUT` and `OTEL_BSP_*` are read by the libraries themselves.
///
/// # Errors
/// [`Error`]: a setting that makes no sense; a collector that is away is none.
pub fn start(settings: &Settings) -> Result<Guard, Error> {
    let Some(endpoint) = &settings.endpoint else { return Ok(Guard(())) };
    let sampler = Sampling::of(settings)?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .map_err(|error| Error::Exporter(endpoint.clone(), error))?;
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    let resource = Resource::builder()
        .with_service_name(settings.service.clone())
        .with_attribute(KeyValue::new("service.instance.id", settings.instance.clone()))
        .build();
    processor.set_resource(&resource);
    if EXPORTER.set(Exporter { processor, sampler }).is_err() {
        tracing::debug!("tracing was started before");
    }
    Ok(Guard(()))
}

pub(crate) fn exporter() -> Option<&'static Exporter> {
    EXPORTER.get()
}

pub(crate) fn scope() -> InstrumentationScope {
    let made = || InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).with_schema_url(SCHEMA_URL);
    SCOPE.get_or_init(|| made().build()).clone()
}

/// How it is decided what is recorded.
#[derive(Debug)]
struct Sampling {
    sampler: Sampler,
    /// Without a recorded parent nothing is ever recorded, so nothing needs to travel.
    roots_never: bool,
}

impl Sampling {
    fn of(settings: &Settings) -> Result<Self, Error> {
        let share = || -> Result<Sampler, Error> {
            let text = settings.sampler_arg.as_deref().unwrap_or("1");
            let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
            share.map(Sampler::TraceIdRatioBased).ok_or_else(|| Error::Share(text.to_owned()))
        };
        let by_parent = |root: Sampler| Sampler::ParentBased(Box::new(root));
        let (sampler, roots_never) = match settings.sampler.as_deref().unwrap_or("parentbased_always_on") {
            "parentbased_always_on" => (by_parent(Sampler::AlwaysOn), false),
            "parentbased_always_off" => (by_parent(Sampler::AlwaysOff), true),
            "parentbased_traceidratio" => (by_parent(share()?), false),
            "always_on" => (Sampler::AlwaysOn, false),
            "always_off" => (Sampler::AlwaysOff, true),
            "traceidratio" => (share()?, false),
            other => return Err(Error::Sampler(other.to_owned())),
        };
        Ok(Self { sampler, roots_never })
    }
}

/// What the process exports with.
pub(crate) struct Exporter {
    processor: BatchSpanProcessor,
    sampler: Sampling,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

impl Exporter {
    pub(crate) fn begin(&self, parent: Option<Context>) -> Option<Context> {
        // Below what is not recorded nothing ever is: then nothing travels either, and an order that nobody traces costs nothing.
        if self.sampler.roots_never && parent.is_none_or(|parent| !parent.sampled) {
            return None;
        }
        let ids = RandomIdGenerator::default();
        let trace = parent.map_or_else(|| ids.new_trace_id(), |parent| parent.trace);
        let around = parent.map(|parent| opentelemetry::Context::new().with_remote_span_context(parent.otel(true)));
        let decided = self.sampler.sampler.should_sample(around.as_ref(), trace, "", &SpanKind::Internal, &[], &[]);
        let sampled = match decided.decision {
            SamplingDecision::RecordAndSample => true,
            SamplingDecision::Drop | SamplingDecision::RecordOnly => false,
        };
        Some(Context { trace, span: ids.new_span_id(), sampled })
    }

    pub(crate) fn take(&self, span: SpanData) {
        self.processor.on_end(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(sampler: &str, arg: Option<&str>) -> Result<Sampling, Error> {
        Sampling::of(&Settings { sampler: Some(sampler.to_owned()), sampler_arg: arg.map(str::to_owned), ..Settings::default() })
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        assert!(sampling("sometimes", None).unwrap_err().to_string().contains("otel_traces_sampler sometimes"));
        assert!(sampling("traceidratio", Some("2")).unwrap_err().to_string().contains("otel_traces_sampler_arg 2"));
        assert!(sampling("parentbased_traceidratio", Some("0.1")).is_ok());
    }

    #[test]
    fn without_an_endpoint_nothing_is_on() {
        drop(start(&Settings::default()).unwrap());
        assert!(!crate::on());
        assert_eq!(crate::begin(None), None);
        assert_eq!(crate::received(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")), None);
    }
}
