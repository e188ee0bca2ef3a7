use serde_json::{Value, json};

use crate::played::{Ended, Played, golden, ops};

const ORDER: &str = "0198c0de-0000-7000-8000-000000000001";
const NOW: &str = "2026-11-26T12:00:00Z";

fn letter(id: i64, state: &str) -> Value {
    json!({"id": id, "topic": "inventory.commands", "partition": 0, "offset": 41, "key": ORDER, "message_id": "5c9e5d2e-0000-5000-8000-00000000002a",
        "record": "inventory.CreateInventoryHold", "step": "hold", "correlation": ORDER, "state": state, "policy": "hold", "attempt": 4,
        "redrive_no": 1, "due_at": if state == "head" { json!("2026-11-26T12:00:30Z") } else { Value::Null },
        "first_failure_at": "2026-11-26T11:50:00Z", "last_failure_at": "2026-11-26T11:57:00Z", "class": "permanent", "code": "invalid_message",
        "error": "read CreateInventoryHold: quantity: 0 is out of range", "fingerprint": "0011223344556677"})
}

fn with(mut value: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(more);
    value
}

fn saga(status: &str) -> Value {
    json!({"id": ORDER, "status": status, "step": "commit", "cause": null, "stuck_reason": "deadline", "stuck_at": "2026-11-26T11:00:00Z",
        "deadline_at": null, "updated_at": "2026-11-26T11:00:00Z"})
}

/// A service that has one dead letter, one head, one call, one stuck saga.
fn one(path: &str, body: &Value) -> (u16, Value) {
    let (path, _query) = path.split_once('?').unwrap_or((path, ""));
    let detail = with(
        letter(17, "dead"),
        json!({"group": "inventory", "waiting": 2,
        "headers": [{"name": "ce_id", "value": "5c9e5d2e"}, {"name": "evil", "value": "\u{1b}[2J"}],
        "body": {"kind": "decoded", "schema_id": 3, "record": "inventory.CreateInventoryHold", "json": {"order_id": ORDER, "lines": [{"sku": "1", "quantity": 0}]}},
        "decisions": [{"at": "2026-11-26T11:55:00Z", "redrive_no": 0, "decision": "redriven", "who": "ann", "why": "try again"}]}),
    );
    match path {
        "/ops/dlq/groups" => (
            200,
            json!({"group": "inventory", "now": NOW, "data": [{"topic": "inventory.commands", "record": "inventory.CreateInventoryHold",
            "class": "permanent", "code": "invalid_message", "fingerprint": "0011223344556677", "error": "quantity", "letters": 1, "keys": 1,
            "waiting": 2, "oldest_at": "2026-11-26T11:57:00Z", "newest_at": "2026-11-26T11:57:00Z"}]}),
        ),
        "/ops/dlq/letters" => (200, json!({"group": "inventory", "now": NOW, "data": [letter(17, "dead")], "next": null})),
        "/ops/letters/17" => (200, detail),
        "/ops/letters/18" => (
            200,
            with(
                detail,
                json!({"id": 18, "body": {"kind": "undecodable", "hex": "00".repeat(40), "bytes": 40, "reason": "undecodable: left over"}}),
            ),
        ),
        "/ops/letters/17/edit" if body["body"]["lines"][0]["quantity"] == 0 => (
            422,
            json!({"type": "urn:problem:edit_invalid",
            "title": "the body does not fit the schema it would be written with", "status": 422, "code": "edit_invalid",
            "errors": [{"pointer": "/lines/0/quantity", "detail": "must be a whole number of 64 bits"}]}),
        ),
        "/ops/letters/17/edit" => (
            200,
            json!({"executed": body["execute"], "outcome": "done",
            "before": {"lines": [{"quantity": 0, "sku": "1"}]}, "after": {"lines": [{"quantity": body["body"]["lines"][0]["quantity"], "sku": "1"}]}}),
        ),
        "/ops/dlq/skip" | "/ops/dlq/redrive" | "/ops/dlq/abandon" => {
            let results: Vec<Value> =
                body["letters"].as_array().unwrap().iter().map(|letter| json!({"id": letter["id"], "outcome": "done"})).collect();
            (200, json!({"executed": body["execute"], "results": results}))
        }
        "/ops/retry/waiting" => {
            (200, json!({"group": "inventory", "now": NOW, "data": [letter(21, "head"), letter(22, "follower")], "next": null}))
        }
        "/ops/retry/effects" => (
            200,
            json!({"now": NOW, "next": null, "data": [{"id": 5, "stream": format!("payment-{ORDER}"), "step": "authorize",
            "correlation": ORDER, "state": "unknown", "attempt": 2, "due_at": "2026-11-26T12:04:00Z"}]}),
        ),
        "/ops/sagas" => (200, json!({"now": NOW, "data": [saga("stuck")], "next": null})),
        _ if path == format!("/ops/sagas/{ORDER}") => (
            200,
            with(
                saga("stuck"),
                json!({"definition": "order", "shape_version": 1, "decision": "confirmed",
            "awaited": [{"step": "commit", "command": "CommitInventoryHold", "message_id": "5c9e5d2e-0000-5000-8000-000000000001", "compensation": false, "deadline_at": null}],
            "steps": [{"step": "hold", "state": "done"}, {"step": "authorize", "state": null}, {"step": "capture", "state": "done"}, {"step": "commit", "state": "stuck"}]}),
            ),
        ),
        _ if path == format!("/ops/stories/{ORDER}") => (
            200,
            json!({"service": "orders", "now": NOW, "effects": [], "letters": [letter(17, "dead")],
            "events": [{"stream": format!("saga-{ORDER}"), "version": 4, "record": "orders.SagaStepRecorded", "id": "i", "cause": "c",
                "at": "2026-11-26T11:00:00Z", "body": {"step": "commit", "state": "stuck", "reason": "deadline"}}]}),
        ),
        _ if path == format!("/ops/sagas/{ORDER}/resume") => (
            200,
            json!({"executed": body["execute"], "id": ORDER, "records": ["commit sent"],
            "sends": ["CommitInventoryHold"], "status": "running"}),
        ),
        _ if path == format!("/ops/sagas/{ORDER}/abandon") => (
            200,
            json!({"executed": body["execute"], "id": ORDER,
            "records": ["commit abandoned", "ended confirmed"], "sends": [], "status": "ended"}),
        ),
        _ => (
            404,
            json!({"type": "urn:problem:letter_not_found", "title": "no letter has this number any more", "status": 404, "code": "letter_not_found"}),
        ),
    }
}

