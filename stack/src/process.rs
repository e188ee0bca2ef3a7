//! One started part: its process group, its log file, its end.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::error::{Doing, Error};
use crate::watchdog::Watchdog;

/// The part starts stopped behind this shell, which waits for a line on its input: so the watchdog knows the process before it does anything,
/// and if we die in between, the input ends and the part never starts.
const GATE: &str = r#"read -r _ || exit 1; exec "$@" </dev/null"#;

const POLL: Duration = Duration::from_millis(10);

/// What to start, beside its name and log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) folder: PathBuf,
    /// Run as this user and group instead of root.
    pub(crate) user: Option<(u32, u32)>,
    /// How the watchdog and a drop end it: `KILL`, or `QUIT` for PostgreSQL, which then frees its shared memory.
    pub(crate) end_by_quit: bool,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) log: PathBuf,
    pid: Pid,
    end_by_quit: bool,
    child: Mutex<Child>,
    watchdog: Arc<Watchdog>,
    paused: Mutex<Vec<i32>>,
}

impl Process {
    /// Starts `program` in a process group of its own, its output appended to `log`.
    ///
    /// # Errors
    /// [`Error::Io`] when the shell cannot be started or the log not written.
    pub(crate) fn start(name: &str, program: &Program, log: &Path, watchdog: &Arc<Watchdog>) -> Result<Self, Error> {
        let output = OpenOptions::new().create(true).append(true).open(log).doing(|| format!("open {}", log.display()))?;
        let errors = output.try_clone().doing(|| format!("open {}", log.display()))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GATE, "sh"]).args(&program.command);
        command.envs(program.env.iter().map(|(name, value)| (name, value))).current_dir(&program.folder);
        command.process_group(0).stdin(Stdio::piped()).stdout(output).stderr(errors);
        if let Some((user, group)) = program.user {
            command.uid(user).gid(group); // drops the supplementary groups too
        }
        let mut child = command.spawn().doing(|| format!("start {name}"))?;
        let pid = Pid::from_child(&child);
        watchdog.watch(-pid.as_raw_nonzero().get(), if program.end_by_quit { "QUIT" } else { "KILL" })?;
        if let Some(mut gate) = child.stdin.take() {
            gate.write_all(b"go\n").doing(|| format!("start {name}"))?;
        }
        Ok(Self {
            name: name.to_owned(),
            log: log.to_owned(),
            pid,
            end_by_quit: program.end_by_quit,
            child: Mutex::new(child),
            watchdog: Arc::clone(watchdog),
            paused: Mutex::default(),
        })
    }

    pub(crate) fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the process ended; none while it runs.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let ended = self.child().try_wait().ok().flatten();
        if ended.is_some()
            && let Err(error) = self.watchdog.forget(-self.id())
        {
            tracing::warn!(part = self.name, %error, "the watchdog was not told of an end");
        }
        ended
    }

    /// Sends `signal` to the part's own process, not to its children.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.ended().is_none()
            && let Err(error) = kill_process(self.pid, signal)
        {
            tracing::warn!(part = self.name, ?signal, %error, "a signal was not delivered");
        }
    }

    fn signal_all(&self, signal: Signal) {
        if self.ended().is_none() {
            for child in descendants(self.id()) {
                send(child, signal);
            }
            if kill_process_group(self.pid, signal).is_err() {
                tracing::debug!(part = self.name, ?signal, "the process group has already ended");
            }
        }
    }

    /// SIGKILL to the part and all its children; returns when it is gone.
    pub(crate) async fn kill(&self) {
        self.signal_all(Signal::KILL);
        self.wait(Duration::from_secs(10)).await;
    }

    /// SIGSTOP to the part and all its children.
    pub(crate) fn pause(&self) -> Result<(), Error> {
        // PostgreSQL's children leave its process group: the watchdog must know them, since a stopped child never notices that its parent died
        let children = descendants(self.id());
        for child in &children {
            self.watchdog.watch(*child, "KILL")?;
        }
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = children;
        self.signal_all(Signal::STOP);
        Ok(())
    }

    /// SIGCONT to the part and all its children.
    pub(crate) fn resume(&self) -> Result<(), Error> {
        self.signal_all(Signal::CONT);
        for child in self.paused.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.watchdog.forget(child)?;
        }
        Ok(())
    }

    /// Asks the part to end by `signal`, and kills it when it has not ended after `grace`.
    pub(crate) async fn stop(&self, signal: Signal, grace: Duration) {
        self.signal(signal);
        self.signal(Signal::CONT);
        if !self.wait(grace).await {
            tracing::warn!(part = self.name, grace_ms = grace.as_millis(), "did not end in time, killed");
            self.kill().await;
        }
    }

    async fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// Ends the part without waiting for it; [`Process::reap`] waits.
    pub(crate) fn end(&self) {
        self.signal_all(Signal::CONT);
        if self.end_by_quit { self.signal(Signal::QUIT) } else { self.signal_all(Signal::KILL) }
    }

    /// Waits for the end that was asked for, blocking, and kills after `limit`.
    pub(crate) fn reap(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut killed = false;
        while self.ended().is_none() && !(killed && Instant::now() > deadline + limit) {
            if Instant::now() > deadline && !killed {
                self.signal_all(Signal::KILL);
                killed = true;
            }
            std::thread::sleep(POLL);
        }
    }

    /// The error to report when the process ended before it was ready.
    pub(crate) fn ended_early(&self, status: ExitStatus) -> Error {
        let status = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown".to_owned(),
        };
        Error::Ended { part: self.name.clone(), status, log: self.log.clone(), tail: tail(&self.log) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.end();
            self.reap(Duration::from_secs(2));
        }
    }
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid)
        && kill_process(pid, signal).is_err()
    {
        tracing::debug!(?pid, ?signal, "the process has already ended");
    }
}

/// All processes below `root`, children before grandchildren.
fn descendants(root: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let parents: Vec<(i32, i32)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(pid, of)| *of == parent && *pid != root).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

pub(crate) struct Stat {
    pub(crate) parent: i32,
    /// In clock ticks since boot: with the pid it names a process for good.
    pub(crate) started: u64,
}

/// What the kernel says about a process; none when there is no such process or only its zombie.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?; // the name before it may hold spaces and brackets
    let fields: Vec<&str> = fields.split(' ').collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some(Stat { parent: fields.get(1)?.parse().ok()?, started: fields.get(19)?.parse().ok()? })
}

/// The last lines of a log file, for an error message.
pub(crate) fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(8_192)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    last_lines(&read().unwrap_or_default(), 25)
}

pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}
