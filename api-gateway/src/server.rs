use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use actix_web::{
    App, HttpServer,
    dev::ServerHandle,
    middleware::from_fn,
    web::{self, Data},
};
use identity::Door;
use tokio::task::JoinHandle;

use crate::{
    config::Config,
    console, cut, docs,
    forward::{self, Worker},
    metrics::Metrics,
    ops, probe,
    rates::Rates,
    routes::{ROUTES, Service, allowed, paths},
    site::{self, Site},
};

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) door: Door,
    pub(crate) rates: Rates,
    pub(crate) metrics: Metrics,
    pub(crate) site: Option<Site>,
    /// Streams of events that are open.
    pub(crate) streams: Arc<AtomicUsize>,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) draining: AtomicBool,
    pub(crate) started: AtomicBool,
    orders: UpstreamState,
    inventory: UpstreamState,
}

/// What the last probe of an upstream found.
#[derive(Debug, Default)]
pub(crate) struct UpstreamState {
    pub(crate) probed: AtomicBool,
    pub(crate) reachable: AtomicBool,
}

impl Shared {
    pub(crate) const fn state(&self, service: Service) -> &UpstreamState {
        match service {
            Service::Orders => &self.orders,
            Service::Inventory => &self.inventory,
        }
    }
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The metrics cannot be set up.
    #[error("set up metrics")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// The storefront's files cannot be served.
    #[error("read the storefront")]
    Site(#[source] site::Error),
}

/// A running gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    http_addr: SocketAddr,
    ops_addr: SocketAddr,
    http: Server,
    ops: Server,
    probe: JoinHandle<()>,
}

struct Server {
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("http_addr", &self.http_addr).field("ops_addr", &self.ops_addr).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Listens on both addresses and serves. Does not wait for the upstreams: until they are there, requests are answered 503.
    ///
    /// # Errors
    /// [`Error::Listen`] when an address is in use or not ours, [`Error::Site`] when the storefront is not where the settings say.
    pub fn start(config: Config, door: Door) -> Result<Self, Error> {
        let metrics = Metrics::new().map_err(Error::Metrics)?;
        let site = Site::load(&config).map_err(Error::Site)?;
        let shared = Arc::new(Shared {
            site,
            rates: Rates::new(&config),
            config,
            door,
            metrics,
            streams: Arc::default(),
            in_flight: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            started: AtomicBool::new(false),
            orders: UpstreamState::default(),
            inventory: UpstreamState::default(),
        });
        let (http_addr, http) = serve_http(&shared)?;
        let (ops_addr, ops) = serve_ops(&shared)?;
        let probe = tokio::spawn(probe::run(Arc::clone(&shared)));
        tracing::info!(%http_addr, %ops_addr, instance = shared.config.instance_id, "the gateway listens");
        Ok(Self { shared, http_addr, ops_addr, http, ops, probe })
    }

    /// Where clients connect; the port that was drawn if the configured one was 0.
    #[must_use]
    pub const fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where operators connect.
    #[must_use]
    pub const fn ops_addr(&self) -> SocketAddr {
        self.ops_addr
    }

    /// Takes no new connections, lets what has begun end within `drain_ms`, and stops. `/readyz` says so meanwhile.
    ///
    /// # Errors
    /// When a server ended with an error, or its task panicked.
    pub async fn stop(self) -> io::Result<()> {
        tracing::info!("draining");
        self.shared.draining.store(true, Ordering::Relaxed);
        self.http.stop(true).await?;
        self.probe.abort();
        self.ops.stop(false).await?;
        tracing::info!("stopped");
        Ok(())
    }
}

impl Server {
    fn spawn(server: actix_web::dev::Server) -> Self {
        Self { handle: server.handle(), task: tokio::spawn(server) }
    }

    async fn stop(self, graceful: bool) -> io::Result<()> {
        self.handle.stop(graceful).await;
        self.task.await.map_err(io::Error::other)?
    }
}

fn serve_http(shared: &Arc<Shared>) -> Result<(SocketAddr, Server), Error> {
    let config = &shared.config;
    let for_workers = Arc::clone(shared);
    let factory = move || {
        let worker = Data::new(Worker::new(Arc::clone(&for_workers)));
        App::new()
            .app_data(worker)
            .configure(routes)
            .configure(console::configure)
            .configure(docs::configure)
            .default_service(web::to(site::serve))
            .wrap(from_fn(cut::unread_bodies))
    };
    let server = HttpServer::new(factory)
        .on_connect(cut::remember)
        .workers(config.workers)
        .max_connections(config.connections_max)
        .client_request_timeout(config.header_timeout)
        .keep_alive(config.keep_alive)
        .tcp_nodelay(true)
        .shutdown_timeout(config.drain.as_secs())
        .disable_signals();
    let address = config.http_addr;
    let server = server.bind(address).map_err(|source| Error::Listen { address, source })?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok((bound, Server::spawn(server.run())))
}

/// The table as actix resources.
fn routes(service: &mut web::ServiceConfig) {
    for path in paths() {
        let mut resource = web::resource(path);
        for (index, route) in ROUTES.iter().enumerate().filter(|(_, route)| route.path == path) {
            let handler = move |request, payload, worker| forward::serve(index, request, payload, worker);
            resource = resource.route(web::method(route.method.clone()).to(handler));
        }
        let methods = allowed(path);
        let refuse = move |request, worker| forward::refuse_path(Some(methods.clone()), request, worker);
        service.service(resource.default_service(web::to(refuse)));
    }
}

fn serve_ops(shared: &Arc<Shared>) -> Result<(SocketAddr, Server), Error> {
    let address = shared.config.ops_addr;
    let data = Data::new(Arc::clone(shared));
    let server = HttpServer::new(move || App::new().app_data(data.clone()).configure(ops::configure)).workers(1).disable_signals();
    let server = server.bind(address).map_err(|source| Error::Listen { address, source })?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok((bound, Server::spawn(server.run())))
}
