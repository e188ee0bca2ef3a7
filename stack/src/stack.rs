use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use rustix::process::Signal;

use crate::builder::{Builder, Ports};
use crate::error::{Doing, Error};
use crate::kafka::{self, Broker};
use crate::part::{Part, Service};
use crate::parts;
use crate::ports::{self, Port};
use crate::postgres::{Database, READER, Server};
use crate::process::{Process, Program, tail};
use crate::registry::Registry;
use crate::secrets::{self, Secrets};
use crate::settings;
use crate::watchdog::Watchdog;

const READY_WITHIN: Duration = Duration::from_secs(90);

/// Running parts. Dropping it stops them all, and deletes their folder unless it was given; they end even when this process is killed.
///
/// All methods take `&self`, so one stack can serve many tests; none keeps anything of the caller's async runtime.
#[derive(Debug)]
pub struct Stack {
    pub(crate) folder: PathBuf,
    pub(crate) temporary: bool,
    pub(crate) secrets: Secrets,
    pub(crate) options: Mutex<Builder>,
    binaries: PathBuf,
    postgres: Server,
    broker: Broker,
    registry: Registry,
    ports: Mutex<BTreeMap<String, Port>>,
    processes: Mutex<BTreeMap<Part, Arc<Process>>>,
    watchdog: Arc<Watchdog>,
    _claim: File,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stack {
    /// Everything, one instance of each service, on free ports in a temporary folder; see [`Builder`] for what can be changed.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Kafka, the registry and PostgreSQL, without our services.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn infrastructure() -> Result<Self, Error> {
        Self::builder().parts([Part::Postgres, Part::Kafka, Part::Registry]).start().await
    }

