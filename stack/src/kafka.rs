//! Kafka in KRaft mode: one broker that is its own controller.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

use crate::error::{Doing, Error, not_run};
use crate::process::{Program, last_lines};
use crate::secrets::{Secrets, write_private};
use crate::settings;

/// Kafka's own principal, which no client has.
const BROKER: &str = "broker";
/// The principal of this crate: the health check makes and deletes a topic.
const OPERATOR: &str = "stack";
/// The principal of set-up jobs, which make topics and give services their rights. Our programs log in as it at `setup` only.
pub(crate) const SETUP: &str = "setup";
/// Every principal of the secured profile: the services, named as they are, a reader of everything, and three that are above rights.
/// The schema registry has none, because it keeps its schemas in a file and never asks Kafka.
pub(crate) const PRINCIPALS: [&str; 7] =
    [schemas::topics::ORDERS, schemas::topics::INVENTORY, schemas::topics::PAYMENTS, crate::postgres::READER, SETUP, OPERATOR, BROKER];

/// The topic of the health check; it is deleted when the broker is healthy.
const HEALTH_TOPIC: &str = "stack.health";

const LOG4J: &str = "rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %-5p %c{1} %m%n
";

/// How principals prove who they are.
const MECHANISM: &str = "SCRAM-SHA-512";

#[derive(Clone)]
pub(crate) struct Broker {
    pub(crate) port: u16,
    /// Loopback port of the controller listener.
    pub(crate) controller_port: u16,
    /// A second listener `(bound, advertised)`: who bootstraps through the advertised port is sent back there, so a proxy can sit in between.
    pub(crate) proxied: Option<(u16, u16)>,
    pub(crate) heap_mb: u32,
    /// In the secured profile, who may log in: passwords by principal. Nobody else is let in then, and every right is given by name.
    pub(crate) principals: Option<BTreeMap<String, String>>,
    /// Settings beside ours; the last one of a name counts.
    pub(crate) more: Vec<(String, String)>,
    pub(crate) folder: PathBuf,
    pub(crate) jars: PathBuf,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // not the passwords
        formatter.debug_struct("Broker").field("port", &self.port).field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Broker {
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Writes the settings, and formats the data folder at the first start, which takes 1.2 s.
    ///
    /// # Errors
    /// [`Error::Fetch`] with the storage tool's last lines.
    pub(crate) fn initialise(&self, secrets: &Secrets) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).doing(|| format!("make the folder {}", self.folder.display()))?;
        let write = |name: &str, text: &str| {
            let path = self.folder.join(name);
            fs::write(&path, text).doing(|| format!("write {}", path.display()))
        };
        write_private(&self.folder.join("server.properties"), self.settings().as_bytes())?;
        write("log4j2.properties", LOG4J)?;
        if self.data().join("meta.properties").exists() {
            return Ok(());
        }
        let mut arguments: Vec<String> = crate::archive::option(&self.jars).into_iter().collect();
        arguments.extend(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"].map(str::to_owned));
        arguments.extend(self.java_arguments("kafka.tools.StorageTool"));
        arguments.extend(["format", "--ignore-formatted", "-t", &secrets.cluster_id, "-c", "server.properties"].map(str::to_owned));
        for (name, password) in &secrets.principals {
            arguments.push("--add-scram".to_owned());
            arguments.push(format!("{MECHANISM}=[name={name},password={password}]"));
        }
        // In a file, because everybody can read the arguments of a process.
        let file = self.folder.join("format.arguments");
        let lines: Vec<String> = arguments.iter().map(|argument| format!("\"{argument}\"\n")).collect();
        write_private(&file, lines.concat().as_bytes())?;
        let mut format = Command::new(settings::java());
        format.arg(format!("@{}", file.display()));
        let output = format.current_dir(&self.folder).stdin(Stdio::null()).output();
        let output =
            output.map_err(|source| not_run("java", "install Java 17 (apt-get install openjdk-17-jre-headless)".to_owned(), source))?;
        fs::remove_file(&file).doing(|| format!("remove {}", file.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(Error::Fetch(format!("formatting Kafka's data folder ended with {}:\n{}", output.status, last_lines(&text, 15))))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn java_arguments(&self, class: &str) -> Vec<String> {
        let jars = format!("{}/*", self.jars.display());
        ["-cp", &jars, "-Dlog4j2.configurationFile=log4j2.properties", "-Djava.awt.headless=true", class]
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect()
    }

    /// Durability settings are those that the protocols rely on; one broker, so every replication factor is 1 and power loss is not covered.
    fn settings(&self) -> String {
        let data = self.data();
        let (port, controller) = (self.port, self.controller_port);
        let mut listeners = format!("CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
        let mut advertised = format!("CLIENTS://127.0.0.1:{port}");
        let protocol = if self.principals.is_some() { "SASL_PLAINTEXT" } else { "PLAINTEXT" };
        let mut protocols = format!("CLIENTS:{protocol},CONTROLLER:{protocol}");
        if let Some((bound, shown)) = self.proxied {
            listeners.push_str(&format!(",PROXIED://127.0.0.1:{bound}"));
            advertised.push_str(&format!(",PROXIED://127.0.0.1:{shown}"));
            protocols.push_str(&format!(",PROXIED:{protocol}"));
        }
        let secured = self.principals.as_ref().map(secured).unwrap_or_default();
        let more: String = self.more.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map={protocols}
inter.broker.listener.name=CLIENTS
log.dirs={}
auto.create.topics.enable=false
unclean.leader.election.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=10
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=10
transaction.partition.verification.enable=true
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=6000
{secured}{more}",
            data.display()
        )
    }

    pub(crate) fn program(&self) -> Program {
        let mut command = vec![settings::java(), format!("-Xmx{}m", self.heap_mb), "-Xms256m".to_owned()];
        command.extend(crate::archive::option(&self.jars));
        command.extend(self.java_arguments("kafka.Kafka"));
        command.push("server.properties".to_owned());
        Program { command, env: Vec::new(), folder: self.folder.clone(), user: None, end_by_quit: false }
    }

    /// Whether a record can be produced and consumed; the reason when not.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let admin: AdminClient<DefaultClientContext> = self.client("none").create().map_err(|error| error.to_string())?;
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(5))).request_timeout(Some(Duration::from_secs(5)));
        let topic = NewTopic::new(HEALTH_TOPIC, 1, TopicReplication::Fixed(1));
        for made in admin.create_topics([&topic], &options).await.map_err(|error| error.to_string())? {
            if let Err((_, code)) = made
                && code != rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists
            {
                return Err(format!("create topic {HEALTH_TOPIC}: {code}"));
            }
        }
        let result = self.produce_and_consume().await;
        admin.delete_topics(&[HEALTH_TOPIC], &options).await.map_err(|error| error.to_string())?;
        result
    }

