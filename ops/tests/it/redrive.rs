//! Long redrives: in order, once, and on from where they broke off.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::played::{Played, ops};

/// Dead letters of one group, as a service keeps them.
#[derive(Debug, Default)]
struct Group {
    dead: BTreeSet<i64>,
    redriven: Vec<i64>,
    /// Requests left until the service stops answering.
    answers: usize,
    /// Letters that die again at once.
    dies_again: bool,
    died_again: BTreeSet<i64>,
}

fn letter(id: i64, redrive_no: i64) -> Value {
    json!({"id": id, "topic": "t", "partition": 0, "offset": id, "key": format!("k{}", id % 7), "message_id": "m", "record": null, "step": null,
        "correlation": "c", "state": "dead", "policy": "hold", "attempt": 4, "redrive_no": redrive_no, "due_at": null, "first_failure_at": null,
        "last_failure_at": null, "class": "transient", "code": "x", "error": "e", "fingerprint": "f"})
}

fn play(group: &Arc<Mutex<Group>>) -> Played {
    let group = Arc::clone(group);
    Played::start(move |path, body| {
        let mut group = group.lock().unwrap();
        if group.answers == 0 {
            return (503, json!({"type": "urn:problem:unavailable", "title": "t", "status": 503, "code": "unavailable"}));
        }
        group.answers -= 1;
        let query = |name: &str| path.split(['?', '&']).find_map(|pair| pair.strip_prefix(&format!("{name}="))).map(str::to_owned);
        if path.starts_with("/ops/dlq/groups") {
            let data = json!([{"topic": "t", "record": null, "class": "transient", "code": "x", "fingerprint": "f", "error": "e", "letters": group.dead.len(),
                "keys": 7, "waiting": 0, "oldest_at": "2026-11-26T11:00:00Z", "newest_at": "2026-11-26T11:00:00Z"}]);
            return (200, json!({"group": "orders", "now": "2026-11-26T12:00:00Z", "data": data}));
        }
        if path.starts_with("/ops/dlq/letters") {
            let (after, limit): (i64, usize) = (query("after").unwrap().parse().unwrap(), query("limit").unwrap().parse().unwrap());
            // What died again did so after the run's instant, which every page names.
            assert_eq!(query("before").as_deref(), Some("2026-11-26T12%3A00%3A00Z"), "{path}");
            let behind: Vec<i64> = group.dead.iter().copied().filter(|id| *id > after && !group.died_again.contains(id)).collect();
            let next = if behind.len() > limit { behind.get(limit - 1) } else { None };
            let data: Vec<Value> = behind.iter().take(limit).map(|id| letter(*id, 0)).collect();
            return (200, json!({"group": "orders", "now": "2026-11-26T12:00:00Z", "data": data, "next": next}));
        }
        assert_eq!(path, "/ops/dlq/redrive");
        let mut results = Vec::new();
        for target in body["letters"].as_array().unwrap() {
            let id = target["id"].as_i64().unwrap();
            let known = group.dead.contains(&id) && !group.died_again.contains(&id);
            if known {
                group.redriven.push(id);
                if group.dies_again {
                    group.died_again.insert(id)
                } else {
                    group.dead.remove(&id)
                };
            }
            results.push(json!({"id": id, "outcome": if known { "done" } else { "gone" }}));
        }
        (200, json!({"executed": true, "results": results}))
    })
}

async fn redrive(played: &Played, folder: &std::path::Path) -> (u8, Value, String) {
    let state = folder.to_str().unwrap();
    let command = [
        "-o",
        "json",
        "dlq",
        "redrive",
        "--group",
        "orders",
        "--rate",
        "10000",
        "--who",
        "ann",
        "--why",
        "fixed",
        "--execute",
        "--state-dir",
        state,
    ];
    let arguments: Vec<&str> = command.into_iter().chain(["--orders-url", &played.url]).collect();
    let ended = ops(&arguments).await;
    (ended.code, serde_json::from_str(&ended.out).unwrap_or_default(), ended.err)
}

#[actix_web::test]
async fn everything_is_sent_back_once_in_its_order() {
    let group = Arc::new(Mutex::new(Group { dead: (1..=2_345).collect(), answers: usize::MAX, ..Group::default() }));
    let (played, folder) = (play(&group), tempfile::tempdir().unwrap());
    let (code, summary, err) = redrive(&played, folder.path()).await;
    assert_eq!((code, &summary["redriven"], &summary["already"]), (0, &json!(2_345), &json!(0)), "{err}");
    assert_eq!(group.lock().unwrap().redriven, (1..=2_345).collect::<Vec<_>>());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a finished run leaves nothing behind");
    let (code, summary, _) = redrive(&played, folder.path()).await;
    assert_eq!((code, &summary["redriven"]), (0, &json!(0)), "there is nothing left");
}

#[actix_web::test]
async fn two_operators_at_once_act_once() {
    let group = Arc::new(Mutex::new(Group { dead: (1..=2_000).collect(), answers: usize::MAX, ..Group::default() }));
    let played = play(&group);
    let (ann, bob) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let both = tokio::join!(redrive(&played, ann.path()), redrive(&played, bob.path()));
    let done = both.0.1["redriven"].as_u64().unwrap() + both.1.1["redriven"].as_u64().unwrap();
    assert_eq!((both.0.0, both.1.0, done), (0, 0, 2_000), "{both:?}");
    assert_eq!(group.lock().unwrap().redriven.len(), 2_000);
}

#[actix_web::test]
async fn a_run_that_broke_off_goes_on_and_leaves_what_died_again() {
    let group = Arc::new(Mutex::new(Group { dead: (1..=3_000).collect(), answers: 5, dies_again: true, ..Group::default() }));
    let (played, folder) = (play(&group), tempfile::tempdir().unwrap());
    // The service stops answering in the middle; the run asks again until it is killed.
    let killed = tokio::time::timeout(std::time::Duration::from_millis(700), redrive(&played, folder.path())).await;
    assert!(killed.is_err(), "it was still asking");
    let first = group.lock().unwrap().redriven.len();
    assert!(first > 0 && first < 3_000, "{first}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the run is remembered");
    group.lock().unwrap().answers = usize::MAX;
    let (code, summary, err) = redrive(&played, folder.path()).await;
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("going on with the run that ann started"), "{err}");
    assert_eq!(summary["redriven"].as_u64().unwrap() + u64::try_from(first).unwrap(), 3_000);
    assert_eq!(group.lock().unwrap().redriven, (1..=3_000).collect::<Vec<_>>(), "each once, in order, although all died again");
}
