//! `ops doctor` finds what is wrong, names the command that mends it, and finds nothing when nothing is wrong.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use stack::Service;

use crate::operators::ops;
use crate::system::{Exclusive, System};

/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

/// How a look ended: the exit code, the checks that fail, and each of them with what it says to do.
#[derive(Debug)]
struct Look {
    code: u8,
    failing: Vec<String>,
    text: String,
}

async fn look(system: &System, more: &[(&str, &str)]) -> Look {
    let stack = &system.stack;
    let mut options = vec![
        ("--gateway-url", stack.gateway_url()),
        ("--gateway-ops-url", stack.ops_url(Service::Gateway, 1)),
        ("--kafka", stack.kafka_bootstrap()),
        ("--registry", stack.registry_url()),
        ("--orders-db", stack.reader_url("orders")),
        ("--inventory-db", stack.reader_url("inventory")),
        ("--payments-db", stack.reader_url("payments")),
        ("--disk-mb", "1".to_owned()),
        ("--memory-mb", "1".to_owned()),
    ];
    for (name, value) in more {
        options.retain(|(known, _)| known != name);
        options.push((name, (*value).to_owned()));
    }
    let words: Vec<&str> = ["doctor"].into_iter().chain(options.iter().flat_map(|(name, value)| [*name, value.as_str()])).collect();
    let ended = ops(system, &words).await;
    let checks = ended.json["data"].as_array().cloned().unwrap_or_else(|| panic!("{ended:?}"));
    let failing: Vec<&Value> = checks.iter().filter(|check| check["ok"] == false).collect();
    for check in &failing {
        assert!(check["mend"].as_str().is_some_and(|mend| mend.len() > 10), "it says how to mend it: {check}");
    }
    Look {
        code: ended.code,
        failing: failing.iter().map(|check| check["check"].as_str().unwrap().to_owned()).collect(),
        text: Value::from(checks.clone()).to_string(),
    }
}

/// Answers every request as a stranger would, an hour late.
fn stranger() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2_048];
            let read = stream.read(&mut request).unwrap_or_default();
            let answer = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
            if read > 0 && stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    url
}

async fn owner(system: &System, database: &str, statement: &str) {
    let mut owner = PgConnection::connect(&system.stack.owner_url(database)).await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut owner).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn retention(system: &System, ms: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", system.stack.kafka_bootstrap()).create().unwrap();
    let topic =
        AlterConfig::new(ResourceSpecifier::Topic("orders.events")).set("retention.ms", ms).set("message.timestamp.type", "CreateTime");
    let altered = admin.alter_configs([&topic], &AdminOptions::new()).await.unwrap();
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
}

#[tokio::test]
async fn each_of_a_dozen_broken_things_is_found_and_named() {
    let system = Exclusive::enter().await;
    let well = look(&system, &[]).await;
    assert_eq!((well.code, well.failing.as_slice()), (0, &[] as &[String]), "{}", well.text);

    let stranger = stranger();
    let elsewhere = system.stack.reader_url("orders").replace("@127.0.0.1:", "@127.0.0.1:1");
    let elsewhere = elsewhere.split('?').next().unwrap().to_owned();
    type Broken<'a> = (&'a [(&'a str, &'a str)], u8, &'static str);
    let options: &[Broken<'_>] = &[
        (&[("--disk-mb", "1000000000")], 1, "disk"),
        (&[("--memory-mb", "1000000000")], 1, "memory"),
        (&[("--gateway-url", &stranger)], 1, "door, clock"),
        (&[("--gateway-ops-url", &stranger)], 1, "port gateway"),
        (&[("--gateway-url", NOBODY)], 5, "door, clock"),
        (&[("--kafka", "127.0.0.1:1")], 5, "kafka"),
        (&[("--registry", NOBODY)], 5, "registry"),
        (&[("--issuer", NOBODY)], 5, "identity"),
        (&[("--orders-db", &elsewhere)], 5, "database orders"),
    ];
    for (options, code, check) in options {
        let found = look(&system, options).await;
        assert_eq!((found.code, found.failing), (*code, vec![(*check).to_owned()]), "{options:?} {}", found.text);
    }

    let statements = [
        (
            "orders",
            "UPDATE db_identity SET cluster_id = 'x' || cluster_id",
            "UPDATE db_identity SET cluster_id = substr(cluster_id, 2)",
            "kafka cluster",
        ),
        (
            "inventory",
            "UPDATE topic_partitions SET partitions = partitions + 100 WHERE topic = 'orders.events'",
            "UPDATE topic_partitions SET partitions = partitions - 100 WHERE topic = 'orders.events'",
            "kafka topics",
        ),
        (
            "payments",
            "UPDATE _sqlx_migrations SET success = false WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
            "UPDATE _sqlx_migrations SET success = true",
            "database payments migrations",
        ),
        ("orders", "GRANT UPDATE ON events TO orders", "REVOKE UPDATE ON events FROM orders", "database orders roles"),
        ("inventory", "REVOKE INSERT ON events FROM inventory", "GRANT INSERT ON events TO inventory", "database inventory roles"),
        (
            "payments",
            "UPDATE schemas SET id = id + 100000 WHERE id = (SELECT min(id) FROM schemas)",
            "UPDATE schemas SET id = id - 100000 WHERE id > 100000",
            "registry ids",
        ),
    ];
    for (database, breaks, mends, check) in statements {
        owner(&system, database, breaks).await;
        let found = look(&system, &[]).await;
        owner(&system, database, mends).await;
        assert_eq!((found.code, found.failing), (1, vec![check.to_owned()]), "{breaks} {}", found.text);
    }

    retention(&system, "9000000000000").await;
    let found = look(&system, &[]).await;
    retention(&system, "-1").await;
    assert_eq!((found.code, found.failing), (1, vec!["kafka topic settings".to_owned()]), "{}", found.text);

    system.stack.stop(Service::Inventory).unwrap();
    let found = look(&system, &[]).await;
    system.stack.cont(Service::Inventory).unwrap();
    assert_eq!((found.code, found.failing.contains(&"port inventory".to_owned())), (5, true), "{}", found.text);

    system.verdict().await;
}
