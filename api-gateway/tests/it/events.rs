//! The stream of an order's events, and what becomes of it when either side goes away.

use std::time::Duration;

use contract::Code;
use reqwest::Response;
use serde_json::{Value, json};

use crate::{ORDER_ID, World, eventually, problem, upstream::Reply, upstream::Seen};

/// What happened to the order so far, as order-service would tell it behind the place it is asked for.
fn story(events: usize, ended: bool) -> impl Fn(&Seen) -> Reply + Send + 'static {
    move |seen: &Seen| {
        let after: usize = seen.target.split(['=', '&']).nth(1).unwrap().parse().unwrap();
        let rest: Vec<Value> = (after + 1..=events)
            .map(|n| json!({"sequence": n, "type": "SagaStepRecorded", "at": "2017-01-01T10:00:00Z", "step": "hold"}))
            .collect();
        let wait =
            if rest.is_empty() && !ended && !seen.target.ends_with("wait_ms=0") { Duration::from_millis(30) } else { Duration::ZERO };
        Reply::new(200, json!({"events": rest, "ended": ended}).to_string()).header("content-type", "application/json").after(wait)
    }
}

fn path() -> String {
    format!("/v1/orders/{ORDER_ID}/events")
}

/// Reads until `enough` says so or the stream ends.
async fn read(response: &mut Response, enough: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    while !enough(&text) {
        match tokio::time::timeout(Duration::from_secs(5), response.chunk()).await.unwrap().unwrap() {
            Some(chunk) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
            None => break,
        }
    }
    text
}

fn ids(text: &str) -> Vec<usize> {
    text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect()
}

#[actix_web::test]
async fn it_tells_everything_once_and_ends_with_the_order() {
    let world = World::new();
    world.orders.reply(story(4, true));
    let mut response = world.get(&path()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(
        (&response.headers()["cache-control"], &response.headers()["x-accel-buffering"]),
        (&"no-store".parse().unwrap(), &"no".parse().unwrap())
    );
    let text = read(&mut response, |_| false).await;
    assert!(text.starts_with("retry: 1000\n\n"), "{text}");
    assert_eq!(ids(&text), [1, 2, 3, 4]);
    assert!(text.contains("event: SagaStepRecorded\ndata: {\"sequence\":1,"), "{text}");
    let asked = world.orders.only();
    assert_eq!(asked.target, format!("/internal/orders/{ORDER_ID}/events?after=0&wait_ms=0"));
    assert_eq!(asked.header("x-customer-id"), Some("c1"));
    let again = world.get(&path()).header("last-event-id", "4").send().await.unwrap();
    assert_eq!(again.status(), 204);
}

#[actix_web::test]
async fn dropped_at_every_place_it_goes_on_without_gap_or_repeat() {
    let world = World::new();
    world.orders.reply(story(5, true));
    for drop_after in 1..=4 {
        let mut seen = Vec::new();
        while seen.last() != Some(&5) {
            let last = seen.last().map_or_else(String::new, ToString::to_string);
            let mut response = world.get(&path()).header("last-event-id", last).send().await.unwrap();
            let text = read(&mut response, |text| ids(text).len() >= drop_after).await;
            // The connection goes with the response; what else had arrived is as lost as on a broken one.
            seen.extend(ids(&text).into_iter().take(drop_after));
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
    }
}

#[actix_web::test]
async fn while_nothing_happens_there_are_signs_of_life_and_then_what_happened() {
    let world = World::with(|config| config.heartbeat = Duration::from_millis(20));
    world.orders.reply(story(2, false));
    let mut response = world.get(&path()).send().await.unwrap();
    let text = read(&mut response, |text| text.matches(": still here\n\n").count() >= 2).await;
    assert_eq!(ids(&text), [1, 2]);
    world.orders.reply(story(3, true));
    let text = read(&mut response, |_| false).await;
    assert_eq!(ids(&text), [3]);
}

#[actix_web::test]
async fn a_stream_outlives_a_restart_of_its_service() {
    let world = World::with(|config| config.heartbeat = Duration::from_millis(20));
    world.orders.reply(story(2, false));
    let mut response = world.get(&path()).send().await.unwrap();
    assert_eq!(ids(&read(&mut response, |text| ids(text).len() == 2).await), [1, 2]);
    world.orders.reply(|_| Reply::new(503, "{}"));
    read(&mut response, |text| text.matches(": still here\n\n").count() >= 3).await;
    world.orders.reply(story(3, true));
    assert_eq!(ids(&read(&mut response, |_| false).await), [3]);
}

#[actix_web::test]
async fn what_order_service_refuses_is_refused() {
    let world = World::new();
    world.orders.reply(|_| Reply::new(404, r#"{"code":"order_not_found"}"#).header("content-type", "application/problem+json"));
    let response = world.get(&path()).send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert!(response.text().await.unwrap().starts_with(r#"{"code":"order_not_found","trace_id":"#));
    for last in ["-1", "x", "1.5", "99999999999999999999"] {
        let response = world.get(&path()).header("last-event-id", last).send().await.unwrap();
        assert_eq!(problem(response).await.code, Code::InvalidEventId, "{last}");
    }
    assert_eq!(world.orders.seen().len(), 1);
}

#[actix_web::test]
async fn streams_are_bounded_and_a_client_that_goes_makes_room() {
    let world = World::with(|config| {
        config.streams_max = 2;
        config.heartbeat = Duration::from_millis(20);
    });
    world.orders.reply(story(1, false));
    let mut open = Vec::new();
    for _ in 0..2 {
        let response = world.get(&path()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    assert_eq!(problem(world.get(&path()).send().await.unwrap()).await.code, Code::Overloaded);
    open.clear();
    eventually("there is room again", async || world.get(&path()).send().await.unwrap().status() == 200).await;
}
