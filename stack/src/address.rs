//! Where the parts of a stack are.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error};
use crate::part::{Part, Service};
use crate::postgres::Database;
use crate::stack::{Stack, lock};

impl Stack {
    /// The public HTTP address, e.g. `http://127.0.0.1:18080`.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        self.service_url(Service::Gateway, 1)
    }

    /// The address of the edge in plain HTTP, for this machine only; none without one.
    #[must_use]
    pub fn edge_url(&self) -> Option<String> {
        self.edge.as_ref().map(|edge| format!("http://127.0.0.1:{}", edge.ports.http))
    }

    /// The same with TLS and a certificate nobody has signed.
    #[must_use]
    pub fn edge_tls_url(&self) -> Option<String> {
        self.edge.as_ref().map(|edge| format!("https://127.0.0.1:{}", edge.ports.https))
    }

    /// What HAProxy counts, in the text format of Prometheus.
    ///
    /// # Errors
    /// It does not answer, or there is none.
    pub async fn edge_figures(&self) -> Result<String, Error> {
        let edge = self.edge.as_ref().ok_or_else(|| Error::NoSuchPart(Part::Balancer.to_string()))?;
        let answer =
            async { crate::registry::client()?.get(format!("http://127.0.0.1:{}/metrics", edge.ports.figures)).send().await?.text().await };
        answer.await.map_err(std::io::Error::other).doing(|| "read the figures of HAProxy".to_owned())
    }

    /// The cache's own address, past HAProxy.
    #[must_use]
    pub fn cache_url(&self) -> Option<String> {
        self.edge.as_ref().map(|edge| format!("http://127.0.0.1:{}", edge.ports.cache))
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

    /// Name and password of one of Kafka's principals (a service's name, `reader`, `setup`), by SCRAM-SHA-512; none unless secured.
    #[must_use]
    pub fn kafka_login(&self, principal: &str) -> Option<(String, String)> {
        let password = self.broker.principals.as_ref()?.get(principal)?;
        Some((principal.to_owned(), password.clone()))
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
}
