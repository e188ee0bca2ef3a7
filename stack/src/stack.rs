use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::builder::Builder;
use crate::edge::{self, Edge};
use crate::error::{Doing, Error};
use crate::identity::{AUDIENCE, Identity, TokenError};
use crate::kafka::{self, Broker};
use crate::part::{Part, Service};
use crate::parts;
use crate::ports::{self, Port};
use crate::postgres::{KEYS, READER, Server};
use crate::process::{Process, Program, tail};
use crate::registry::Registry;
use crate::secrets::{self, Secrets};
use crate::settings;
use crate::traces::Traces;
use crate::watchdog::Watchdog;

const READY_WITHIN: Duration = Duration::from_secs(90);
/// Keycloak takes 32 to 158 s, as busy as the machine is.
const IDENTITY_READY_WITHIN: Duration = Duration::from_secs(240);

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
    pub(crate) postgres: Server,
    pub(crate) broker: Broker,
    pub(crate) registry: Registry,
    pub(crate) identity: Identity,
    pub(crate) edge: Option<Edge>,
    pub(crate) ports: Mutex<BTreeMap<String, Port>>,
    pub(crate) processes: Mutex<BTreeMap<Part, Arc<Process>>>,
    watchdog: Arc<Watchdog>,
    traces: Option<Traces>,
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
        if options.infrastructure.contains(&Part::Kafka) || options.infrastructure.contains(&Part::Registry) {
            parts::fetch_into_cache().await?;
        }
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
        if stack.edge.is_some() {
            try_join_all([Part::Cache, Part::Purger].map(|part| stack.start_part(part))).await?;
            stack.start_part(Part::Balancer).await?;
        }
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
        for (name, port) in ports::plan(&options)? {
            held.insert(name, port);
        }
        let number = |name: &str| held.get(name).map_or(0, |port: &Port| port.number);
        let postgres = Server::new(&folder, &parts.postgres, number("postgres"))?;
        let broker = Broker {
            port: number("kafka"),
            controller_port: number("kafka-controller"),
            proxied: options.proxied.map(|advertised| (number("kafka-proxied"), advertised)),
            principals: if options.secured { Some(secrets.all_principals()?) } else { None },
            heap_mb: options.kafka_heap_mb,
            more: options.kafka_settings.clone(),
            folder: kafka::folder(&folder),
            jars: parts.kafka,
        };
        let registry = Registry { port: number("registry"), folder: folder.join("registry"), distribution: parts.registry };
        let provider = options.provider;
        let wants_traces = options.traces;
        let wanted = options.infrastructure.contains(&Part::Identity);
        let distribution = if wanted { Some(parts::fetch_identity(provider)?) } else { None };
        let identity = Identity { provider, port: number("identity"), folder: crate::identity::folder(&folder), distribution };
        let edge = options.edge.then(|| Edge {
            folder: folder.join("edge"),
            ports: edge::Ports {
                http: number("edge-http"),
                https: number("edge-https"),
                cache: number("edge-cache"),
                origin: number("edge-origin"),
                figures: number("edge-figures"),
            },
        });
        if let Some(edge) = &edge {
            edge.initialise()?;
        }
        let traces = if wants_traces { Some(Traces::start(held.get("traces").map_or(0, |port: &Port| port.number))?) } else { None };
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
            identity,
            edge,
            ports: Mutex::new(held),
            processes: Mutex::default(),
            watchdog,
            traces,
            _claim: claim,
        })
    }

    pub(crate) async fn start_part(&self, part: Part) -> Result<(), Error> {
        let process = self.launch_part(part).await?;
        self.await_ready(part, &process).await
    }

    pub(crate) async fn launch_part(&self, part: Part) -> Result<Arc<Process>, Error> {
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
            Part::Identity => {
                let identity = self.identity.clone();
                blocking(move || identity.initialise()).await?;
                self.identity.program()
            }
            Part::Cache => self.edge(part)?.cache()?,
            Part::Balancer => {
                let ports = |instance| {
                    let part = Service::Gateway.instance(instance);
                    (self.port(&format!("{part}-http")), self.port(&format!("{part}-ops")))
                };
                self.edge(part)?.balancer([ports(1), ports(2)])?
            }
            Part::Purger => self.purger_program()?,
            Part::Service(service, instance) => self.service_program(service, instance, "serve")?,
        };
        let process = Arc::new(Process::start(&part.to_string(), &program, &self.log_path(part), &self.watchdog)?);
        lock(&self.processes).insert(part, Arc::clone(&process));
        tracing::debug!(%part, process = process.id(), "started");
        Ok(process)
    }

    pub(crate) async fn await_ready(&self, part: Part, process: &Process) -> Result<(), Error> {
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
            let limit = if part == Part::Identity { IDENTITY_READY_WITHIN } else { READY_WITHIN };
            if waited > limit {
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
            Part::Identity => self.identity.check().await,
            Part::Cache => self.edge(part).map_err(|error| error.to_string())?.check_cache().await,
            Part::Balancer => self.edge(part).map_err(|error| error.to_string())?.check_balancer().await,
            // it answers nobody: it follows the topic, or ends and says why
            Part::Purger if self.logs(part).contains("following the catalogue") => Ok(()),
            Part::Purger => Err("it does not follow the topic yet".to_owned()),
            Part::Service(service, instance) => check_ready(&self.ops_url(service, instance)).await,
        }
    }

    /// Runs `<service> setup` and waits for its end: migrations as the owner, rights, topics.
    pub(crate) async fn setup(&self, service: Service) -> Result<(), Error> {
        self.setup_with(service, &[]).await
    }

    pub(crate) async fn setup_with(&self, service: Service, options: &[&str]) -> Result<(), Error> {
        let mut program = self.service_program(service, 1, "setup")?;
        program.command.extend(options.iter().map(|option| (*option).to_owned()));
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

    fn edge(&self, part: Part) -> Result<&Edge, Error> {
        self.edge.as_ref().ok_or_else(|| Error::NoSuchPart(part.to_string()))
    }

    /// The program that tells the cache what changed.
    fn purger_program(&self) -> Result<Program, Error> {
        let cache = format!("http://127.0.0.1:{}", self.edge(Part::Purger)?.ports.cache);
        let mut env =
            vec![("KAFKA_BOOTSTRAP", self.service_bootstrap()), ("SCHEMA_REGISTRY_URL", self.registry_url()), ("VARNISH_URLS", cache)];
        // it reads one topic, as whoever may read
        if let Some((user, password)) = self.kafka_login(READER) {
            env.extend([("KAFKA_USER", user), ("KAFKA_PASSWORD", password)]);
        }
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Program {
            command: vec![self.binary("edge-purge", "edge")?],
            env,
            folder: self.folder.join("services"),
            user: None,
            end_by_quit: false,
        })
    }

    fn binary(&self, name: &str, package: &str) -> Result<String, Error> {
        let binary = self.binaries.join(name);
        if binary.is_file() {
            return Ok(binary.to_string_lossy().into_owned());
        }
        let remedy = format!("build it: cargo build -p {package} (looked for {})", binary.display());
        Err(Error::Missing { program: name.to_owned(), remedy })
    }

    fn service_program(&self, service: Service, instance: u32, verb: &str) -> Result<Program, Error> {
        let mut command = vec![self.binary(service.binary(), service.binary())?];
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
        if let Some(traces) = &self.traces {
            set("OTEL_EXPORTER_OTLP_ENDPOINT", traces.endpoint());
            set("OTEL_TRACES_SAMPLER", "parentbased_always_off".to_owned());
            // the reader of a trace waits for it
            set("OTEL_BSP_SCHEDULE_DELAY", "250".to_owned());
        }
        if self.has_identity() {
            set("OIDC_ISSUER", self.identity.issuer());
            set("OIDC_AUDIENCE", AUDIENCE.to_owned());
        }
        set("TRUST_CUSTOMER_HEADER", (!lock(&self.options).secured).to_string());
        if service.has_database() {
            let database = self.postgres.database(&self.secrets, service.name(), service.name());
            set("DATABASE_URL", database.url);
            if verb == "setup" {
                set("OWNER_DATABASE_URL", database.owner_url);
                set("READER_ROLE", READER.to_owned());
            }
            set("KAFKA_BOOTSTRAP", self.service_bootstrap());
            let principal = if verb == "setup" { kafka::SETUP } else { service.name() };
            if let Some((user, password)) = self.kafka_login(principal) {
                set("KAFKA_USER", user);
                set("KAFKA_PASSWORD", password);
            }
            set("SCHEMA_REGISTRY_URL", self.registry_url());
            if service == Service::Orders {
                let keys = self.postgres.database(&self.secrets, KEYS, KEYS);
                set("KEYS_DATABASE_URL", keys.url);
                set("KEYS_KEY", self.secrets.keys_key.clone());
                if verb == "setup" {
                    set("OWNER_KEYS_DATABASE_URL", keys.owner_url);
                }
            }
            if service != Service::Inventory {
                set("TOKEN_KEY", self.secrets.token_key.clone());
            }
        } else {
            set("ORDERS_URL", self.service_url(Service::Orders, 1));
            set("INVENTORY_URL", self.service_url(Service::Inventory, 1));
            for (name, service) in
                [("ORDERS_OPS_URL", Service::Orders), ("INVENTORY_OPS_URL", Service::Inventory), ("PAYMENTS_OPS_URL", Service::Payments)]
            {
                set(name, self.ops_url(service, 1));
            }
            if let Some(folder) = settings::web_folder() {
                set("WEB_FOLDER", folder);
            }
            if self.edge.is_some() {
                set("TRUSTED_PROXIES", "127.0.0.1".to_owned());
            }
            // one machine, one address, load tools: the door's limits per caller have tests of their own
            for name in ["SUBJECT_RATE", "SUBJECT_BURST", "ADDRESS_RATE", "ADDRESS_BURST"] {
                set(name, "1000000".to_owned());
            }
        }
        if service == Service::Payments {
            set("PROVIDER_DATABASE_URL", self.database_url("provider"));
        }
        let options = lock(&self.options);
        env.extend(options.env.clone());
        env.extend(options.env_of.get(&service).cloned().unwrap_or_default());
        env.into_iter().collect()
    }

    /// The traces that were collected, where [`Builder::traces`] asked for it.
    #[must_use]
    pub fn traces(&self) -> Option<&Traces> {
        self.traces.as_ref()
    }

    pub(crate) fn has_identity(&self) -> bool {
        lock(&self.options).infrastructure.contains(&Part::Identity)
    }

    /// An access token for `subject` with these scopes, separated by spaces. The mock gives one to anybody; Keycloak to its demo users.
    ///
    /// # Errors
    /// [`TokenError`], also where no provider runs.
    pub async fn token(&self, subject: &str, scope: &str) -> Result<String, TokenError> {
        self.identity.token(subject, scope).await
    }

    fn service_bootstrap(&self) -> String {
        self.broker.proxied.map_or_else(|| self.broker.bootstrap(), |(_, advertised)| format!("127.0.0.1:{advertised}"))
    }

    pub(crate) fn port(&self, name: &str) -> u16 {
        lock(&self.ports).get(name).map_or(0, |port| port.number)
    }

    /// Ends everything in order: services first, each given time to drain, then Kafka and the registry, PostgreSQL last. Data stays in a given folder.
    pub async fn shutdown(self) {
        let running: Vec<Part> = lock(&self.processes).keys().copied().collect();
        let (services, infrastructure): (Vec<Part>, Vec<Part>) =
            running.into_iter().partition(|part| matches!(part, Part::Service(..) | Part::Cache | Part::Purger | Part::Balancer));
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
    let names = ["kafka", "registry", "identity", "edge", "postgres", "services", "logs", "secrets.json", "state.json", "lock"];
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
