//! What operators look at is there: every metric of a dashboard or an alert, every check of `/readyz`, logs without payloads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stack::{Part, Service};

use crate::client::Client;
use crate::system::Shared;
use crate::wait::{SOON, until};

/// There only once what they count has happened, or while it is so.
const ONLY_WHEN_SEEN: &[&str] = &[
    "consumer_holds_total",
    "effect_breaker_open",
    "effect_failures_total",
    "gateway_problems_total",
    "handler_breaker_open",
    "idempotency_replays_total",
    "relay_doubts_total",
    "relay_fenced_total",
    "relay_gaps_settled_total",
    "saga_compensations_total",
    "saga_deadlines_total",
    "saga_open",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every `PromQL` expression of the dashboards and the alert rules.
fn expressions() -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join("observability/grafana/dashboards")).unwrap() {
        let board: Value = serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let targets = board["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        found.extend(targets.map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    let rules = std::fs::read_to_string(root().join("observability/alerts.yml")).unwrap();
    found.extend(rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned));
    found
}

/// The metrics an expression names: its words outside of braces, label lists and ranges that are no word of `PromQL`.
fn metrics(expression: &str) -> BTreeSet<String> {
    const WORDS: &[&str] = &[
        "by",
        "histogram_quantile",
        "humanize",
        "increase",
        "le",
        "or",
        "rate",
        "sum",
        "code",
        "group",
        "job",
        "outcome",
        "step",
        "topic",
        "upstream",
    ];
    let mut text = String::new();
    let mut depth = 0_usize;
    for c in expression.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            c if depth == 0 => text.push(c),
            _ => {}
        }
    }
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.chars().next().is_some_and(|c| c.is_ascii_lowercase()) && !WORDS.contains(word));
    names.filter(|name| !name.starts_with("http_r") && *name != "up").map(str::to_owned).collect()
}

/// Without the endings that a histogram's series have.
fn base(name: &str) -> &str {
    ["_bucket", "_count", "_sum"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

#[test]
fn expressions_are_read_for_their_metrics() {
    let found =
        metrics("histogram_quantile(0.99, sum by (le, job) (rate(relay_commit_seconds_bucket{job=\"x\"}[5m]))) > 1 or dlq_depth > 0");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["dlq_depth", "relay_commit_seconds_bucket"]);
}

#[tokio::test]
async fn every_metric_of_a_dashboard_or_alert_is_exported() {
    let system = Shared::enter().await;
    let client = system.client("metrics");
    client.create(&["metrics-1"], 100, 5).await;
    Client::assert_ended(&client.ended(client.placed(&[("metrics-1", 1)], "tok_ok").await).await, "CONFIRMED", None);
    let used: BTreeSet<String> =
        expressions().iter().flat_map(|expression| metrics(expression)).map(|name| base(&name).to_owned()).collect();
    assert!(used.len() > 25, "{used:?}");
    let wanted: BTreeSet<&str> = used.iter().map(String::as_str).filter(|name| !ONLY_WHEN_SEEN.contains(name)).collect();
    for name in ONLY_WHEN_SEEN {
        assert!(used.contains(*name), "{name} is on no dashboard and in no alert: take it off the list");
    }
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    until("every metric is exported", SOON, || async {
        let mut exported = BTreeSet::new();
        for service in Service::ALL {
            let text = http.get(format!("{}/metrics", system.stack.ops_url(service, 1))).send().await.unwrap().text().await.unwrap();
            let names = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next());
            exported.extend(names.map(|name| base(name).to_owned()));
        }
        let missing: Vec<&&str> = wanted.iter().filter(|name| !exported.contains(**name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    })
    .await;
    system.verdict().await;
}

#[tokio::test]
async fn probes_list_their_checks_and_logs_hold_no_payload() {
    let system = Shared::enter().await;
    let client = system.client("probes-customer");
    client.create(&["probes-1"], 100, 5).await;
    Client::assert_ended(&client.ended(client.placed(&[("probes-1", 1)], "tok_ok").await).await, "CONFIRMED", None);
    for service in Service::ALL {
        let ready: Value = reqwest::get(format!("{}/readyz", system.stack.ops_url(service, 1))).await.unwrap().json().await.unwrap();
        let names = |list: &str, name: &str| -> Vec<String> {
            ready[list].as_array().into_iter().flatten().filter_map(|check| check[name].as_str().map(str::to_owned)).collect()
        };
        let checks = names("checks", "check");
        if service == Service::Gateway {
            assert_eq!(names("upstreams", "name"), ["orders", "inventory"], "{ready}");
        } else {
            assert_eq!(checks, ["started", "not_stopping", "group_joined", "partitions_not_held", "relay"], "{ready}");
        }
        for path in ["livez", "startupz"] {
            assert_eq!(
                reqwest::get(format!("{}/{path}", system.stack.ops_url(service, 1))).await.unwrap().status(),
                200,
                "{service:?} {path}"
            );
        }
        let log = system.stack.logs(Part::Service(service, 1));
        assert!(log.lines().filter(|line| line.starts_with('{')).all(|line| serde_json::from_str::<Value>(line).is_ok()), "{service:?}");
        assert!(!log.contains("tok_ok"), "{service:?} logs what was paid with");
    }
    system.verdict().await;
}
