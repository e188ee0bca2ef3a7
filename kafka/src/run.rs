//! `serve` and `setup`: from configuration to a running service, and back down in order.

use std::future::Future;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpServer, web};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::bridge::Bridge;
use crate::cluster::Cluster;
use crate::codec::Codec;
use crate::config::Config;
use crate::harm::{self, Sabotage};
use crate::rebuild::room::Identity;
use crate::registry::{self, Registry};
use crate::service::{Service, anyhow_lite};
use crate::store::Units;
use crate::topics::Partitions;
use crate::{consumer, deadlines, gauges, ops, rebuild, relay, retry, setup, topics, worker};

/// How long dependencies are waited for at start.
const START: Duration = Duration::from_secs(60);
/// Requests of operators under way at once.
const OPERATIONS: usize = 4;
/// How long the parts may take to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// What a service builds its parts from.
#[derive(Debug, Clone)]
pub struct Context {
    /// Units of work.
    pub units: Units,
    /// The configuration.
    pub config: Config,
    /// To the main runtime, for HTTP handlers.
    pub bridge: Bridge,
    /// For answers that wait until what they say is published.
    pub published: relay::Published,
    /// True once the process is going down.
    pub stop: watch::Receiver<bool>,
}

/// The body of a service's `main`: reads `defaults` and the environment, then runs the command given as first argument
/// (`serve`, the default, or `setup`). `setup --rebuild` gives the database's content up: it is rebuilt from the topics.
///
/// # Errors
/// Whatever stops the service, with its chain.
pub fn main<S: Service>(service: S, defaults: &str) -> anyhow_lite::Result<()> {
    let config = Config::read(&format!("{}\n{defaults}", include_str!("../config.default.toml")))?;
    log(&config);
    let instance = config.optional("instance_id").map_or_else(|| format!("{}-1", S::NAME), str::to_owned);
    let _tracing = trace::start(&tracing_settings(&config, S::NAME, &instance))?;
    #[cfg(debug_assertions)]
    crate::harm::install_from_environment()?;
    let command = std::env::args().nth(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = match command.as_deref() {
        None | Some("serve") => runtime.block_on(serve(Arc::new(service), config)),
        Some("setup") => match std::env::args().nth(2).as_deref() {
            None => runtime.block_on(set_up(&service, config, false)),
            Some("--rebuild") => runtime.block_on(set_up(&service, config, true)),
            Some(other) => Err(format!("unknown option {other} of setup; known is --rebuild").into()),
        },
        Some(other) => Err(format!("unknown command {other}; known are serve and setup").into()),
    };
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

fn tracing_settings(config: &Config, service: &str, instance: &str) -> trace::Settings {
    let text = |key: &str| config.optional(key).map(str::to_owned);
    trace::Settings {
        endpoint: text("otel_exporter_otlp_endpoint"),
        sampler: text("otel_traces_sampler"),
        sampler_arg: text("otel_traces_sampler_arg"),
        service: service.to_owned(),
        instance: instance.to_owned(),
    }
}

fn log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::try_new(config.optional("rust_log").unwrap_or("info")).unwrap_or_default();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only when a subscriber is set already, as tests do.
    let set =
        if config.optional("log_format") == Some("text") { builder.try_init() } else { builder.json().flatten_event(true).try_init() };
    drop(set);
}

/// Retries `action` until it succeeds or 60 s have passed, saying what it waits for.
async fn wait_for<T, E, F>(what: &str, mut action: impl FnMut() -> F, again: impl Fn(&E) -> bool) -> Result<T, E>
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + START;
    loop {
        match action().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() < deadline && again(&error) => {
                tracing::info!(error = %error, "waiting for {what}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn set_up<S: Service>(service: &S, config: Config, give_up: bool) -> anyhow_lite::Result<()> {
    let options = setup::Options {
        owner: PgConnectOptions::from_str(config.secret("owner_database_url")?.expose())?,
        role: S::NAME.to_owned(),
        reader: config.text("reader_role")?.to_owned(),
        cluster: Cluster::read(&config)?,
        reads: service.routes().topics().to_vec(),
        partitions: config.number("partitions")?,
        tiers: tiers(&config)?,
        give_up,
    };
    let transient = |error: &setup::Error| match error {
        setup::Error::Database(_) | setup::Error::Topics(_) | setup::Error::Rights(_) => true,
        setup::Error::Relay(error) => !error.is_final(),
        setup::Error::Migrate(_) | setup::Error::Role(_) => false,
    };
    wait_for("the database and Kafka", || setup::run::<S>(&options), transient).await?;
    service.set_up(&config).await?;
    tracing::info!(service = S::NAME, "set up");
    Ok(())
}

fn tiers(config: &Config) -> anyhow_lite::Result<retry::Tiers> {
    let attempts_max = config.optional("retry_attempts_max").map(|_| config.number("retry_attempts_max")).transpose()?;
    Ok(retry::Tiers::parse(config.text("retry_delays_ms")?, attempts_max)?)
}

/// Options of every service connection. Plans must use the indexes: a generic plan cached while a table was empty scans it.
/// `name` is what the server shows of it.
///
/// # Errors
/// `url` is no `PostgreSQL` URL.
///
/// Source: SPIKE, "index plans"; the time limits are PROTOCOLS L3's.
pub fn connect_options(url: &str, name: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.application_name(name);
    let options = if harm::sabotaged(Sabotage::AsynchronousCommit) { options.options([("synchronous_commit", "off")]) } else { options };
    Ok(options.options([
        // A batch's arrays make the planner think each time anew, for longer than the statement takes.
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("jit", "off"),
        ("transaction_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("statement_timeout", "5s"),
    ]))
}

/// Registers our schemas behind the gate, after every id used before was found unchanged.
async fn schemas<S: Service>(pool: &PgPool, registry: &Registry) -> anyhow_lite::Result<Codec> {
    let known = sqlx::query("SELECT id, subject, json FROM schemas ORDER BY id").fetch_all(pool).await?;
    let mut rows = Vec::with_capacity(known.len());
    for row in &known {
        let (id, subject, json): (i32, String, String) = (row.try_get("id")?, row.try_get("subject")?, row.try_get("json")?);
        let id = u32::try_from(id)?;
        registry.confirm(id, &subject, &json).await?;
        rows.push((id, subject, json));
    }
    let mut own = Vec::with_capacity(S::RECORDS.len());
    for &(topic, full_name, json) in S::RECORDS {
        let subject = format!("{topic}-{full_name}");
        let id = match rows.iter().find(|(_, s, j)| *s == subject && j == json) {
            Some((id, _, _)) => *id,
            None => {
                let id = registry.register(&subject, json, S::GATE).await?;
                let fingerprint = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, json.as_bytes()));
                sqlx::query(
                    "INSERT INTO schemas (id, subject, fingerprint, json) VALUES ($1, $2, $3, $4) ON CONFLICT (id, subject) DO NOTHING",
                )
                .bind(i32::try_from(id)?)
                .bind(&subject)
                .bind(&fingerprint)
                .bind(json)
                .execute(pool)
                .await?;
                id
            }
        };
        own.push((full_name, json, id));
    }
    let codec = Codec::new(registry.clone(), &own)?;
    for (id, _, json) in rows {
        codec.remember(id, &json)?;
    }
    for (_, json, id) in own {
        codec.remember(id, json)?;
    }
    Ok(codec)
}

async fn identify(pool: &PgPool, cluster: &Cluster) -> anyhow_lite::Result<Partitions> {
    let rows = sqlx::query("SELECT topic, partitions FROM topic_partitions ORDER BY topic").fetch_all(pool).await?;
    let partitions = Partitions::new(
        rows.iter()
            .map(|row| Ok((row.try_get("topic")?, row.try_get("partitions")?)))
            .collect::<Result<Vec<(String, i32)>, sqlx::Error>>()?,
    );
    let (expected, brokers) = (partitions.clone(), cluster.clone());
    let cluster = tokio::task::spawn_blocking(move || topics::check(&brokers, &expected)).await??;
    sqlx::query("UPDATE db_identity SET cluster_id = $1 WHERE cluster_id IS NULL").bind(&cluster).execute(pool).await?;
    let stored: Option<String> = sqlx::query_scalar("SELECT cluster_id FROM db_identity").fetch_one(pool).await?;
    if stored.as_deref() != Some(cluster.as_str()) {
        return Err(
            format!("topic_replaced: the database belongs to Kafka cluster {}, this one is {cluster}", stored.unwrap_or_default()).into()
        );
    }
    Ok(partitions)
}

async fn serve<S: Service>(service: Arc<S>, config: Config) -> anyhow_lite::Result<()> {
    let metrics = ops::install_metrics()?;
    let relay_status = Arc::new(relay::Status::default());
    let checks = ops::Checks { relay: Some(Arc::clone(&relay_status)), ..ops::Checks::default() };
    let desk = ops::Slot::default();
    let recovery = rebuild::Status::default();
    let ops_server = ops::serve(
        config.text("ops_addr")?,
        checks.clone(),
        metrics.clone(),
        Arc::clone(&desk),
        service.operators(&config)?,
        (S::NAME, recovery.clone()),
    )?;
    let ops_handle = ops_server.handle();
    tokio::spawn(ops_server);
    let (stopper, stop) = watch::channel(false);
    let instance = config.optional("instance_id").map_or_else(|| format!("{}-1", S::NAME), str::to_owned);
    let outcome = tokio::select! {
        outcome = run(Arc::clone(&service), config, (instance, metrics), &checks, (relay_status, desk, recovery), (stopper, stop)) => outcome,
        () = starting_is_stopped(&checks) => Ok(()),
    };
    ops_handle.stop(false).await;
    outcome
}

/// A signal before everything runs ends the process at once: there is nothing to drain.
async fn starting_is_stopped(checks: &ops::Checks) {
    loop {
        signal().await;
        if !checks.started.load(Ordering::Relaxed) {
            return;
        }
    }
}

async fn signal() {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

async fn run<S: Service>(
    service: Arc<S>,
    config: Config,
    (instance, metrics): (String, PrometheusHandle),
    checks: &ops::Checks,
    (relay_status, desk, recovery): (Arc<relay::Status>, ops::Slot, rebuild::Status),
    (stopper, stop): (watch::Sender<bool>, watch::Receiver<bool>),
) -> anyhow_lite::Result<()> {
    let connect = connect_options(config.secret("database_url")?.expose(), &instance)?;
    let brokers = Cluster::read(&config)?;
    let guard = Arc::new(Guard::default());
    let pool = PgPoolOptions::new()
        .max_connections(config.number("database_connections")?)
        .min_connections(4)
        .acquire_timeout(Duration::from_secs(3))
        .test_before_acquire(false)
        .after_connect({
            let guard = Arc::clone(&guard);
            move |connection, _| {
                let guard = Arc::clone(&guard);
                Box::pin(async move { guard.check(connection).await })
            }
        })
        .connect_lazy_with(connect.clone());
    wait_for("the database", || async { sqlx::query("SELECT incarnation FROM db_identity").fetch_one(&pool).await.map(drop) }, |_| true)
        .await?;
    let registry = Registry::new(config.text("schema_registry_url")?)?;
    // a database that is slow or goes away again is no reason not to start
    let database_away = |error: &anyhow_lite::Error| error.downcast_ref::<sqlx::Error>().is_some();
    let waits = |error: &anyhow_lite::Error| {
        let unreachable = |error: &registry::Error| matches!(error, registry::Error::Unreachable { .. });
        error.downcast_ref::<registry::Error>().is_some_and(unreachable) || database_away(error)
    };
    let codec = Arc::new(wait_for("the schema registry", || schemas::<S>(&pool, &registry), waits).await?);
    let kafka_away = |error: &anyhow_lite::Error| error.downcast_ref::<topics::Error>().is_some() || database_away(error);
    let partitions = Arc::new(wait_for("Kafka", || identify(&pool, &brokers), kafka_away).await?);
    let Cluster { bootstrap, login } = brokers;
    let relay_config = relay::Config { service: S::NAME.to_owned(), bootstrap: bootstrap.clone(), login: login.clone(), connect };
    let units = Units::new(pool, codec, partitions, Arc::new(Notify::new()), Arc::new(Notify::new()))
        .with_retry(retry::Settings { group: S::NAME.to_owned(), tiers: tiers(&config)? });
    let published = relay::Published::new(relay_config.clone(), Arc::clone(&relay_status));
    let context = Context { units: units.clone(), config: config.clone(), bridge: Bridge::new(1024), published, stop: stop.clone() };
    let effects = Arc::new(service.effects(&context).await?);
    let consumer_config = consumer::Config { login, ..consumer::Config::new(S::NAME, instance, bootstrap, S::TOPICS) };
    let (mut engine, mut was_lost) = (None, false);
    if Identity::read(&units.pool).await?.live {
        recovery.live();
    } else {
        let job = rebuild::Job {
            service: Arc::clone(&service),
            units: units.clone(),
            relay: relay_config.clone(),
            url: config.secret("database_url")?.expose().to_owned(),
            consumer: consumer_config.clone(),
            health: Arc::clone(&checks.consumer),
            status: recovery,
            stop: stop.clone(),
        };
        engine = rebuild::room::wait(&job, config.text("http_addr")?).await?;
        was_lost = true;
    }
    // No connection that is made from here on may lead to another database.
    guard.expect(Identity::read(&units.pool).await?.incarnation);
    wait_for("the relay's position", || relay::check(&relay_config), |error: &relay::Error| !error.is_final()).await?;

    let relay_thread =
        relay::spawn(relay_config, tokio::runtime::Handle::current(), Arc::clone(&units.relay), Arc::clone(&relay_status), stop.clone());
    let mut engine = match engine {
        Some(engine) => engine,
        None => consumer::spawn(consumer_config, units.clone(), service.routes(), Arc::clone(&checks.consumer), stop.clone())?,
    };
    let worker = tokio::spawn(worker::run(units.clone(), effects, Arc::clone(&units.worker), stop.clone()));
    tokio::spawn(gauges::run(units.clone(), S::NAME, metrics, stop.clone()));
    let grace = config.millis("deadline_grace_ms")?;
    let firing = deadlines::Firing { units, service: Arc::clone(&service), relay: relay_status, grace, was_lost };
    let deadlines = tokio::spawn(deadlines::run(firing, stop));
    let http = Arc::clone(&service).http(&context).await?;
    let server = http_server::<S>(&config, http)?;
    let server_handle = server.handle();
    let mut server = tokio::spawn(server);
    seat(&desk, service.as_ref(), &context)?;
    checks.started.store(true, Ordering::Relaxed);
    tracing::info!(service = S::NAME, "serving");

    let broken = tokio::select! {
        () = signal() => None,
        ended = &mut server => Some(format!("the HTTP server ended: {ended:?}")),
        _ = &mut engine => Some("the consumer ended".to_owned()),
        () = relay_died(&relay_thread) => Some("the relay ended".to_owned()),
        () = guard.another() => Some("the database is another one now".to_owned()),
    };
    tracing::info!(reason = broken.as_deref().unwrap_or("signal"), "stopping");
    checks.stopping.store(true, Ordering::Relaxed);
    server_handle.stop(true).await;
    stopper.send_replace(true);
    let relay_end = tokio::task::spawn_blocking(move || relay_thread.join());
    let drained = tokio::time::timeout(DRAIN, async { tokio::join!(engine, worker, deadlines, relay_end) }).await;
    match drained {
        Ok((_, _, _, Ok(Ok(Err(error))))) => return Err(Box::new(error)),
        Ok(_) => {}
        Err(_elapsed) => tracing::warn!("not everything stopped in time; what is open is rolled back and taken up by the next start"),
    }
    broken.map_or(Ok(()), |reason| Err(reason.into()))
}

/// Keeps a process from going on with a database that is not the one it started with.
#[derive(Debug)]
struct Guard {
    expected: OnceLock<Uuid>,
    another: watch::Sender<bool>,
}

impl Default for Guard {
    fn default() -> Self {
        Self { expected: OnceLock::new(), another: watch::Sender::new(false) }
    }
}

impl Guard {
    fn expect(&self, incarnation: Uuid) {
        if self.expected.set(incarnation).is_err() {
            tracing::debug!("the process serves from one database already");
        }
    }

    /// Refuses a connection to a database of another incarnation.
    async fn check(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let Some(expected) = self.expected.get() else { return Ok(()) };
        let found: Uuid = sqlx::query_scalar("SELECT incarnation FROM db_identity").fetch_one(connection).await?;
        if found == *expected {
            return Ok(());
        }
        self.another.send_replace(true);
        Err(sqlx::Error::Configuration(
            format!("incarnation_mismatch: this process serves from {expected}, the database is {found}").into(),
        ))
    }

    async fn another(&self) {
        // the sender is ours
        drop(self.another.subscribe().wait_for(|another| *another).await);
    }
}

/// From here on operators are answered.
fn seat<S: Service>(slot: &ops::Slot, service: &S, context: &Context) -> anyhow_lite::Result<()> {
    let desk = ops::Desk {
        service: S::NAME,
        units: context.units.clone(),
        // Few at once: operators must not take the connections that orders need.
        bridge: Bridge::new(OPERATIONS),
        sagas: service.sagas(),
        erasures: service.erasures(&context.config)?,
        streams_of: S::streams_of,
    };
    drop(slot.set(desk));
    Ok(())
}

async fn relay_died<T>(thread: &std::thread::JoinHandle<T>) {
    while !thread.is_finished() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn http_server<S: Service>(config: &Config, http: S::Http) -> anyhow_lite::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        let http = http.clone();
        App::new()
            .wrap(Condition::new(trace::on(), from_fn(trace::web::serve)))
            .configure(move |app: &mut web::ServiceConfig| S::configure(&http, app))
    })
    .workers(config.number("http_workers")?)
    .keep_alive(Duration::from_secs(75))
    .client_request_timeout(Duration::from_secs(5))
    .shutdown_timeout(5)
    .disable_signals()
    .bind(config.text("http_addr")?)?
    .run();
    Ok(server)
}
