//! The API gateway as a process. Its settings are in `config.default.toml`.

use anyhow::Context;
use api_gateway::{Config, Gateway, telemetry};
use identity::Door;
use tokio::signal::unix::{SignalKind, signal};

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::load()?;
    telemetry::start(&config).map_err(anyhow::Error::from_boxed).context("start logging")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let door = Door::new(Some(&config.oidc_issuer), Some(&config.oidc_audience), config.trust_customer_header)?;
    if door.trusts_header() {
        tracing::warn!("whoever can connect may be any customer: TRUST_CUSTOMER_HEADER is for development only");
    }
    let gateway = Gateway::start(config, door)?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("received SIGTERM"),
        _ = interrupt.recv() => tracing::info!("received SIGINT"),
    }
    gateway.stop().await.context("stop")
}
