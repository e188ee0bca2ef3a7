//! A reader outside Rust: `it/python/read_topics.py` reads the topics with confluent-kafka's `AvroDeserializer`.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::client::Client;
use crate::system::Shared;

/// Runs a command to its end and yields what it printed; panics when it failed.
async fn run(command: &mut Command) -> String {
    let output = command.output().await.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

/// The Python with the reader's pinned packages: `target/python`, made here unless `./test` has made it.
async fn python() -> PathBuf {
    let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/requirements.txt");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("python");
    let installed = folder.join("requirements.txt");
    if std::fs::read(&wanted).ok() != std::fs::read(&installed).ok() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)).await;
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&wanted))
            .await;
        std::fs::copy(&wanted, &installed).unwrap();
    }
    folder.join("bin/python")
}

#[tokio::test]
async fn a_python_reader_understands_every_topic() {
    let python = python().await;
    let system = Shared::enter().await;
    let client = system.client("python");
    client.create(&["python-1"], 100, 5).await;
    let id = client.placed(&[("python-1", 1)], "tok_ok").await;
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/read_topics.py");
    let out = run(Command::new(python).arg(script).envs(system.stack.env())).await;
    for name in ["orders.OrderPlaced", "payments.CapturePayment", "inventory.InventoryReserved", "orders.SagaEnded"] {
        assert!(out.contains(name), "{name} was not read:\n{out}");
    }
    system.verdict().await;
}
