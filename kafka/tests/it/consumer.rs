//! C0–C5: what is taken once, what holds a partition, what is fenced.

use std::sync::atomic::Ordering;
use std::time::Duration;

use record::Record;
use serde::{Deserialize, Serialize};

use crate::bench::{Bench, Member, ping, seen_routes};
use crate::support::eventually;

ping!(Repeated, "repeated.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_skipped_and_a_gap_stops_the_partition() {
    let bench = Bench::new::<Repeated>("consumer_repeat", 1).await;
    let member = bench.member(1, seen_routes::<Repeated>("k")).await;
    for link in [(0, 10), (10, 11), (10, 11), (0, 10), (11, 14)] {
        bench.write(0, "pinger/a", link, "k", &Repeated { n: link.1 }).await;
    }
    bench.wait_handled(3).await;
    bench.write(0, "pinger/a", (15, 16), "k", &Repeated { n: 16 }).await;
    eventually("the gap is named", || async { (member.held() == Some("chain_gap")).then_some(()) }).await;
    bench.write(0, "pinger/a", (16, 17), "k", &Repeated { n: 17 }).await;
    let next: i64 =
        sqlx::query_scalar("SELECT next_offset FROM progress WHERE topic = 'repeated.events'").fetch_one(bench.pool()).await.unwrap();
    assert_eq!((next, bench.handled().await), (5, 3), "nothing at or behind the gap is handled");
    member.stop().await;
}

ping!(Stranger, "stranger.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_not_the_owners_is_put_aside_and_the_chain_goes_on() {
    let bench = Bench::new::<Stranger>("consumer_stranger", 1).await;
    let member = bench.member(1, seen_routes::<Stranger>("k")).await;
    bench.write(0, "pinger/a", (0, 1), "k", &Stranger { n: 1 }).await;
    bench.write(0, "mallory/a", (1, 2), "k", &Stranger { n: 2 }).await;
    bench.write(0, "pinger/a", (1, 3), "k", &Stranger { n: 3 }).await;
    bench.wait_handled(2).await;
    let put_aside: Vec<(String, String, bool)> =
        sqlx::query_as("SELECT state, error_code, alone FROM parked").fetch_all(bench.pool()).await.unwrap();
    assert_eq!(put_aside, [("dead".to_owned(), "foreign".to_owned(), true)]);
    assert_eq!(member.held(), None);
    member.stop().await;
}

ping!(Bytes, "bytes.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_the_registry_does_not_know_holds_the_partition() {
    let bench = Bench::new::<Bytes>("consumer_bytes", 1).await;
    let member = bench.member(1, seen_routes::<Bytes>("k")).await;
    bench.write_bytes(0, "pinger/a", (0, 1), "k", Some(b"\x00\x7f\x00\x00\x01x")).await;
    eventually("the schema is named", || async { (member.held() == Some("schema_unknown")).then_some(()) }).await;
    let parked: i64 = sqlx::query_scalar("SELECT count(*) FROM parked").fetch_one(bench.pool()).await.unwrap();
    assert_eq!(parked, 0);
    member.stop().await;
}

ping!(Fenced, "fenced.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_taken_by_another_epoch_is_not_written_and_is_taken_back() {
    let bench = Bench::new::<Fenced>("consumer_fenced", 1).await;
    let member = bench.member(1, seen_routes::<Fenced>("k")).await;
    bench.write(0, "pinger/a", (0, 1), "k", &Fenced { n: 1 }).await;
    bench.wait_handled(1).await;
    sqlx::query("UPDATE progress SET epoch = epoch + 1, owner = 'another'").execute(bench.pool()).await.unwrap();
    bench.write(0, "pinger/a", (1, 2), "k", &Fenced { n: 2 }).await;
    bench.wait_handled(2).await;
    assert_eq!(member.health.fenced.load(Ordering::Relaxed), 1, "the stale epoch was refused once, then the rows were taken anew");
    let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM progress WHERE topic = 'fenced.events'").fetch_one(bench.pool()).await.unwrap();
    assert_eq!(epoch, 3);
    member.stop().await;
}

ping!(Replaced, "replaced.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_other_records_is_not_read_on() {
    let bench = Bench::new::<Replaced>("consumer_replaced", 1).await;
    let member = bench.member(1, seen_routes::<Replaced>("k")).await;
    bench.write(0, "pinger/a", (0, 1), "k", &Replaced { n: 1 }).await;
    bench.wait_handled(1).await;
    member.stop().await;
    for (what, statement) in [
        ("another record before the next offset", "UPDATE progress SET last_hash = last_hash + 1 WHERE topic = 'replaced.events'"),
        ("an offset beyond the end", "UPDATE progress SET last_hash = last_hash - 1, next_offset = 100 WHERE topic = 'replaced.events'"),
    ] {
        sqlx::query(statement).execute(bench.pool()).await.unwrap();
        let member = bench.member(1, seen_routes::<Replaced>("k")).await;
        eventually(what, || async { (member.held() == Some("topic_replaced")).then_some(()) }).await;
        member.stop().await;
    }
    assert_eq!(bench.handled().await, 1);
}

ping!(Shared, "shared.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_the_partitions_and_one_leaving_gives_its_own_back() {
    let bench = Bench::new::<Shared>("consumer_shared", 4).await;
    let first = bench.member(1, seen_routes::<Shared>("k")).await;
    let second = bench.member(2, seen_routes::<Shared>("k")).await;
    let share = |member: &Member| member.health.assigned.load(Ordering::Relaxed);
    eventually("both have two partitions of each topic", || async { (share(&first) == 2 * 4 && share(&second) == 2 * 4).then_some(()) })
        .await;
    for partition in 0..4 {
        bench.write(partition, "pinger/a", (0, i64::from(partition) + 1), "k", &Shared { n: 1 }).await;
    }
    bench.wait_handled(4).await;
    let left = std::time::Instant::now();
    second.stop().await;
    eventually("the first has all", || async { (share(&first) == 4 * 4).then_some(()) }).await;
    // one that left without saying so would be waited for until its session of 6 s ends
    assert!(left.elapsed() < Duration::from_secs(3), "the partitions moved only after {:?}", left.elapsed());
    for partition in 0..4 {
        bench.write(partition, "pinger/a", (i64::from(partition) + 1, i64::from(partition) + 11), "k", &Shared { n: 2 }).await;
    }
    bench.wait_handled(8).await;
    first.stop().await;
}
