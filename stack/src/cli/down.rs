use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use stack::{ProcessId, State};

use super::say;

/// Longer than the services' drain, Kafka's and PostgreSQL's own ends together.
const GRACE: Duration = Duration::from_secs(60);

pub(super) async fn stop(folder: &Path) -> anyhow::Result<ExitCode> {
    let Some(state) = State::load(folder)? else {
        say("nothing is up")?;
        return Ok(ExitCode::SUCCESS);
    };
    signal(state.holder, Signal::TERM)?;
    if !ended(state.holder, GRACE).await {
        say(format!("process {} did not end within {} s: killing it", state.holder.pid, GRACE.as_secs()))?;
        signal(state.holder, Signal::KILL)?;
    }
    // the watchdog ends what is left when its holder is gone; this is for the case that somebody killed the watchdog too
    for part in &state.parts {
        if !ended(part.process, Duration::from_secs(5)).await {
            say(format!("{} is still there: killing it", part.name))?;
            signal(part.process, Signal::KILL)?;
        }
    }
    say("stopped; the data stays (./run starts it again, ./run reset deletes it)")?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn reset(folder: &Path) -> anyhow::Result<ExitCode> {
    stop(folder).await?;
    for path in stack::data_of(folder) {
        let removed = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) => continue,
        };
        removed.with_context(|| format!("delete {}", path.display()))?;
    }
    say("deleted all data, logs and passwords")?;
    Ok(ExitCode::SUCCESS)
}

async fn ended(process: ProcessId, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while process.runs() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}

fn signal(process: ProcessId, signal: Signal) -> anyhow::Result<()> {
    let Some(pid) = Pid::from_raw(process.pid) else { bail!("{} is no process number", process.pid) };
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("signal process {}", process.pid)),
    }
}
