//! A reader outside Rust: `it/python/read_topics.py` reads the topics with confluent-kafka's AvroDeserializer.

use std::path::Path;
use std::process::Stdio;

use crate::client::Client;
use crate::system::Shared;

#[tokio::test]
async fn a_python_reader_understands_every_topic() {
    let system = Shared::enter().await;
    let client = system.client("python");
    client.create(&["python-1"], 100, 5).await;
    let id = client.placed(&[("python-1", 1)], "tok_ok").await;
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let output = tokio::process::Command::new("python3")
        .arg(folder.join("read_topics.py"))
        .envs(system.stack.env())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    for name in ["orders.OrderPlaced", "payments.CapturePayment"] {
        assert!(out.contains(name), "{name} was not read:\n{out}\n{err}");
    }
    system.verdict().await;
}
