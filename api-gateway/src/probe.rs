//! Whether the upstreams can be reached, found out in the background so that asking costs nothing.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{net::TcpStream, time};

use crate::{routes::Service, server::Shared, upstream::base_url};

/// Pause between two rounds once every upstream was reached.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause until then.
const PAUSE_STARTING: Duration = Duration::from_millis(100);

/// How often callers that have not asked for a while are forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// Probes all upstreams for ever; ends when it is aborted.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut forgotten_at = Instant::now();
    loop {
        if forgotten_at.elapsed() >= FORGET {
            shared.rates.forget();
            forgotten_at = Instant::now();
        }
        join_all(Service::ALL.map(|service| probe(&shared, service))).await;
        let all = Service::ALL.into_iter().all(|service| shared.state(service).reachable.load(Ordering::Relaxed));
        if all && !shared.started.swap(true, Ordering::Relaxed) {
            tracing::info!("every upstream was reached");
        }
        let started = shared.started.load(Ordering::Relaxed);
        shared.metrics.upkeep();
        time::sleep(if started { PAUSE } else { PAUSE_STARTING }).await;
    }
}

async fn probe(shared: &Shared, service: Service) {
    let address = base_url(service, &shared.config).authority().as_str();
    let connect = time::timeout(shared.config.upstream_connect_timeout, TcpStream::connect(address));
    let reachable = matches!(connect.await, Ok(Ok(_)));
    let state = shared.state(service);
    let was_reachable = state.reachable.swap(reachable, Ordering::Relaxed);
    let was_probed = state.probed.swap(true, Ordering::Relaxed);
    shared.metrics.up(service).set(if reachable { 1.0 } else { 0.0 });
    match (was_probed && was_reachable == reachable, reachable) {
        (true, _) => {}
        (false, true) => tracing::info!(upstream = service.name(), address, "upstream is reachable"),
        (false, false) => tracing::warn!(upstream = service.name(), address, "upstream is not reachable; waiting for it"),
    }
}