    /// PostgreSQL alone; starts in about a second.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn only_postgres() -> Result<Self, Error> {
        Self::builder().parts([Part::Postgres]).start().await
    }

    pub(crate) async fn start(options: Builder) -> Result<Self, Error> {
        let stack = blocking(move || Self::prepare(options)).await?;
        stack.write_state(false)?;
        let infrastructure: Vec<Part> = lock(&stack.options).infrastructure.iter().copied().collect();
        try_join_all(infrastructure.iter().map(|part| stack.start_part(*part))).await?;
        if infrastructure.contains(&Part::Postgres) {
            stack.postgres.make_databases(&stack.secrets).await?;
        }
        let instances = lock(&stack.options).instances.clone();
        let started: Vec<Service> = instances.iter().filter(|(_, count)| **count > 0).map(|(service, _)| *service).collect();
        try_join_all(started.iter().filter(|service| service.has_database()).map(|service| stack.setup(*service))).await?;
        let services = instances.iter().flat_map(|(service, count)| (1..=*count).map(|instance| service.instance(instance)));
        try_join_all(services.map(|part| stack.start_part(part))).await?;
        stack.write_state(true)?;
        Ok(stack)
    }

    /// Everything that comes before the first process: folders, ports, secrets, the fetched parts.
    fn prepare(options: Builder) -> Result<Self, Error> {
        let temporary = options.folder.is_none();
        let folder = match &options.folder {
            Some(folder) => folder.clone(),
            None => settings::temporary_folder().join(format!("saga-stack-{}-{}", std::process::id(), secrets::random_hex(4)?)),
        };
        fs::create_dir_all(&folder).doing(|| format!("make the folder {}", folder.display()))?;
        let folder = folder.canonicalize().doing(|| format!("find the folder {}", folder.display()))?;
        if temporary {
            // PostgreSQL may run as another user; what is secret in the folder is readable by us alone
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).doing(|| format!("open the folder {}", folder.display()))?;
        }
        let claim = crate::state::claim(&folder)?;
        for name in ["logs", "services"] {
            fs::create_dir_all(folder.join(name)).doing(|| format!("make the folder {}/{name}", folder.display()))?;
        }
        let secrets = Secrets::of(&folder)?;
        let binaries = settings::binary_folder()?;
        let parts = parts::fetch()?;
        let mut held = BTreeMap::new();
        for (name, port) in plan_ports(&options)? {
            held.insert(name, port);
        }
        let number = |name: &str| held.get(name).map_or(0, |port: &Port| port.number);
        let postgres = Server::new(&folder, &parts.postgres, number("postgres"))?;
        let broker = Broker {
            port: number("kafka"),
            controller_port: number("kafka-controller"),
            proxied: options.proxied.map(|advertised| (number("kafka-proxied"), advertised)),
            heap_mb: options.kafka_heap_mb,
            folder: kafka::folder(&folder),
            jars: parts.kafka,
        };
        let registry = Registry { port: number("registry"), folder: folder.join("registry"), distribution: parts.registry };
        let remove = if temporary && !settings::keep_folders() { vec![folder.clone(), crate::postgres::home(&folder)] } else { Vec::new() };
        let watchdog = Arc::new(Watchdog::start(&remove)?);
        Ok(Self {
            folder,
            temporary,
            secrets,
            options: Mutex::new(options),
            binaries,
            postgres,
            broker,
            registry,
            ports: Mutex::new(held),
            processes: Mutex::default(),
            watchdog,
            _claim: claim,
        })
    }

    async fn start_part(&self, part: Part) -> Result<(), Error> {
        let program = match part {
            Part::Postgres => {
                let (server, secrets) = (self.postgres.clone(), self.secrets.clone());
                blocking(move || server.initialise(&secrets)).await?;
                self.postgres.program()
            }
            Part::Kafka => {
                let (broker, secrets) = (self.broker.clone(), self.secrets.clone());
                blocking(move || broker.initialise(&secrets)).await?;
                self.broker.program()
            }
            Part::Registry => {
                self.registry.initialise()?;
                self.registry.program()?
            }
            Part::Service(service, instance) => self.service_program(service, instance, "serve")?,
        };
        let process = Arc::new(Process::start(&part.to_string(), &program, &self.log_path(part), &self.watchdog)?);
        lock(&self.processes).insert(part, Arc::clone(&process));
        tracing::debug!(%part, process = process.id(), "started");
        self.await_ready(part, &process).await
    }

    async fn await_ready(&self, part: Part, process: &Process) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let reason = match self.check(part).await {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            };
            if let Some(status) = process.ended() {
                return Err(process.ended_early(status));
            }
            let waited = began.elapsed();
            if waited > READY_WITHIN {
                return Err(Error::NotReady { part: part.to_string(), reason, waited, tail: tail(&process.log), log: process.log.clone() });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One health check of a part, by use; the reason when it fails.
    ///
    /// # Errors
    /// The text says what did not work.
    pub async fn check(&self, part: Part) -> Result<(), String> {
        match part {
            Part::Postgres => self.postgres.check(&self.secrets).await,
            Part::Kafka => self.broker.check().await,
            Part::Registry => self.registry.check().await,
            Part::Service(service, instance) => check_ready(&self.ops_url(service, instance)).await,
        }
    }

    /// Runs `<service> setup` and waits for its end: migrations as the owner, rights, topics.
    async fn setup(&self, service: Service) -> Result<(), Error> {
        let program = self.service_program(service, 1, "setup")?;
        let log = self.folder.join("logs").join(format!("{}-setup.log", service.name()));
        let process = Process::start(&format!("{} setup", service.name()), &program, &log, &self.watchdog)?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match process.ended() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(process.ended_early(status)),
                None if Instant::now() > deadline => {
                    let reason = "still running".to_owned();
                    return Err(Error::NotReady { part: process.name.clone(), reason, waited: READY_WITHIN, tail: tail(&log), log });
                }
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn service_program(&self, service: Service, instance: u32, verb: &str) -> Result<Program, Error> {
        let binary = self.binaries.join(service.binary());
        if !binary.is_file() {
            let remedy = format!("build it: cargo build -p {} (looked for {})", service.binary(), binary.display());
            return Err(Error::Missing { program: service.binary().to_owned(), remedy });
        }
        let mut command = vec![binary.to_string_lossy().into_owned()];
        if service.has_database() {
            command.push(verb.to_owned());
        }
        Ok(Program {
            command,
            env: self.service_env(service, instance, verb),
            folder: self.folder.join("services"),
            user: None,
            end_by_quit: false,
        })
    }

    fn service_env(&self, service: Service, instance: u32, verb: &str) -> Vec<(String, String)> {
        let part = service.instance(instance);
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |name: &str, value: String| {
            env.insert(name.to_owned(), value);
        };
        set("HTTP_ADDR", format!("127.0.0.1:{}", self.port(&format!("{part}-http"))));
        set("OPS_ADDR", format!("127.0.0.1:{}", self.port(&format!("{part}-ops"))));
        set("INSTANCE_ID", part.to_string());
        set("LOG_FORMAT", "json".to_owned());
        if service.has_database() {
            let database = self.postgres.database(&self.secrets, service.name(), service.name());
            set("DATABASE_URL", database.url);
            if verb == "setup" {
                set("OWNER_DATABASE_URL", database.owner_url);
                set("READER_ROLE", READER.to_owned());
            }
            set("KAFKA_BOOTSTRAP", self.service_bootstrap());
            set("SCHEMA_REGISTRY_URL", self.registry_url());
            if service != Service::Inventory {
                set("TOKEN_KEY", self.secrets.token_key.clone());
            }
        } else {
            set("ORDERS_URL", self.service_url(Service::Orders, 1));
            set("INVENTORY_URL", self.service_url(Service::Inventory, 1));
        }
        if service == Service::Payments {
            set("PROVIDER_DATABASE_URL", self.database_url("provider"));
        }
        let options = lock(&self.options);
        env.extend(options.env.clone());
        env.extend(options.env_of.get(&service).cloned().unwrap_or_default());
        env.into_iter().collect()
    }

    fn service_bootstrap(&self) -> String {
        self.broker.proxied.map_or_else(|| self.broker.bootstrap(), |(_, advertised)| format!("127.0.0.1:{advertised}"))
    }

    pub(crate) fn port(&self, name: &str) -> u16 {
        lock(&self.ports).get(name).map_or(0, |port| port.number)
    }

    /// The public HTTP address, e.g. `http://127.0.0.1:18080`.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        self.service_url(Service::Gateway, 1)
    }

    /// The HTTP address of one instance of a service.
    #[must_use]
    pub fn service_url(&self, service: Service, instance: u32) -> String {
        format!("http://127.0.0.1:{}", self.port(&format!("{}-http", service.instance(instance))))
    }

    /// The address of an instance's `/livez`, `/readyz`, `/startupz` and `/metrics`.
    #[must_use]
    pub fn ops_url(&self, service: Service, instance: u32) -> String {
        format!("http://127.0.0.1:{}", self.port(&format!("{}-ops", service.instance(instance))))
    }

    /// Kafka's bootstrap server, `host:port`, past any proxy.
    #[must_use]
    pub fn kafka_bootstrap(&self) -> String {
        self.broker.bootstrap()
    }

    /// The loopback port a proxy forwards to, when [`Builder::kafka_behind_proxy`] was used.
    #[must_use]
    pub fn kafka_proxied(&self) -> Option<u16> {
        self.broker.proxied.map(|(bound, _)| bound)
    }

    /// Base of the registry's Confluent-compatible interface.
    #[must_use]
    pub fn registry_url(&self) -> String {
        self.registry.url()
    }

    /// URL of database `name` (orders, inventory, payments, provider) for its restricted role.
    #[must_use]
    pub fn database_url(&self, name: &str) -> String {
        self.postgres.database(&self.secrets, name, name).url
    }

    /// URL of database `name` for its owner, who migrates it.
    #[must_use]
    pub fn owner_url(&self, name: &str) -> String {
        self.postgres.database(&self.secrets, name, name).owner_url
    }

    /// URL of database `name` for the role that may read everything.
    #[must_use]
    pub fn reader_url(&self, name: &str) -> String {
        self.postgres.database(&self.secrets, name, name).reader_url
    }

    /// A new, empty database with a name of its own, owned by role `<name>_owner`; role `<name>` may connect. Takes about 50 ms.
    ///
    /// # Errors
    /// [`Error::Sql`] with the refused statement.
    pub async fn create_database(&self, name: &str) -> Result<Database, Error> {
        self.postgres.make_fresh(&self.secrets, name).await
    }

    /// The folder with data, logs and `state.json`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A part's log file; each start appends.
    #[must_use]
    pub fn log_path(&self, part: impl Into<Part>) -> PathBuf {
        self.folder.join("logs").join(format!("{}.log", part.into()))
    }

    /// A part's whole log so far; empty if it never started.
    #[must_use]
    pub fn logs(&self, part: impl Into<Part>) -> String {
        fs::read(self.log_path(part)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// All parts that were started, in starting order, with whether each still runs.
    #[must_use]
    pub fn running(&self) -> Vec<(Part, bool)> {
        lock(&self.processes).iter().map(|(part, process)| (*part, process.ended().is_none())).collect()
    }

    pub(crate) fn process(&self, part: Part) -> Result<Arc<Process>, Error> {
        lock(&self.processes).get(&part).cloned().ok_or_else(|| Error::NoSuchPart(part.to_string()))
    }

    /// SIGKILL to the part and its children; returns when it is gone.
    ///
    /// # Errors
    /// [`Error::NoSuchPart`].
    pub async fn kill(&self, part: impl Into<Part>) -> Result<(), Error> {
        self.process(part.into())?.kill().await;
        Ok(())
    }

    /// SIGSTOP: the part hangs, its connections stay open.
    ///
    /// # Errors
    /// [`Error::NoSuchPart`].
    pub fn stop(&self, part: impl Into<Part>) -> Result<(), Error> {
        self.process(part.into())?.pause()
    }

    /// SIGCONT: the part goes on after [`Stack::stop`].
    ///
    /// # Errors
    /// [`Error::NoSuchPart`].
    pub fn cont(&self, part: impl Into<Part>) -> Result<(), Error> {
        self.process(part.into())?.resume()
    }

    /// Asks the part to end as an operator would (SIGTERM) and waits; killed when it takes longer than 15 s.
    ///
    /// # Errors
    /// [`Error::NoSuchPart`].
    pub async fn terminate(&self, part: impl Into<Part>) -> Result<(), Error> {
        let part = part.into();
        let signal = if part == Part::Postgres { Signal::INT } else { Signal::TERM };
        self.process(part)?.stop(signal, Duration::from_secs(15)).await;
        Ok(())
    }

    /// Starts the part again on its old port with its old data, ending it first if it still runs; returns when it is healthy.
    ///
    /// # Errors
    /// [`Error::NoSuchPart`], or as [`Builder::start`].
    pub async fn restart(&self, part: impl Into<Part>) -> Result<(), Error> {
        let part = part.into();
        if self.process(part)?.ended().is_none() {
            self.terminate(part).await?;
        }
        self.start_part(part).await?;
        self.write_state(true)
    }

    /// Changes an environment variable of `service` from its next (re)start on.
    pub fn set_env(&self, service: Service, name: impl Into<String>, value: impl Into<String>) {
        lock(&self.options).env_of.entry(service).or_default().insert(name.into(), value.into());
    }

    /// Starts one more instance of `service` and returns its number when it is ready.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn add_instance(&self, service: Service) -> Result<u32, Error> {
        let highest = |part: &Part| match part {
            Part::Service(of, instance) if *of == service => Some(*instance),
            Part::Postgres | Part::Kafka | Part::Registry | Part::Service(..) => None,
        };
        let instance = lock(&self.processes).keys().filter_map(highest).max().unwrap_or(0) + 1;
        let part = service.instance(instance);
        for kind in ["http", "ops"] {
            lock(&self.ports).insert(format!("{part}-{kind}"), ports::free()?);
        }
        self.start_part(part).await?;
        self.write_state(true)?;
        Ok(instance)
    }

    /// Ends everything in order: services first, each given time to drain, then Kafka and the registry, PostgreSQL last. Data stays in a given folder.
    pub async fn shutdown(self) {
        let running: Vec<Part> = lock(&self.processes).keys().copied().collect();
        let (services, infrastructure): (Vec<Part>, Vec<Part>) = running.into_iter().partition(|part| matches!(part, Part::Service(..)));
        self.terminate_all(&services).await;
        let (last, first): (Vec<Part>, Vec<Part>) = infrastructure.into_iter().partition(|part| *part == Part::Postgres);
        self.terminate_all(&first).await;
        self.terminate_all(&last).await;
    }

    async fn terminate_all(&self, parts: &[Part]) {
        for result in futures_util::future::join_all(parts.iter().map(|part| self.terminate(*part))).await {
            if let Err(error) = result {
                tracing::warn!(%error, "a part could not be asked to end");
            }
        }
    }

    pub(crate) fn processes(&self) -> Vec<(Part, Arc<Process>)> {
        lock(&self.processes).iter().map(|(part, process)| (*part, Arc::clone(process))).collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let processes = std::mem::take(&mut *lock(&self.processes));
        // services first, so that none spends its last moment on complaints about a lost database
        for process in processes.values().rev() {
            if process.ended().is_none() {
                process.end();
            }
        }
        for process in processes.values() {
            process.reap(Duration::from_secs(3));
        }
        drop(processes);
        if self.temporary {
            // the logs of a failed test are worth more than the space
            if std::thread::panicking() && settings::keep_folders() {
                let _unwritable = writeln!(std::io::stderr(), "the stack's logs are in {}", self.folder.join("logs").display());
            }
        } else {
            crate::state::remove(&self.folder);
        }
        self.watchdog.finish(); // removes a temporary folder
    }
}

/// Everything that a run folder can hold, for `./run reset`: nothing else in it is ours.
#[must_use]
pub fn data_of(folder: &Path) -> Vec<PathBuf> {
    let names = ["kafka", "registry", "postgres", "services", "logs", "secrets.json", "state.json", "lock"];
    names.iter().map(|name| folder.join(name)).chain([crate::postgres::home(folder)]).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other).doing(|| "run a blocking step".to_owned())?
}

