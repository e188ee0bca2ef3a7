//! Order, delays and the end.

use std::collections::HashMap;
use std::time::Duration;

use kafka::AfterLast::{Hold, Release};
use kafka::retry::State;

use super::world::{Act, World, note};
use crate::support::eventually;

note!(Waiting, "waiting.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_message_waits_its_tiers_its_followers_behind_it_and_other_keys_flow() {
    let world = World::new::<Waiting>("retry_waiting").await;
    world.script.say(1, Act::Fail(2));
    world.script.say(3, Act::Fail(1));
    let member = world.member::<Waiting>(Hold).await;
    for n in 1..=4 {
        world.write::<Waiting>("a", n).await;
    }
    for n in 11..=14 {
        world.write::<Waiting>("b", n).await;
    }
    world.wait_seen("b", &[11, 12, 13, 14]).await;
    assert_eq!(world.seen("a").await, Vec::<i64>::new(), "its first message waits, and so do the others");
    world.wait_seen("a", &[1, 2, 3, 4]).await;
    world.wait_empty().await;
    assert_eq!((1..=4).map(|n| world.script.tries(n)).collect::<Vec<_>>(), [3, 1, 2, 1]);
    let (first, second) = (world.posts("retry.200ms").await, world.posts("retry.1s").await);
    assert_eq!((first.len(), second.len(), world.posts("retry.5s").await.len()), (2, 1, 0));
    let header = |posts: &[(HashMap<String, String>, Vec<u8>)], name: &str| posts[0].0[name].clone();
    assert_eq!(header(&first, "orig-id"), header(&second, "orig-id"));
    assert_ne!(header(&first, "ce_id"), header(&second, "ce_id"));
    assert_eq!((header(&first, "attempt"), header(&second, "attempt")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(header(&first, "orig-topic"), "waiting.events");
    assert_eq!((header(&first, "orig-src"), header(&first, "orig-seq")), ("pinger/a".to_owned(), "1".to_owned()));
    assert_eq!(header(&first, "first-failure-at"), header(&second, "first-failure-at"));
    assert_eq!(first[0].1, second[0].1, "the bytes are the original ones");
    let early: i64 =
        sqlx::query_scalar("SELECT count(*) FROM inbox WHERE outcome = 'handled'").fetch_one(world.bench.pool()).await.unwrap();
    assert_eq!(early, 4, "all four left the main stream");
    world.end(member).await;
}

note!(Exhausted, "exhausted.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_last_try_it_is_a_dead_letter_and_its_followers_are_held() {
    let world = World::new::<Exhausted>("retry_exhausted").await;
    world.script.say(1, Act::Always);
    let member = world.member::<Exhausted>(Hold).await;
    for n in 1..=3 {
        world.write::<Exhausted>("a", n).await;
    }
    let dead = world.wait_state(State::Dead, 1).await;
    assert_eq!((world.script.tries(1), dead[0].attempt), (4, 4));
    assert_eq!(dead[0].code.as_deref(), Some("busy"));
    let posts = world.posts("dlq").await;
    assert_eq!(posts.len(), 1);
    assert_eq!((posts[0].0["attempt"].as_str(), posts[0].0["attempts-max"].as_str(), posts[0].0["policy"].as_str()), ("4", "4", "hold"));
    assert_eq!(Some(&posts[0].1), dead[0].value.as_ref());
    assert_eq!(world.seen("a").await, Vec::<i64>::new());
    assert_eq!(world.letters().await.iter().filter(|letter| letter.state == State::Follower).count(), 2);
    world.end(member).await;
}

note!(Released, "released.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_a_released_dead_letter_go_on() {
    let world = World::new::<Released>("retry_released").await;
    world.script.say(1, Act::Always);
    world.script.say(3, Act::Permanent);
    let member = world.member::<Released>(Release).await;
    for n in 1..=4 {
        world.write::<Released>("a", n).await;
    }
    world.wait_seen("a", &[2, 4]).await;
    assert_eq!(world.wait_state(State::Dead, 2).await.iter().map(|letter| letter.alone).collect::<Vec<_>>(), [true, true]);
    world.write::<Released>("a", 5).await;
    world.wait_seen("a", &[2, 4, 5]).await;
    world.end(member).await;
}

note!(Many, "many.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_queue_is_drained_in_order_in_several_transactions_while_other_keys_go_on() {
    let world = World::new::<Many>("retry_many").await;
    world.script.say(0, Act::Fail(1));
    let member = world.member::<Many>(Hold).await;
    for n in 0..250 {
        world.write::<Many>("a", n).await;
    }
    for n in 1_000..1_020 {
        world.write::<Many>("b", n).await;
    }
    world.wait_seen("a", &(0..250).collect::<Vec<_>>()).await;
    world.wait_seen("b", &(1_000..1_020).collect::<Vec<_>>()).await;
    world.wait_empty().await;
    world.end(member).await;
}

note!(Restarted, "restarted.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_survives_its_member() {
    let world = World::new::<Restarted>("retry_restarted").await;
    world.script.say(1, Act::Fail(2));
    let member = world.member::<Restarted>(Hold).await;
    world.write::<Restarted>("a", 1).await;
    world.write::<Restarted>("a", 2).await;
    world.wait_state(State::Follower, 1).await;
    member.stop().await;
    let member = world.member::<Restarted>(Hold).await;
    world.write::<Restarted>("a", 3).await;
    world.wait_seen("a", &[1, 2, 3]).await;
    world.wait_empty().await;
    world.end(member).await;
}

note!(Lost, "lost.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_timer_is_set_anew() {
    let world = World::new::<Lost>("retry_lost").await;
    let member = world.member::<Lost>(Hold).await;
    // Past the first seconds, in which overdue heads are looked for without timers.
    tokio::time::timeout(Duration::from_secs(11), std::future::pending::<()>()).await.unwrap_err();
    world.script.say(1, Act::Fail(1));
    world.write::<Lost>("a", 1).await;
    world.wait_state(State::Head, 1).await;
    // As if the retry record had been eaten: the one that comes is of another try, and the head is overdue.
    let lost = "UPDATE parked SET attempt = 2, due_at = now() - interval '40 seconds', timed = true";
    let changed = sqlx::query(lost).execute(world.bench.pool()).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    world.wait_seen("a", &[1]).await;
    assert_eq!(world.posts("retry.200ms").await.len() + world.posts("retry.1s").await.len(), 2, "the timer was set twice");
    world.end(member).await;
}

note!(Replaced, "retrytopic.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_partition_with_other_records_is_read_anew_from_its_start() {
    let world = World::new::<Replaced>("retry_replaced").await;
    world.script.say(1, Act::Fail(2));
    let member = world.member::<Replaced>(Hold).await;
    world.write::<Replaced>("a", 1).await;
    eventually("a timer was consumed", || async { (world.script.tries(1) == 2).then_some(()) }).await;
    member.stop().await;
    sqlx::query("UPDATE progress SET last_hash = 1, next_offset = 100 WHERE topic LIKE '%.retry.%'")
        .execute(world.bench.pool())
        .await
        .unwrap();
    let member = world.member::<Replaced>(Hold).await;
    world.wait_seen("a", &[1]).await;
    assert_eq!(member.held(), None);
    world.end(member).await;
}
