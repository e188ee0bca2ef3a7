//! `state.json` in a run folder: who runs there and how to reach it, for other commands.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error};
use crate::part::{Part, Service};
use crate::postgres::DATABASES;
use crate::process::stat;
use crate::secrets::write_private;
use crate::stack::Stack;

/// A process, named for good: a pid is given out again, a pid with its start time is not.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ProcessId {
    /// The kernel's number.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

impl ProcessId {
    /// The running process `pid`.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, started: stat.started })
    }

    /// Whether that very process still runs.
    #[must_use]
    pub fn runs(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started)
    }
}

/// One started part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartState {
    /// E.g. `kafka`, `orders-1`.
    pub name: String,
    /// Its process.
    pub process: ProcessId,
    /// Its log file.
    pub log: PathBuf,
}

/// What `state.json` says. It holds passwords, so only its user can read the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The process that holds the stack.
    pub holder: ProcessId,
    /// Whether everything has started.
    pub ready: bool,
    /// `NAME` to value, as `status -o env` prints them.
    pub env: BTreeMap<String, String>,
    /// The parts, in starting order.
    pub parts: Vec<PartState>,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

impl State {
    /// The state of the stack that is up in `folder`; none when nothing is.
    ///
    /// # Errors
    /// [`Error::State`] when the file is not one of ours.
    pub fn load(folder: &Path) -> Result<Option<Self>, Error> {
        let path = path(folder);
        let Ok(text) = fs::read(&path) else { return Ok(None) };
        let state: Self = serde_json::from_slice(&text).map_err(|error| Error::State { path, reason: error.to_string() })?;
        Ok(state.holder.runs().then_some(state))
    }
}

/// Takes the run folder for this process; the kernel gives it back when the process ends, however it ends.
///
/// # Errors
/// [`Error::AlreadyUp`] when another process has it.
pub(crate) fn claim(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let file = File::create(&path).doing(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let holder = State::load(folder)?
                .map_or_else(|| "it is starting or stopping".to_owned(), |state| format!("process {}", state.holder.pid));
            Err(Error::AlreadyUp { folder: folder.to_owned(), holder })
        }
        Err(TryLockError::Error(source)) => Err(Error::Io { what: format!("lock {}", path.display()), source }),
    }
}

pub(crate) fn remove(folder: &Path) {
    if let Err(error) = fs::remove_file(path(folder)) {
        tracing::debug!(%error, "no state file to remove");
    }
}

impl Stack {
    /// Where everything is: `GATEWAY_URL`, `KAFKA_BOOTSTRAP`, `SCHEMA_REGISTRY_URL`, `ORDERS_DATABASE_URL` and so on (read-only role), in name order.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::from([
            ("GATEWAY_URL".to_owned(), self.gateway_url()),
            ("KAFKA_BOOTSTRAP".to_owned(), self.kafka_bootstrap()),
            ("SCHEMA_REGISTRY_URL".to_owned(), self.registry_url()),
        ]);
        if crate::settings::web_folder().is_some() {
            env.insert("STOREFRONT_URL".to_owned(), self.edge_url().unwrap_or_else(|| self.gateway_url()));
        }
        if let Some((user, password)) = self.kafka_login(crate::postgres::READER) {
            env.insert("KAFKA_USER".to_owned(), user);
            env.insert("KAFKA_PASSWORD".to_owned(), password);
        }
        let edge = [("EDGE_URL", self.edge_url()), ("EDGE_TLS_URL", self.edge_tls_url()), ("CACHE_URL", self.cache_url())];
        env.extend(edge.into_iter().filter_map(|(name, url)| Some((name.to_owned(), url?))));
        for name in DATABASES {
            env.insert(format!("{}_DATABASE_URL", name.to_uppercase()), self.reader_url(name));
        }
        if self.has_identity() {
            env.insert("OIDC_ISSUER".to_owned(), self.identity.issuer());
            env.insert("OIDC_AUDIENCE".to_owned(), crate::identity::AUDIENCE.to_owned());
            env.insert("TOKEN_URL".to_owned(), self.identity.token_url());
        }
        for (part, _) in self.running() {
            match part {
                Part::Service(service, 1) => {
                    env.insert(format!("{}_OPS_URL", service.name().to_uppercase()), self.ops_url(service, 1));
                    if service != Service::Gateway {
                        env.insert(format!("{}_URL", service.name().to_uppercase()), self.service_url(service, 1));
                    }
                }
                Part::Service(..)
                | Part::Postgres
                | Part::Kafka
                | Part::Registry
                | Part::Identity
                | Part::Cache
                | Part::Purger
                | Part::Balancer => {}
            }
        }
        env
    }

    pub(crate) fn write_state(&self, ready: bool) -> Result<(), Error> {
        let describe = |(part, process): (Part, std::sync::Arc<crate::process::Process>)| {
            Some(PartState { name: part.to_string(), process: ProcessId::of(process.id())?, log: process.log.clone() })
        };
        let parts = self.processes().into_iter().filter_map(describe).collect();
        let own = i32::try_from(std::process::id()).ok().and_then(ProcessId::of);
        let path = path(&self.folder);
        let Some(holder) = own else { return Err(Error::State { path, reason: "the own process is not in /proc".to_owned() }) };
        let text = serde_json::to_vec_pretty(&State { holder, ready, env: self.env(), parts })
            .map_err(|error| Error::State { path: path.clone(), reason: error.to_string() })?;
        write_private(&path, &text)
    }
}
