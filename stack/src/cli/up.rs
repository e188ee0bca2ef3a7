use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use stack::{Part, Ports, Provider, Stack};
use tokio::signal::unix::{SignalKind, signal};

use super::{sample, say, status};

const PORT_BASE: u16 = 18_080;

#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// First port; the others are counted from it.
    #[arg(long, env = "STACK_PORT_BASE", default_value_t = PORT_BASE)]
    port_base: u16,
    /// Port of the API gateway.
    #[arg(long, env = "STACK_GATEWAY_PORT")]
    gateway_port: Option<u16>,
    /// Port of Kafka.
    #[arg(long, env = "STACK_KAFKA_PORT")]
    kafka_port: Option<u16>,
    /// Port of the schema registry.
    #[arg(long, env = "STACK_REGISTRY_PORT")]
    registry_port: Option<u16>,
    /// Port of PostgreSQL.
    #[arg(long, env = "STACK_POSTGRES_PORT")]
    postgres_port: Option<u16>,
    /// Partitions of each topic; fixed once the topics exist.
    #[arg(long, env = "PARTITIONS")]
    partitions: Option<u32>,
    /// Kafka's largest heap, in megabytes.
    #[arg(long, env = "STACK_KAFKA_HEAP_MB", default_value_t = 512)]
    kafka_heap_mb: u32,
    /// Which identity provider gives tokens: `mock` gives one to anyone as anyone, `keycloak` has registration, login, roles and the demo
    /// users ada and otto (half a minute, 500 MB, fetched once).
    #[arg(long, env = "STACK_IDENTITY", value_enum, default_value_t = Identity::Mock)]
    identity: Identity,
    /// As in production: who has no token is not let in, whatever its `X-Customer-Id` says.
    #[arg(long)]
    secure: bool,
    /// Leave out the edge and the storefront: one gateway, no HAProxy, no Varnish.
    #[arg(long)]
    core: bool,
    /// Start Kafka, the registry and PostgreSQL only.
    #[arg(long)]
    infrastructure_only: bool,
    /// Do not create the sample products and the sample order.
    #[arg(long)]
    no_sample: bool,
}

/// The identity provider, as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Identity {
    /// None: any customer, by the header `X-Customer-Id`.
    None,
    /// mock-oauth2-server.
    Mock,
    /// Keycloak with our realm.
    Keycloak,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port_base: PORT_BASE,
            gateway_port: None,
            kafka_port: None,
            registry_port: None,
            postgres_port: None,
            partitions: None,
            kafka_heap_mb: 512,
            identity: Identity::Mock,
            secure: false,
            core: false,
            infrastructure_only: false,
            no_sample: false,
        }
    }
}

/// Starts everything in the foreground and stays until a signal or the end of the terminal.
pub(super) async fn up(folder: &Path, options: Options) -> anyhow::Result<ExitCode> {
    let mut interrupted = Interrupt::new()?;
    if !options.core && !options.infrastructure_only && !stack::is_edge_installed() {
        say("without the edge: haproxy and varnish are not installed")?;
    }
    say(format!("starting PostgreSQL, Kafka, the schema registry and the services (logs in {})", folder.join("logs").display()))?;
    let started = tokio::select! {
        started = builder(folder, &options).start() => started?,
        () = interrupted.wait() => {
            say("stopped before everything was up")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    status::print_table(&started.env(), folder)?;
    if !options.no_sample && !options.infrastructure_only {
        tokio::select! {
            shown = sample::show(&started) => shown.context("show the sample order")?,
            () = interrupted.wait() => return stop(started).await,
        }
    }
    say("\nup until Ctrl-C (or ./run stop)")?;
    tokio::select! {
        watched = watch(&started) => watched?,
        () = interrupted.wait() => {}
    }
    stop(started).await
}

async fn stop(stack: Stack) -> anyhow::Result<ExitCode> {
    say("stopping; the data stays")?;
    stack.shutdown().await;
    say("stopped")?;
    Ok(ExitCode::SUCCESS)
}

fn edge_wanted(options: &Options) -> bool {
    !options.core && !options.infrastructure_only && stack::is_edge_installed()
}

fn builder(folder: &Path, options: &Options) -> stack::Builder {
    let ports = [
        ("gateway", options.gateway_port),
        ("kafka", options.kafka_port),
        ("registry", options.registry_port),
        ("postgres", options.postgres_port),
    ];
    let given: BTreeMap<String, u16> = ports.into_iter().filter_map(|(name, port)| Some((name.to_owned(), port?))).collect();
    let builder =
        Stack::builder().folder(folder).ports(Ports::From { base: options.port_base, given }).kafka_heap_mb(options.kafka_heap_mb);
    let builder = if options.infrastructure_only { builder.parts([Part::Postgres, Part::Kafka, Part::Registry]) } else { builder };
    let builder = match options.identity {
        Identity::Mock if !options.infrastructure_only => builder.identity(Provider::Mock),
        Identity::None | Identity::Mock => builder,
        Identity::Keycloak => builder.identity(Provider::Keycloak),
    };
    let builder = if edge_wanted(options) { builder.edge() } else { builder };
    let builder = if options.secure { builder.secured() } else { builder }.traces();
    match options.partitions {
        Some(count) => builder.partitions(count),
        None => builder,
    }
}

/// Reports parts that end while nobody asked them to; returns only on a failure to print.
async fn watch(stack: &Stack) -> anyhow::Result<()> {
    let mut reported: BTreeSet<Part> = BTreeSet::new();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for (part, runs) in stack.running() {
            if !runs && reported.insert(part) {
                say(format!("{part} has ended by itself; its log: {}", stack.log_path(part).display()))?;
            }
        }
    }
}

/// Ctrl-C, SIGTERM, or the terminal's end.
struct Interrupt {
    signals: [tokio::signal::unix::Signal; 3],
}

impl Interrupt {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind: SignalKind| signal(kind).context("listen for signals");
        Ok(Self { signals: [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?] })
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
