use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Config, LogFormat};

/// Sends logs to standard error in the configured format.
///
/// # Errors
/// When the filter does not parse, or logging was set up before.
pub fn start(config: &Config) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(&config.rust_log)?;
    let registry = tracing_subscriber::registry().with(filter);
    match config.log_format {
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()?,
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init()?,
    }
    Ok(())
}

/// Exports traces if the configuration names a collector; until the guard is dropped.
///
/// # Errors
/// A setting that makes no sense.
pub fn trace(config: &Config) -> Result<trace::Guard, trace::Error> {
    let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    trace::start(&trace::Settings {
        endpoint: set(&config.otel_exporter_otlp_endpoint),
        sampler: set(&config.otel_traces_sampler),
        sampler_arg: Some(config.otel_traces_sampler_arg.to_string()),
        service: "api-gateway".to_owned(),
        instance: config.instance_id.clone(),
    })
}
