//! A relay as a process of its own, so that it can be killed and stopped.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kafka::relay;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::watch;

use super::Outbox;

/// What a relay process is told, as the arguments of `it relay`.
#[derive(Debug, Clone)]
pub struct Role {
    /// The service.
    pub service: String,
    /// Its broker.
    pub bootstrap: String,
    /// Its database.
    pub database: String,
    /// Where it writes `owner fenced doubts rows`.
    pub status: PathBuf,
}

/// Body of `it relay`: a relay until standard input ends, which it does with the parent.
///
/// # Errors
/// It cannot start.
pub async fn serve(role: Role) -> anyhow::Result<()> {
    kafka::harm::install_from_environment().map_err(anyhow::Error::msg)?;
    let config = relay::Config { service: role.service, bootstrap: role.bootstrap, login: None, connect: role.database.parse()? };
    let (_stop, stopped) = watch::channel(false);
    let status = Arc::new(relay::Status::default());
    let thread = relay::spawn(config, tokio::runtime::Handle::current(), Arc::default(), Arc::clone(&status), stopped);
    let parent = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    while !parent.is_finished() && !thread.is_finished() {
        let text = format!("{} {} {} {}", u8::from(status.owner()), status.fenced(), status.doubts(), status.rows());
        let new = role.status.with_extension("new");
        std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &role.status)).context("write the status")?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // no draining: this is a process that dies
    std::process::abort();
}

/// A relay process; killed at the latest when it goes out of scope.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    status: PathBuf,
    points: PathBuf,
    _folder: Scratch,
}

/// A folder that goes with its owner.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // a temporary folder that stays is no error
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What a relay process says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Status {
    /// Whether it owns the relay.
    pub owner: bool,
    /// How often it was fenced.
    pub fenced: u64,
    /// How often it doubted.
    pub doubts: u64,
    /// Rows published.
    pub rows: u64,
}

impl Child {
    /// Starts a relay of `outbox` with failpoints and a sabotage, or without.
    ///
    /// # Errors
    /// The program is not there.
    pub fn start(outbox: &Outbox, failpoints: &str, sabotage: Option<&str>) -> anyhow::Result<Self> {
        let mut program = std::env::current_exe()?;
        program.pop();
        if program.ends_with("deps") {
            program.pop();
        }
        let folder = std::env::temp_dir().join(format!("it-relay-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder)?;
        let (status, points) = (folder.join("status"), folder.join("points"));
        let process = Command::new(program.join("it"))
            .arg("relay")
            .args(["--service", &outbox.service, "--bootstrap", &outbox.config.bootstrap, "--database", &outbox.url])
            .arg("--status")
            .arg(&status)
            .env("FAILPOINTS", failpoints)
            .env("FAILPOINTS_LOG", &points)
            .env("SABOTAGE", sabotage.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.join("it").display()))?;
        Ok(Self { process, status, points, _folder: Scratch(folder) })
    }

    /// What it said last.
    #[must_use]
    pub fn status(&self) -> Status {
        let text = std::fs::read_to_string(&self.status).unwrap_or_default();
        let numbers: Vec<u64> = text.split(' ').filter_map(|number| number.parse().ok()).collect();
        match numbers.as_slice() {
            [owner, fenced, doubts, rows] => Status { owner: *owner == 1, fenced: *fenced, doubts: *doubts, rows: *rows },
            _ => Status::default(),
        }
    }

    /// How many failpoints it has reached.
    #[must_use]
    pub fn reached(&self) -> usize {
        std::fs::read_to_string(&self.points).unwrap_or_default().lines().count()
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.process.try_wait()?.is_some())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = i32::try_from(self.process.id().context("the relay has ended")?)?;
        kill_process(Pid::from_raw(id).context("no process")?, signal)?;
        Ok(())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// It has ended.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It has ended.
    pub fn cont(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGKILL; returns when it is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }
}
