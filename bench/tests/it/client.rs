//! Repeating a request.

use std::time::{Duration, Instant};

use bench::client::{Call, Client, Error};
use bench::wire::Order;
use it::httplog::{self, Outcome, Writer};

use crate::fake::{Behaviour, Fake, Mood};

const BODY: &[u8] = br#"{"lines":[{"sku":"1","quantity":1}],"payment":{"token":"tok_ok"}}"#;

fn call(key: &str) -> Call {
    Call::post("/v1/orders", key.into(), Some("c".into()), BODY.to_vec())
}

fn client(fake: &Fake) -> Client {
    Client::new(&fake.url, Duration::from_secs(5), None).unwrap()
}

fn moody(moods: &[Mood]) -> Behaviour {
    Behaviour { moods: moods.to_vec(), known: ["1".to_owned()].into(), ..Behaviour::default() }
}

const OVERLOADED: Mood = Mood::Answer { status: 429, retry_after: None, code: "overloaded" };
const UNAVAILABLE: Mood = Mood::Answer { status: 503, retry_after: None, code: "unavailable" };
const IN_FLIGHT: Mood = Mood::Answer { status: 409, retry_after: None, code: "request_in_flight" };

#[tokio::test]
async fn overload_outage_and_lost_answers_are_repeated_with_the_same_key() {
    let fake = Fake::start(moody(&[OVERLOADED, UNAVAILABLE, Mood::Hang, Mood::LoseAnswer, IN_FLIGHT])).await;
    let client = client(&fake);
    let answer = client.must(&call("k")).await.unwrap();
    assert!(answer.replayed, "the lost answer was of an order that exists");
    answer.json::<Order>(&call("k")).unwrap();
    assert_eq!(fake.orders(), 1);
    let requests = fake.state.lock().unwrap().requests.clone();
    assert!(requests.len() >= 6 && requests.iter().all(|request| request == "POST /v1/orders k"), "{requests:?}");
    let retries = client.retries();
    assert_eq!((retries["http_429"], retries["http_503"], retries["request_in_flight"]), (1, 1, 1));
}

#[tokio::test]
async fn the_servers_retry_after_is_obeyed() {
    let fake = Fake::start(moody(&[Mood::Answer { status: 429, retry_after: Some(1), code: "overloaded" }])).await;
    let started = Instant::now();
    client(&fake).must(&call("k")).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_refusal_and_a_500_are_final() {
    for (status, code) in [(422, "unknown_sku"), (500, "internal"), (409, "order_already_confirmed")] {
        let fake = Fake::start(moody(&[Mood::Answer { status, retry_after: None, code }])).await;
        let answer = client(&fake).send(&call("k")).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert!(matches!(client(&fake).must(&call("k")).await, Ok(answer) if answer.is_success()), "the mood is over");
        assert_eq!(fake.state.lock().unwrap().requests.len(), 2);
    }
}

#[tokio::test]
async fn patience_ends() {
    let fake = Fake::start(moody(&[UNAVAILABLE; 50])).await;
    let client = Client::new(&fake.url, Duration::from_millis(300), None).unwrap();
    let error = client.send(&call("k")).await.unwrap_err();
    assert!(matches!(&error, Error::GaveUp { attempts, last, .. } if *attempts > 1 && last == "http_503"), "{error}");
    let nobody = Client::new("http://127.0.0.1:1", Duration::from_millis(100), None).unwrap();
    assert!(matches!(nobody.send(&call("k")).await, Err(Error::GaveUp { ref last, .. }) if last == "connect"));
}

#[tokio::test]
async fn every_attempt_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.jsonl");
    let fake = Fake::start(moody(&[OVERLOADED, Mood::LoseAnswer, IN_FLIGHT])).await;
    let client = Client::new(&fake.url, Duration::from_secs(5), Some(Writer::create(&path).unwrap())).unwrap();
    let answer = client.must(&call("k")).await.unwrap();
    client.finish_log().unwrap();
    let entries = httplog::read(&path).unwrap();
    let outcomes: Vec<_> = entries.iter().map(|entry| (entry.outcome, entry.status)).collect();
    let expected = [(Outcome::Refused, Some(429)), (Outcome::Unknown, None), (Outcome::Unknown, Some(409)), (Outcome::Ok, Some(202))];
    assert_eq!(outcomes, expected);
    let last = &entries[3];
    assert_eq!(last.body_hash, Some(httplog::hash(BODY)));
    assert_eq!(last.response_hash, Some(httplog::hash(&answer.body)));
    assert_eq!(last.order_id, Some(answer.json::<Order>(&call("k")).unwrap().id));
    assert!(entries.iter().all(|entry| entry.key.as_deref() == Some("k") && entry.customer.as_deref() == Some("c")));
}
