//! The API gateway as a process. Its settings are in `config.default.toml`.

use anyhow::Context;
use api_gateway::{Config, Gateway, telemetry};
use identity::Door;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Each connection of a client has two descriptors. As many as the system allows are asked for; fewer than are needed are worth a warning,
/// because clients would be kept waiting at the door by others who say nothing.
fn open_files(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(256);
    if now < needed {
        tracing::warn!(limit = now, needed, "too few open files are allowed for connections_max: raise the limit or lower the setting");
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::load()?;
    telemetry::start(&config).map_err(anyhow::Error::from_boxed).context("start logging")?;
    open_files(config.workers.saturating_mul(config.connections_max));
    let _tracing = telemetry::trace(&config).context("start tracing")?;
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