/// Runs a command against one played service that plays all three.
async fn run(command: &str) -> (Ended, Played) {
    let played = Played::start(one);
    let url = played.url.clone();
    let mut arguments: Vec<&str> = command.split(' ').map(|word| if word == "ORDER" { ORDER } else { word }).collect();
    let urls = ["--orders-url", &url, "--inventory-url", &url];
    arguments.extend(urls);
    (ops(&arguments).await, played)
}

#[actix_web::test]
async fn what_people_and_programs_read_is_the_agreed_text() {
    for (name, command) in [
        ("dlq_list.txt", "dlq list --group inventory"),
        ("dlq_list.json", "dlq list --group inventory -o json"),
        ("dlq_list.jsonl", "dlq list -o jsonl"),
        ("dlq_letters.txt", "dlq list --letters --group inventory"),
        ("dlq_show.txt", "dlq show inventory/17"),
        ("dlq_show_hex.txt", "dlq show inventory/18"),
        ("dlq_show.json", "dlq show inventory/17 -o json"),
        ("dlq_redrive_plan.txt", "dlq redrive --group inventory --state-dir /nonexistent"),
        ("dlq_edit_plan.txt", "dlq edit inventory/17 --set /lines/0/quantity=2"),
        ("dlq_skip_plan.txt", "dlq skip inventory/17"),
        ("retry_list.txt", "retry list --group inventory"),
        ("retry_list.jsonl", "retry list --group inventory -o jsonl"),
        ("saga_list.txt", "saga list"),
        ("saga_show.txt", "saga show ORDER"),
        ("saga_resume_plan.txt", "saga resume ORDER"),
        ("saga_abandon.txt", "saga abandon ORDER --who ann --why shipped --execute"),
    ] {
        let (ended, played) = run(command).await;
        assert_eq!(ended.code, 0, "{command}: {}", ended.err);
        if !command.contains("--execute") {
            assert!(!played.asked().iter().any(|asked| asked.contains("\"execute\":true")), "{command} is only a plan");
        }
        golden(name, &format!("{}--- notes\n{}", ended.out, ended.err.replace(&played.url, "URL")));
    }
}