    async fn produce_and_consume(&self) -> Result<(), String> {
        let producer: FutureProducer = self.client("all").create().map_err(|error| error.to_string())?;
        let record = FutureRecord::<str, str>::to(HEALTH_TOPIC).partition(0).payload("healthy");
        let delivered = producer.send(record, Duration::from_secs(5)).await.map_err(|(error, _)| error.to_string())?;
        let consumer: BaseConsumer = self.client("none").set("group.id", HEALTH_TOPIC).create().map_err(|error| error.to_string())?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(HEALTH_TOPIC, 0, Offset::Offset(delivered.offset)).map_err(|error| error.to_string())?;
        consumer.assign(&assignment).map_err(|error| error.to_string())?;
        tokio::task::spawn_blocking(move || read_back(&consumer)).await.map_err(|error| error.to_string())?
    }

    fn client(&self, acks: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap()).set("client.id", "stack-health").set("log_level", "0");
        if let Some(password) = self.principals.as_ref().and_then(|principals| principals.get(OPERATOR)) {
            config.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanism", MECHANISM);
            config.set("sasl.username", OPERATOR).set("sasl.password", password);
        }
        config.set("reconnect.backoff.max.ms", "200").set("fetch.wait.max.ms", "50");
        if acks == "all" {
            config.set("acks", "all").set("message.timeout.ms", "5000");
        }
        config
    }
}

/// Settings of the secured profile. The controller does not know the users while it starts, so the broker shows it a password of its own
/// by PLAIN, on this machine only. Source: Kafka documentation, "Authentication using SASL" and KIP-900.
fn secured(principals: &BTreeMap<String, String>) -> String {
    let password = principals.get(BROKER).map(String::as_str).unwrap_or_default();
    format!(
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{BROKER};User:{OPERATOR};User:{SETUP}
allow.everyone.if.no.acl.found=false
sasl.enabled.mechanisms={MECHANISM}
sasl.mechanism.inter.broker.protocol={MECHANISM}
sasl.mechanism.controller.protocol=PLAIN
{clients}.sasl.jaas.config={scram} required username=\"{BROKER}\" password=\"{password}\";
{proxied}.sasl.jaas.config={scram} required;
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config={plain} required username=\"{BROKER}\" password=\"{password}\" user_{BROKER}=\"{password}\";
",
        clients = "listener.name.clients.scram-sha-512",
        proxied = "listener.name.proxied.scram-sha-512",
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule",
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule",
    )
}

fn read_back(consumer: &BaseConsumer) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(record)) if record.payload() == Some(b"healthy") => return Ok(()),
            Some(Ok(_)) => return Err("the record read is not the record written".to_owned()),
            Some(Err(_)) | None => {}
        }
    }
    Err("the record written was not read within 5 s".to_owned())
}

/// Where the broker of a run folder keeps its files.
pub(crate) fn folder(run: &Path) -> PathBuf {
    run.join("kafka")
}