async fn check_ready(ops_url: &str) -> Result<(), String> {
    let check = async {
        let answer = crate::registry::client()?.get(format!("{ops_url}/readyz")).send().await?;
        let status = answer.status();
        Ok::<_, reqwest::Error>((status, answer.text().await?))
    };
    match check.await {
        Ok((status, _)) if status.is_success() => Ok(()),
        Ok((status, body)) => Err(format!("/readyz answered {status}: {body}")),
        Err(error) => Err(error.to_string()),
    }
}

fn plan_ports(options: &Builder) -> Result<Vec<(String, Port)>, Error> {
    // the order is the order of the numbers with a base: append, so that users' numbers stay
    let mut names: Vec<(String, u16)> = vec![
        ("gateway-1-http".to_owned(), 0),
        ("registry".to_owned(), 1),
        ("kafka".to_owned(), 2),
        ("kafka-controller".to_owned(), 3),
        ("postgres".to_owned(), 4),
        ("gateway-1-ops".to_owned(), 5),
        ("kafka-proxied".to_owned(), 6),
    ];
    for (service, first) in [(Service::Orders, 10), (Service::Inventory, 20), (Service::Payments, 30)] {
        let count = options.instances.get(&service).copied().unwrap_or(0).max(1);
        for (instance, offset) in (1..=count).zip((first..).step_by(2)) {
            let part = service.instance(instance);
            names.push((format!("{part}-http"), offset));
            names.push((format!("{part}-ops"), offset + 1));
        }
    }
    let choose = |(name, offset): (String, u16)| {
        let port = match &options.ports {
            Ports::Free => ports::free(),
            Ports::From { base, given } => {
                let short = if name == "gateway-1-http" { "gateway" } else { name.as_str() };
                ports::given(given.get(short).copied().unwrap_or_else(|| base.saturating_add(offset)), short)
            }
        };
        port.map(|port| (name, port))
    };
    names.into_iter().map(choose).collect()
}