#[actix_web::test]
async fn the_help_is_the_agreed_text() {
    for (name, command) in [("help.txt", "--help"), ("help_redrive.txt", "dlq redrive --help")] {
        let ended = ops(&command.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(ended.code, 0);
        golden(name, &ended.out);
    }
}

#[actix_web::test]
async fn decisions_are_signed_and_sent_as_they_were_read() {
    let (ended, _) = run("dlq skip inventory/17 --execute --who ann").await;
    assert_eq!((ended.code, ended.err.contains("--why")), (2, true), "{}", ended.err);
    let (ended, played) = run("dlq skip inventory/17 --execute --who ann --why lost").await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let sent = played.asked().into_iter().find(|asked| asked.starts_with("POST")).unwrap();
    assert_eq!(sent, r#"POST /ops/dlq/skip {"execute":true,"letters":[{"id":17,"redrive_no":1}],"who":"ann","why":"lost"}"#);
    let (ended, played) = run("dlq edit inventory/17 --set /lines/0/quantity=2 --execute --who ann --why typo").await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "sent back with another body\n  /lines/0/quantity: 0 -> 2\n"));
    assert!(
        played.asked().iter().any(|asked| asked.contains("\"redrive_no\":1") && asked.contains("\"quantity\":2")),
        "{:?}",
        played.asked()
    );
}

#[actix_web::test]
async fn each_end_has_its_exit_code() {
    for (command, code, says) in [
        ("dlq show inventory/99", 4, "next: ops dlq list --letters"),
        ("dlq show inventory", 2, "they are called group/number"),
        ("dlq show nobody/1", 2, "no consumer group is called nobody"),
        ("dlq show payments/1", 2, "the address of payments is not known"),
        ("dlq redrive", 2, "say which"),
        ("dlq nonsense", 2, "unrecognized subcommand"),
        ("dlq edit inventory/17 --set /lines/0/quantity=0", 1, "/lines/0/quantity: must be"),
        ("dlq list --group inventory --inventory-url http://127.0.0.1:1", 2, "cannot be used multiple times"),
    ] {
        let (ended, _) = run(command).await;
        assert_eq!(ended.code, code, "{command}: {}", ended.err);
        assert!(ended.err.contains(says), "{command}: {}", ended.err);
    }
    let ended = ops(&["saga", "list", "--orders-url", "http://127.0.0.1:1"]).await;
    assert_eq!(ended.code, 5, "{}", ended.err);
    let played = Played::start(one);
    let ended = ops(&["dlq", "list", "--orders-url", "http://127.0.0.1:1", "--inventory-url", &played.url]).await;
    assert_eq!((ended.code, ended.out.contains("invalid_message")), (3, true), "what answers is printed: {}", ended.err);
}

#[actix_web::test]
async fn completions_and_manual_pages_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("man");
    let written = ops(&["man", path.to_str().unwrap()]).await;
    assert_eq!(written.code, 0, "{written:?}");
    for page in ["ops.1", "ops-dlq.1", "ops-dlq-redrive.1", "ops-doctor.1", "ops-saga-resume.1"] {
        assert!(written.out.lines().any(|line| line == page), "{page} in {written:?}");
        assert!(std::fs::read_to_string(path.join(page)).unwrap().contains(".SH SYNOPSIS"), "{page}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = ops(&["completions", shell]).await;
        assert_eq!(completions.code, 0, "{shell}");
        assert!(completions.out.contains("redrive") && completions.out.contains("doctor"), "{shell}");
    }
}
