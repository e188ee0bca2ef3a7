//! The relay when broker, database and the link between fail. On a stack of its own: the other tests want theirs whole.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stack::{Part, Stack};
use tokio::net::TcpListener;

use super::proxy;
use super::until;
use super::world::{World, Writers};

/// Without the doubt rule this loses records: a late EndTxn(abort) of an earlier transaction ends the present one, and its
/// commit is then answered with success (Kafka 4.1 and librdkafka 2.12.1; the epoch is the same). Here the relay has new
/// producers by then, and the broker refuses the late request: 47 (`INVALID_PRODUCER_EPOCH`) or 90 (`PRODUCER_FENCED`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_ends_a_transaction_and_comes_late_ends_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let advertised = listener.local_addr().unwrap().port();
    let stack = Stack::builder().parts([Part::Postgres, Part::Kafka]).kafka_behind_proxy(advertised).start().await.unwrap();
    let seen = proxy::start(listener, stack.kafka_proxied().unwrap());
    let world = Arc::new(World::on(&stack, format!("127.0.0.1:{advertised}"), "late").await);
    let running = world.relay();
    let writers = Writers::start(&world, 4, Some(Arc::clone(&running.wake)));
    until("six requests come late", || seen.codes.lock().unwrap().len() >= 6 && seen.held.load(Ordering::Relaxed) >= 3).await;
    writers.finish().await;
    world.drained().await;
    let (lost, held) = (seen.lost.load(Ordering::Relaxed), seen.held.load(Ordering::Relaxed));
    assert!(world.judge().await > 0);
    let codes = seen.codes.lock().unwrap().clone();
    assert!(codes.iter().all(|code| [47, 90].contains(code)), "the broker's answers to late requests: {codes:?}");
    assert!(running.status.doubts() + 1 >= lost + held, "{} doubts, {lost} lost requests, {held} late answers", running.status.doubts());
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_after_broker_and_database_were_killed() {
    let stack = Stack::builder().parts([Part::Postgres, Part::Kafka]).start().await.unwrap();
    let world = Arc::new(World::on(&stack, stack.kafka_bootstrap(), "faults").await);
    let running = world.relay();
    let writers = Writers::start(&world, 4, Some(Arc::clone(&running.wake)));
    for _ in 0..2 {
        for part in [Part::Kafka, Part::Postgres] {
            let (rows, wrote) = (running.status.rows(), writers.committed.load(Ordering::Relaxed));
            until("it publishes", || running.status.rows() > rows + 200 && writers.committed.load(Ordering::Relaxed) > wrote + 50).await;
            stack.kill(part).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            stack.restart(part).await.unwrap();
        }
    }
    let rows = running.status.rows();
    until("it publishes again", || running.status.rows() > rows + 200).await;
    writers.finish().await;
    world.drained().await;
    assert!(world.judge().await > 1_000);
    assert_eq!(running.status.last_error_code(), None);
    running.stop().await.unwrap();
}
