//! `ops rebuild` against a played ops port.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::played::{Played, ops};

fn seen(state: &str) -> Value {
    json!({"service": "orders", "state": state,
        "plan": {"published_by": "5c9e5d2e-0000-4000-8000-00000000002a", "events_given_up": 7,
            "topics": [{"topic": "orders.events", "role": "own", "offsets": 120}, {"topic": "inventory.events", "role": "input", "offsets": 3_000}]},
        "progress": null, "checks": [], "code": null, "error": null})
}

#[actix_web::test]
async fn a_plan_is_printed_and_nothing_is_asked_for() {
    let orders = Played::start(|_, _| (200, seen("needed")));
    let ended = ops(&["--orders-url", &orders.url, "rebuild", "orders"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for part in ["nobody is served", "orders.events", "3000", "7 events in the database now are thrown away", "lost for good"] {
        assert!(ended.out.contains(part), "{part} is not in {}", ended.out);
    }
    assert!(ended.err.contains("nothing was done"), "{}", ended.err);
    assert_eq!(orders.asked(), ["GET /ops/rebuild?"]);
}

#[actix_web::test]
async fn the_word_names_who_and_why_and_the_end_is_waited_for_and_told() {
    let looks = AtomicU32::new(0);
    let orders = Played::start(move |_, body| {
        let mut now = seen("needed");
        // asked, then looked at: not begun yet, running, done
        let look = if body.is_null() { looks.fetch_add(1, Ordering::Relaxed) } else { 0 };
        if look == 2 {
            now = seen("running");
            now["progress"] = json!({"phase": "streams", "done": 50, "total": 100, "per_second": 25.0, "seconds": 2.0});
        } else if look > 2 {
            now = seen("done");
            now["checks"] = json!([{"what": "versions are contiguous", "found": "holds", "holds": true}]);
        }
        (200, now)
    });
    let ended = ops(&["--orders-url", &orders.url, "rebuild", "orders", "--execute", "--who", "ann", "--why", "lost"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("streams") && ended.err.contains("50/100") && ended.err.contains("2 s left"), "{}", ended.err);
    assert!(ended.out.contains("rebuilt and live") && ended.out.contains("versions are contiguous"), "{}", ended.out);
    let said: Vec<String> = orders.asked().into_iter().filter(|asked| asked.starts_with("POST")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains(r#""who":"ann""#) && said[0].contains(r#""execute":true"#), "{said:?}");
}

#[actix_web::test]
async fn a_rebuild_that_fails_says_why_and_that_it_can_be_begun_again() {
    let orders = Played::start(|_, body| {
        let mut now = seen("needed");
        if !body.is_null() {
            now["state"] = json!("running");
            return (200, now);
        }
        now["state"] = json!("failed");
        now["code"] = json!("events_missing");
        now["error"] = json!("stream order-1: version 2 is not on the topics");
        (200, now)
    });
    let ended = ops(&["--orders-url", &orders.url, "rebuild", "orders", "--execute", "--who", "ann", "--why", "lost"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("events_missing") && ended.out.contains("the same command begins again"), "{}", ended.out);
}

#[actix_web::test]
async fn without_a_signature_nothing_is_begun() {
    let orders = Played::start(|_, _| (200, seen("needed")));
    let ended = ops(&["--orders-url", &orders.url, "rebuild", "orders", "--execute"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(orders.asked().iter().all(|asked| asked.starts_with("GET")), "{:?}", orders.asked());
}
