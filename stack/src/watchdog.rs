//! The watchdog: a shell that outlives us by a moment and ends what we started.
//!
//! It reads, from a pipe that only this process holds, which processes to end and by which signal. When the pipe closes, because we have dropped
//! it or because we were killed with SIGKILL, it ends them all and removes the run folder of a test. A death signal (`PR_SET_PDEATHSIG`) was
//! refused: it fires when the *thread* that started the child ends, and it needs unsafe code.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

use crate::error::{Doing, Error};

/// `+ <target> <signal>` adds, `- <target>` takes away; a target below 0 is a process group. QUIT is PostgreSQL's "end at once but clean up":
/// it is given two seconds, then everything left gets KILL.
const SCRIPT: &str = r#"
all=
while read -r verb target signal; do
  case $verb in
    +) all="$all $target:$signal" ;;
    -) rest=
       for entry in $all; do [ "${entry%:*}" = "$target" ] || rest="$rest $entry"; done
       all=$rest ;;
  esac
done
for entry in $all; do kill -s "${entry#*:}" -- "${entry%:*}" 2>/dev/null; done
tries=0
for entry in $all; do
  while kill -s 0 -- "${entry%:*}" 2>/dev/null && [ $tries -lt 20 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -s KILL -- "${entry%:*}" 2>/dev/null
done
[ $# -eq 0 ] || rm -rf -- "$@"
"#;

#[derive(Debug)]
pub(crate) struct Watchdog {
    child: Mutex<Child>,
    pipe: Mutex<Option<ChildStdin>>,
}

impl Watchdog {
    /// Starts the watchdog; `remove` are the folders it deletes at the end.
    ///
    /// # Errors
    /// [`Error::Io`] when no shell can be started.
    pub(crate) fn start(remove: &[PathBuf]) -> Result<Self, Error> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "stack-watchdog"]);
        command.args(remove);
        // a process group of its own: Ctrl-C in the terminal must not reach it
        command.current_dir("/").process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().doing(|| "start the watchdog (sh)".to_owned())?;
        let pipe = child.stdin.take();
        Ok(Self { child: Mutex::new(child), pipe: Mutex::new(pipe) })
    }

    /// Has `target` ended with `signal` when this process is gone; a target below 0 is a process group.
    pub(crate) fn watch(&self, target: i32, signal: &str) -> Result<(), Error> {
        self.say(&format!("+ {target} {signal}\n"))
    }

    /// Forgets `target`, which has ended: its number may soon belong to somebody else.
    pub(crate) fn forget(&self, target: i32) -> Result<(), Error> {
        self.say(&format!("- {target}\n"))
    }

    fn say(&self, line: &str) -> Result<(), Error> {
        let mut pipe = self.pipe.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match pipe.as_mut() {
            Some(pipe) => pipe.write_all(line.as_bytes()).doing(|| "write to the watchdog".to_owned()),
            None => Ok(()),
        }
    }

    /// Closes the pipe and waits until the watchdog has ended what was left, which takes 2 s at most.
    pub(crate) fn finish(&self) {
        drop(self.pipe.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        if let Err(error) = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner).wait() {
            tracing::warn!(%error, "the watchdog could not be waited for");
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.finish();
    }
}
