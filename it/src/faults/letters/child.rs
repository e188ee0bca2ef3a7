//! The consumer and its relay as a process of its own, so that it can be killed.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context as _;
use kafka::consumer::{self, Health};
use kafka::{AfterLast, Units, relay, retry};
use record::Topic;
use sqlx::postgres::PgPoolOptions;
use tokio::process::Command;
use tokio::sync::{Notify, watch};

use super::book::{self, GROUP, Note, OWNER, Undo};
use super::{codec, partitions, tiers};

/// What a consumer process is told, as the arguments of `it letters`.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its broker.
    pub bootstrap: String,
    /// Its registry.
    pub registry: String,
    /// Its database.
    pub database: String,
    /// Whether followers of dead letters go on.
    pub release: bool,
    /// Its number in the group.
    pub number: u32,
}

/// Body of `it letters`: consumes until standard input ends, which it does with the parent.
///
/// # Errors
/// It cannot start.
pub async fn serve(role: Role) -> anyhow::Result<()> {
    kafka::harm::install_from_environment().map_err(anyhow::Error::msg)?;
    tracing_subscriber::fmt()
        .with_env_filter("info")
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(anyhow::Error::msg)?;
    let topics: &'static [Topic] =
        Box::leak(Box::new([<Note as record::Record>::TOPIC, <Undo as record::Record>::TOPIC].map(|name| Topic {
            name,
            owner: OWNER,
            key: "key",
            records: &[],
        })));
    let connect = kafka::run::connect_options(&role.database, GROUP)?;
    let pool = PgPoolOptions::new().max_connections(6).connect_with(connect.clone()).await?;
    let (wake, (_stop, stopped)) = (Arc::new(Notify::new()), watch::channel(false));
    let units =
        Units::new(pool, Arc::new(codec(&role.registry).await?), Arc::new(partitions()), Arc::clone(&wake), Arc::new(Notify::new()))
            .with_retry(retry::Settings { group: GROUP.to_owned(), tiers: tiers()? });
    let config = relay::Config { service: GROUP.to_owned(), bootstrap: role.bootstrap.clone(), login: None, connect };
    let thread = relay::spawn(config, tokio::runtime::Handle::current(), wake, Arc::default(), stopped.clone());
    let config = consumer::Config::new(GROUP, format!("{GROUP}-{}", role.number), role.bootstrap, topics);
    let after_last = if role.release { AfterLast::Release } else { AfterLast::Hold };
    let engine = consumer::spawn(config, units, book::routes(after_last), Arc::new(Health::default()), stopped)?;
    let parent = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    while !parent.is_finished() && !thread.is_finished() && !engine.is_finished() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // no draining: this is a process that dies
    std::process::abort();
}

/// A consumer process; killed at the latest when it goes out of scope.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
}

impl Child {
    /// Starts one with failpoints, told of in `points`.
    ///
    /// # Errors
    /// The program is not there.
    pub fn start(role: &Role, failpoints: &str, points: &Path) -> anyhow::Result<Self> {
        let mut program = std::env::current_exe()?;
        program.pop();
        if program.ends_with("deps") {
            program.pop();
        }
        let process = Command::new(program.join("it"))
            .arg("letters")
            .args(["--bootstrap", &role.bootstrap, "--registry", &role.registry, "--database", &role.database])
            .args(["--number", &role.number.to_string()])
            .args(role.release.then_some("--release"))
            .env("FAILPOINTS", failpoints)
            .env("FAILPOINTS_LOG", points)
            .env("SABOTAGE", "")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(OpenOptions::new().create(true).append(true).open(points.with_extension("stderr"))?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.join("it").display()))?;
        Ok(Self { process })
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.process.try_wait()?.is_some())
    }

    /// SIGKILL; returns when it is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }
}
