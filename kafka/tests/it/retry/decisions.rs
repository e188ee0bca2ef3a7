//! What operators decide.

use kafka::AfterLast::{Hold, Release};
use kafka::retry::{self, Decided, Operator, State, Target};

use super::world::{Act, Note, World, note};
use crate::support::eventually;

fn by(who: &str) -> Operator {
    Operator { who: who.to_owned(), why: "the fault is mended".to_owned() }
}

note!(Mended, "mended.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_sent_back_runs_before_its_followers_and_acts_once() {
    let world = World::new::<Mended>("decide_mended").await;
    world.script.say(1, Act::Permanent);
    let member = world.member::<Mended>(Hold).await;
    for n in 1..=3 {
        world.write::<Mended>("a", n).await;
    }
    let dead = world.wait_state(State::Dead, 1).await;
    world.script.say(1, Act::Pass);
    let target = Target::from(&dead[0]);
    let units = &world.bench.units;
    let (targets, one, two) = ([target], by("one"), by("two"));
    let both = tokio::join!(retry::redrive(units, &targets, &one), retry::redrive(units, &targets, &two));
    let mut outcomes = [both.0.unwrap()[0], both.1.unwrap()[0]];
    outcomes.sort_by_key(|decided| decided.as_str());
    assert!(
        outcomes.contains(&Decided::Done) && (outcomes.contains(&Decided::Changed) || outcomes.contains(&Decided::Gone)),
        "{outcomes:?}"
    );
    world.wait_seen("a", &[1, 2, 3]).await;
    world.wait_empty().await;
    assert_eq!(retry::redrive(units, &[target], &by("late")).await.unwrap(), [Decided::Gone]);
    let decisions = world.posts("dlq.decisions").await;
    assert_eq!(decisions.len(), 1);
    let decision: serde_json::Value = serde_json::from_slice(&decisions[0].1).unwrap();
    assert_eq!(
        (&decision["decision"], &decision["redrive_no"], &decision["why"]),
        (&"redriven".into(), &0.into(), &"the fault is mended".into())
    );
    world.end(member).await;
}

note!(Again, "again.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_dies_again_has_its_number_raised_and_can_be_skipped() {
    let world = World::new::<Again>("decide_again").await;
    world.script.say(1, Act::Permanent);
    let member = world.member::<Again>(Hold).await;
    world.write::<Again>("a", 1).await;
    world.write::<Again>("a", 2).await;
    let first = world.wait_state(State::Dead, 1).await;
    assert_eq!(retry::redrive(&world.bench.units, &[Target::from(&first[0])], &by("one")).await.unwrap(), [Decided::Done]);
    let second = eventually("it is dead again", || async {
        world.letters().await.into_iter().find(|letter| letter.state == State::Dead && letter.redrive_no == 1)
    })
    .await;
    assert_eq!(retry::skip(&world.bench.units, &[Target::from(&first[0])], &by("late")).await.unwrap(), [Decided::Changed]);
    assert_eq!(retry::skip(&world.bench.units, &[Target::from(&second)], &by("one")).await.unwrap(), [Decided::Done]);
    world.wait_seen("a", &[2]).await;
    world.wait_empty().await;
    let numbers: Vec<String> = world.posts("dlq").await.iter().map(|(headers, _)| headers["redrive-no"].clone()).collect();
    assert_eq!(numbers, ["0", "1"]);
    world.end(member).await;
}

note!(Edited, "edited.events");
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_letter_is_handled_with_its_new_bytes_under_its_own_id() {
    let world = World::new::<Edited>("decide_edited").await;
    let member = world.member::<Edited>(Hold).await;
    world.write_bytes("a", Some(b"\x01\x00\x00\x00\x01x")).await;
    world.write::<Edited>("a", 2).await;
    let dead = world.wait_state(State::Dead, 1).await;
    let value = world.bench.encode(&Edited::new("a", 1));
    assert_eq!(retry::edit(&world.bench.units, Target::from(&dead[0]), value.clone(), &by("one")).await.unwrap(), Decided::Done);
    world.wait_seen("a", &[1, 2]).await;
    let decision: serde_json::Value = serde_json::from_slice(&world.posts("dlq.decisions").await[0].1).unwrap();
    assert_eq!(decision["bytes"].as_str().unwrap().len(), value.len() * 2);
    assert_eq!(world.posts("dlq").await[0].1, b"\x01\x00\x00\x00\x01x", "the original stays on the dead-letter topic");
    world.end(member).await;
}

note!(Bulk, "bulk.events");
/// 300 released letters of 20 keys, two operators at once: each acts once, each key in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_letters_sent_back_by_two_operators_act_once_each_in_the_order_of_their_keys() {
    let world = World::new::<Bulk>("decide_bulk").await;
    for n in 0..300 {
        if n % 6 == 0 {
            world.script.say(n, Act::Permanent);
        }
    }
    let member = world.member::<Bulk>(Release).await;
    for n in 0..300 {
        world.write::<Bulk>(&format!("k-{}", n % 20), n).await;
    }
    let dead = world.wait_state(State::Dead, 50).await;
    for n in 0..300 {
        world.script.say(n, Act::Pass);
    }
    let operator = |who: &'static str| {
        let (units, targets) = (world.bench.units.clone(), dead.iter().map(Target::from).collect::<Vec<_>>());
        tokio::spawn(async move {
            let mut done = 0;
            for some in targets.chunks(7) {
                let decided = retry::redrive(&units, some, &by(who)).await.unwrap();
                done += decided.iter().filter(|decided| **decided == Decided::Done).count();
            }
            done
        })
    };
    let (one, two) = (operator("one"), operator("two"));
    assert_eq!(one.await.unwrap() + two.await.unwrap(), 50);
    world.wait_empty().await;
    for key in 0..20 {
        let seen = world.seen(&format!("k-{key}")).await;
        let (late, first): (Vec<i64>, Vec<i64>) = seen.iter().partition(|n| *n % 6 == 0);
        let expected = |late: bool| (0..300).filter(|n| n % 20 == key && (n % 6 == 0) == late).collect::<Vec<i64>>();
        assert_eq!((first, late), (expected(false), expected(true)), "key {key}: {seen:?}");
    }
    world.end(member).await;
}
