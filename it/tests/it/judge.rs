//! The checker as a command, on the real system: content with what is right, and not with what was tampered with.

use std::process::Output;

use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;

use crate::client::Client;
use crate::system::{Exclusive, OUR_OWN, System};

async fn check(system: &System, change: impl FnOnce(&mut Command)) -> (i32, String) {
    system.finish_log();
    let mut command = Command::new(env!("CARGO_BIN_EXE_it"));
    command.args(["check", "--forget-aborted", OUR_OWN, "--http-log"]).arg(system.sources().http_log.unwrap()).envs(system.stack.env());
    change(&mut command);
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    eprintln!("{text}");
    (status.code().unwrap(), text)
}

/// What a row is tampered with, as whom, and what the checker must say.
struct Tampering {
    database: &'static str,
    doing: &'static str,
    undoing: &'static str,
    told: &'static str,
}

const TAMPERINGS: [Tampering; 4] = [
    Tampering {
        database: "inventory",
        doing: "UPDATE stock SET available = available - 1 WHERE sku = 'judged-1'",
        undoing: "UPDATE stock SET available = available + 1 WHERE sku = 'judged-1'",
        told: "I3",
    },
    Tampering {
        database: "payments",
        doing: "UPDATE ledger SET amount_minor = amount_minor + 1 WHERE account = 'captured' AND amount_minor = 777",
        undoing: "UPDATE ledger SET amount_minor = amount_minor - 1 WHERE account = 'captured' AND amount_minor = 778",
        told: "I4",
    },
    Tampering {
        database: "provider",
        doing: "UPDATE operations SET state = 'authorized' WHERE captured_minor = 777",
        undoing: "UPDATE operations SET state = 'captured' WHERE captured_minor = 777",
        told: "I4",
    },
    Tampering {
        database: "orders",
        doing: "UPDATE events SET payload = payload || 'x'::bytea WHERE stream LIKE 'order-%' AND version = 2",
        undoing: "UPDATE events SET payload = substring(payload FOR length(payload) - 1) WHERE stream LIKE 'order-%' AND version = 2",
        told: "I7",
    },
];

#[tokio::test]
async fn the_command_names_what_was_tampered_with_and_nothing_else() {
    let system = Exclusive::enter().await;
    let client = system.client("judged");
    client.create(&["judged-1"], 777, 5).await;
    let id = client.placed(&[("judged-1", 1)], "tok_ok").await;
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    system.rest().await;
    let (code, text) = check(&system, |_| {}).await;
    assert_eq!(code, 0, "{text}");
    for Tampering { database, doing, undoing, told } in TAMPERINGS {
        // the provider is somebody else's system: its tables belong to the role that made them
        let url = if database == "provider" { system.stack.database_url(database) } else { system.stack.owner_url(database) };
        let mut owner = PgConnection::connect(&url).await.unwrap();
        assert!(sqlx::query(doing).execute(&mut owner).await.unwrap().rows_affected() > 0, "{doing}");
        let (code, text) = check(&system, |_| {}).await;
        sqlx::query(undoing).execute(&mut owner).await.unwrap();
        assert_eq!(code, 1, "{text}");
        let broken: Vec<&str> =
            text.lines().filter(|line| line.contains("VIOLATED")).filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(broken, [told], "{doing}\n{text}");
    }
    let (code, text) = check(&system, |command| {
        command.args(["--orders-db", "postgres://reader@127.0.0.1:1/orders"]);
    })
    .await;
    assert_eq!(code, 5, "{text}");
    let (code, _) = check(&system, |command| {
        command.arg("--no-such-option");
    })
    .await;
    assert_eq!(code, 2);
    let (code, text) = check(&system, |command| {
        command.env("KAFKA_BOOTSTRAP", "127.0.0.1:1");
    })
    .await;
    assert_eq!(code, 5, "{text}");
    system.verdict().await;
}
