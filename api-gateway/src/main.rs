//! The API gateway as a process. Its settings are in `config.default.toml`.

use std::sync::Arc;

use anyhow::Context;
use api_gateway::{Config, Gateway, HeaderAuthenticator, telemetry};
use tokio::signal::unix::{SignalKind, signal};

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::load()?;
    telemetry::start(&config).map_err(anyhow::Error::from_boxed).context("start logging")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let gateway = Gateway::start(config, Arc::new(HeaderAuthenticator))?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("received SIGTERM"),
        _ = interrupt.recv() => tracing::info!("received SIGINT"),
    }
    gateway.stop().await.context("stop")
}
