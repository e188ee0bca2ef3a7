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
