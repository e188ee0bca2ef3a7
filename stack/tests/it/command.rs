use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use stack::State;

/// `stack up` in a folder of its own; its end is the test's business, and its parts end with it.
struct Up {
    child: Child,
    folder: PathBuf,
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
    command.arg("--folder").arg(folder).stdin(Stdio::null());
    command
}

fn call(folder: &Path, arguments: &[&str]) -> Output {
    command(folder).args(arguments).output().unwrap()
}

/// The start of 40 free ports; another process could take one before we do, but the range is far from the kernel's own.
fn port_base() -> String {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let first = u16::try_from(2_000 + std::process::id() % 6_000).unwrap();
    let base = (first..).step_by(40).find(|base| (*base..base + 40).all(is_free)).unwrap();
    base.to_string()
}

impl Up {
    fn start(folder: &Path, port_base: &str) -> Self {
        let mut command = command(folder);
        command.args(["up", "--infrastructure-only", "--port-base", port_base]).stdout(Stdio::null());
        Self { child: command.spawn().unwrap(), folder: folder.to_owned() }
    }

    fn ready(&mut self) -> State {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(state) = State::load(&self.folder).unwrap().filter(|state| state.ready) {
                return state;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "stack up has ended");
            assert!(Instant::now() < deadline, "stack up is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_outlives_a_killed_stack_and_the_next_start_finds_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let base = port_base();
    let mut up = Up::start(folder.path(), &base);
    let first = up.ready();
    assert_eq!(first.parts.len(), 3);

    let second = call(folder.path(), &["up", "--infrastructure-only"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("already up") && said.contains(&first.holder.pid.to_string()), "{said}");

    let other = tempfile::tempdir().unwrap();
    let taken = call(other.path(), &["up", "--infrastructure-only", "--port-base", &base]);
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(said.contains("is taken by java"), "{said}");

    up.child.kill().unwrap();
    up.child.wait().unwrap();
    eventually("every part ended with its holder", || first.parts.iter().all(|part| !part.process.runs()));
    assert_eq!(call(folder.path(), &["status"]).status.code(), Some(3));

    let mut up = Up::start(folder.path(), &base);
    let again = up.ready();
    assert_eq!(again.env, first.env, "same ports, same passwords");
    let printed = String::from_utf8(call(folder.path(), &["status", "-o", "env"]).stdout).unwrap();
    for name in
        ["GATEWAY_URL", "KAFKA_BOOTSTRAP", "SCHEMA_REGISTRY_URL", "ORDERS_DATABASE_URL", "INVENTORY_DATABASE_URL", "PAYMENTS_DATABASE_URL"]
    {
        assert!(printed.lines().any(|line| line.starts_with(&format!("{name}="))), "{printed}");
    }

    let stopped = call(folder.path(), &["stop"]);
    assert!(stopped.status.success());
    assert!(up.child.wait().unwrap().success(), "a stopped stack ends well");
    assert!(again.parts.iter().all(|part| !part.process.runs()));
    assert!(folder.path().join("kafka/data").exists());
    assert!(call(folder.path(), &["reset"]).status.success());
    assert!(!folder.path().join("kafka").exists() && !folder.path().join("secrets.json").exists());
}
