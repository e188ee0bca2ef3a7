use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::error::Error;
use crate::part::{Part, Service};
use crate::settings;
use crate::stack::Stack;

/// Where the ports come from.
#[derive(Debug, Clone, Default)]
pub enum Ports {
    /// Free ones, which no other stack on this machine has.
    #[default]
    Free,
    /// Counted from `base` in a fixed order, except those given by name (`gateway`, `kafka`, `registry`, `postgres`).
    From {
        /// The first port.
        base: u16,
        /// Ports of single parts.
        given: BTreeMap<String, u16>,
    },
}

/// Which identity provider runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// mock-oauth2-server: gives a token to anyone as anyone.
    #[default]
    Mock,
    /// Keycloak, with our realm: registration, roles, two demo users. Takes half a minute and 500 MB.
    Keycloak,
}

/// What a [`Stack`] is made of. [`Stack::builder`] starts with everything, one instance of each service, on free ports in a temporary folder.
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) infrastructure: BTreeSet<Part>,
    pub(crate) instances: BTreeMap<Service, u32>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) env_of: BTreeMap<Service, BTreeMap<String, String>>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) ports: Ports,
    pub(crate) proxied: Option<u16>,
    pub(crate) kafka_heap_mb: u32,
    pub(crate) provider: Provider,
    pub(crate) secured: bool,
    pub(crate) edge: bool,
    pub(crate) kafka_settings: Vec<(String, String)>,
    pub(crate) traces: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            infrastructure: BTreeSet::from([Part::Postgres, Part::Kafka, Part::Registry]),
            instances: Service::ALL.into_iter().map(|service| (service, 1)).collect(),
            env: BTreeMap::new(),
            env_of: BTreeMap::new(),
            folder: None,
            ports: Ports::Free,
            proxied: None,
            kafka_heap_mb: 512,
            provider: Provider::Mock,
            secured: false,
            edge: false,
            kafka_settings: Vec::new(),
            traces: false,
        }
    }
}

impl Builder {
    /// Only these parts. A service needs all three of PostgreSQL, Kafka and the registry.
    #[must_use]
    pub fn parts(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.infrastructure.clear();
        self.instances.clear();
        for part in parts {
            match part {
                Part::Postgres | Part::Kafka | Part::Registry | Part::Identity => {
                    self.infrastructure.insert(part);
                }
                Part::Cache | Part::Purger | Part::Balancer => self.edge = true,
                Part::Service(service, instance) => {
                    let count = self.instances.entry(service).or_default();
                    *count = instance.max(*count);
                }
            }
        }
        self
    }

    /// How many instances of `service` start; 0 leaves it out. With several, the gateway talks to the first.
    #[must_use]
    pub fn instances(mut self, service: Service, count: u32) -> Self {
        self.instances.insert(service, count);
        self
    }

    /// How many instances of order-service start.
    #[must_use]
    pub fn orders_instances(self, count: u32) -> Self {
        self.instances(Service::Orders, count)
    }

    /// Sets an environment variable of all our programs, `setup` included.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets an environment variable of one service's programs.
    #[must_use]
    pub fn env_of(mut self, service: Service, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env_of.entry(service).or_default().insert(name.into(), value.into());
        self
    }

    /// Partitions of each topic.
    #[must_use]
    pub fn partitions(self, count: u32) -> Self {
        self.env("PARTITIONS", count.to_string())
    }

    /// Keeps data and logs in this folder, where a later start finds them. Without it they are in a temporary folder and go with the stack.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Where the ports come from.
    #[must_use]
    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }

    /// Gives Kafka a second listener that advertises loopback port `advertised`, and has our services bootstrap there: the port of a proxy that
    /// forwards to [`Stack::kafka_proxied`].
    #[must_use]
    pub fn kafka_behind_proxy(mut self, advertised: u16) -> Self {
        self.proxied = Some(advertised);
        self
    }

    /// Kafka's largest heap in megabytes (512 unless told).
    #[must_use]
    pub fn kafka_heap_mb(mut self, megabytes: u32) -> Self {
        self.kafka_heap_mb = megabytes;
        self
    }

    /// Adds an identity provider whose tokens the gateway and the services take, beside the header `X-Customer-Id`.
    #[must_use]
    pub fn identity(mut self, provider: Provider) -> Self {
        self.infrastructure.insert(Part::Identity);
        self.provider = provider;
        self
    }

    /// As in production: only bearers of tokens are let in, and Kafka lets in its principals only, each with the rights of its service.
    /// Needs [`Builder::identity`] where services run.
    #[must_use]
    pub fn secured(mut self) -> Self {
        self.secured = true;
        self
    }

    /// Puts HAProxy and Varnish in front of two gateways ([`Stack::edge_url`]). Both have to be installed.
    #[must_use]
    pub fn edge(mut self) -> Self {
        self.edge = true;
        let gateways = self.instances.entry(Service::Gateway).or_default();
        *gateways = 2.max(*gateways);
        self
    }

    /// One more line of the broker's settings; it wins over ours.
    #[must_use]
    pub fn kafka_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.kafka_settings.push((name.into(), value.into()));
        self
    }

    /// Collects the traces that a caller's `traceparent` asks for: [`Stack::traces`]. Others cost nothing. Left out where
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector already.
    #[must_use]
    pub fn traces(mut self) -> Self {
        self.traces = !settings::has_collector();
        self
    }

    /// Starts everything and returns when every part has passed its health check.
    ///
    /// # Errors
    /// As [`Error`] says; whatever had started has been stopped again.
    pub async fn start(self) -> Result<Stack, Error> {
        Stack::start(self).await
    }
}
