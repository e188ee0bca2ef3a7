//! Messages that cannot be read, handlers that break, many that fail alike, and what is undone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kafka::AfterLast::{Hold, Release};
use kafka::Needs;
use kafka::retry::{self, State};

use super::world::{Act, Note, World, note};
use crate::support::eventually;

note!(Poison, "poison.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_dead_at_once_with_its_bytes_and_headers_whole() {
    let world = World::new::<Poison>("retry_poison").await;
    world.script.say(7, Act::Panic);
    world.script.say(8, Act::Refused);
    let member = world.member::<Poison>(Release).await;
    let poison: [(&str, Option<&[u8]>, &str); 3] = [
        ("p-null", None, "null_value"),
        ("p-magic", Some(b"\x01\x00\x00\x00\x01x"), "wrong_magic_byte"),
        ("p-empty", Some(b""), "wrong_magic_byte"),
    ];
    for (key, bytes, _) in poison {
        world.write_bytes(key, bytes).await;
    }
    for n in 1..=9 {
        world.write::<Poison>(&format!("k-{n}"), n).await;
    }
    for n in (1..=9).filter(|n| ![7, 8].contains(n)) {
        world.wait_seen(&format!("k-{n}"), &[n]).await;
    }
    let dead = world.wait_state(State::Dead, 5).await;
    let code = |key: &str| dead.iter().find(|letter| letter.key == key.as_bytes()).and_then(|letter| letter.code.clone()).unwrap();
    for (key, _, expected) in poison {
        assert_eq!(code(key), expected);
    }
    assert_eq!((code("k-7"), code("k-8")), ("handler_panicked".to_owned(), "write_refused".to_owned()));
    let posts = world.posts("dlq").await;
    assert_eq!(posts.len(), 5);
    for (key, bytes, code) in poison {
        let (headers, payload) = posts.iter().find(|(headers, _)| headers["correlation-id"] == key).unwrap();
        assert_eq!((headers["error-code"].as_str(), payload.as_slice()), (code, bytes.unwrap_or_default()));
        assert_eq!(headers.get("orig-value").map(String::as_str), bytes.is_none().then_some("null"));
    }
    assert_eq!(member.held(), None);
    world.end(member).await;
}

note!(Broken, "broken.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_everything_fails_ten_are_routed_and_the_rest_waits_for_the_fix() {
    let world = World::new::<Broken>("retry_broken").await;
    world.script.everything(Some(Act::Permanent));
    let member = world.member::<Broken>(Release).await;
    for n in 0..200 {
        world.write::<Broken>(&format!("k-{n}"), n).await;
    }
    eventually("the breaker is open", || async {
        (member.held() == Some("hopeless") || member.held() == Some("breaker_open")).then_some(())
    })
    .await;
    world.wait_state(State::Dead, 10).await;
    eventually("it was probed", || async { ((10..200).map(|n| world.script.tries(n)).sum::<u32>() > 5).then_some(()) }).await;
    assert_eq!(world.letters().await.len(), 10);
    world.script.everything(None);
    for n in 10..200 {
        world.wait_seen(&format!("k-{n}"), &[n]).await;
    }
    assert_eq!((world.letters().await.len(), member.held()), (10, None));
    world.end(member).await;
}

note!(Unread, "unread.events");

/// What cannot be read has no handler; it counts among all messages of its topic, not only among its likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_messages_among_many_good_ones_open_no_breaker_and_many_in_a_row_stop_nothing_for_ever() {
    let world = World::new::<Unread>("retry_unread").await;
    let member = world.member::<Unread>(Release).await;
    for n in 0..150 {
        world.write::<Unread>(&format!("k-{n}"), n).await;
        if n % 10 == 5 {
            world.write_bytes(&format!("bad-{n}"), Some(b"bad")).await;
            // The next one is in another batch or not; the count must be the same.
            world.wait_seen(&format!("k-{n}"), &[n]).await;
        }
        assert_eq!(member.held(), None, "message {n}");
    }
    world.wait_state(State::Dead, 15).await;
    for n in 0..30 {
        world.write_bytes(&format!("row-{n}"), Some(b"bad")).await;
    }
    world.write::<Unread>("last", 1_000).await;
    world.wait_seen("last", &[1_000]).await;
    assert_eq!(world.wait_state(State::Dead, 45).await.len(), 45);
    world.end(member).await;
}

note!(Lonely, "lonely.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failure_in_a_batch_does_not_repeat_the_others_decisions() {
    let world = World::new::<Lonely>("retry_lonely").await;
    for n in [20, 40, 60] {
        world.script.say(n, Act::Fail(1));
    }
    for n in 0..80 {
        world.write::<Lonely>(&format!("k-{n}"), n).await;
    }
    let member = world.member::<Lonely>(Hold).await;
    for n in 0..80 {
        world.wait_seen(&format!("k-{n}"), &[n]).await;
    }
    let tries: Vec<u32> = (0..80).map(|n| world.script.tries(n)).collect();
    assert!(tries.iter().enumerate().all(|(n, tries)| *tries == if [20, 40, 60].contains(&n) { 2 } else { 1 }), "{tries:?}");
    world.end(member).await;
}

note!(Undone, "undone.events");

/// Numbers below 100 perform the step, those above undo it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undoing_takes_a_parked_step_out_also_when_it_was_sent_back_and_its_follower_goes_on() {
    note!(Undo, "undoing.events");
    let world = World::new::<Undone>("retry_undone").await;
    let bench = &world.bench;
    let undo_topic = bench.also::<Undo>(1).await;
    world.script.say(1, Act::Always);
    world.script.say(2, Act::Always);
    let told = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&told);
    let script = world.script.clone();
    let routes = world
        .script
        .routes::<Undone>(Hold)
        .performs("hold")
        .gives_up::<Undone>(move |_, _, _, failure| {
            assert_eq!(failure.code, "busy");
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .on::<Undo>(
            Hold,
            |note, needs: &mut Needs<()>| needs.stream(format!("seen-{}", note.key())),
            move |unit, meta, note| script.handle(unit, meta, note),
        )
        .compensates(&["hold"]);
    let member = undo_topic.member(bench, routes).await;
    world.write::<Undone>("a", 1).await;
    world.write::<Undone>("a", 3).await;
    world.wait_state(State::Follower, 1).await;
    // One that waits for its next try.
    undo_topic.write(bench, "a", &Undo::new("a", 101)).await;
    world.wait_seen("a", &[101]).await;
    world.wait_empty().await;
    assert_eq!(told.load(Ordering::Relaxed), 0);
    // One that was given up and sent back.
    world.write::<Undone>("b", 2).await;
    let dead = world.wait_state(State::Dead, 1).await;
    assert_eq!(told.load(Ordering::Relaxed), 1, "its saga was told");
    let by = retry::Operator { who: "test".to_owned(), why: "again".to_owned() };
    let decided = retry::redrive(&bench.units, &[(&dead[0]).into()], &by).await.unwrap();
    assert_eq!(decided, [retry::Decided::Done]);
    undo_topic.write(bench, "b", &Undo::new("b", 102)).await;
    world.wait_seen("b", &[102]).await;
    world.wait_empty().await;
    let undone: i64 = sqlx::query_scalar("SELECT count(*) FROM inbox WHERE outcome = 'undone'").fetch_one(bench.pool()).await.unwrap();
    assert_eq!(undone, 3, "the follower performs the step as well");
    world.end(member).await;
}
