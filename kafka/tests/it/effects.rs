//! Outside effects: called after their decision is committed, once at a time a stream, under one key, and undone in time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka::effects::State;
use kafka::retry::{self, Tiers};
use kafka::{Cause, EffectRow, Effects, Failure, MessageId, Needs, Unit, Units, worker};
use record::Record;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPool;
use tokio::sync::{Notify, watch};

use crate::support::{database, eventually, units_beside};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answered {
    step: String,
}

impl Record for Answered {
    const FULL_NAME: &'static str = "test.Answered";
    const SCHEMA: &'static str = r#"{"type":"record","name":"Answered","namespace":"test","fields":[{"name":"step","type":"string"}]}"#;
    const TOPIC: &'static str = "answered.events";
}

/// An outside that notes its calls, fails the first `failing` of them, and waits where a test wants it to.
struct Outside {
    calls: Mutex<Vec<(String, MessageId)>>,
    failing: AtomicUsize,
    gate: Option<Arc<Notify>>,
}

impl Effects<()> for Outside {
    type Answer = String;
    const STEPS: &'static [&'static str] = &["first", "second", "undo"];

    async fn call(&self, effect: &EffectRow) -> Result<String, Failure> {
        let count = {
            let mut calls = self.calls.lock().unwrap();
            calls.push((effect.step.clone(), effect.key));
            calls.len()
        };
        if let (Some(gate), "first") = (&self.gate, effect.step.as_str()) {
            gate.notified().await;
        }
        if count <= self.failing.load(Ordering::Relaxed) {
            Err(Failure::transient("busy", "the outside is busy"))
        } else {
            Ok(effect.step.clone())
        }
    }

    fn ask(&self, effect: &EffectRow, needs: &mut Needs<()>) {
        needs.stream(effect.stream.clone());
    }

    fn record(&self, unit: &mut Unit<()>, effect: &EffectRow, answer: &String) -> Result<(), Failure> {
        if effect.undo {
            return Ok(());
        }
        let count: i64 = unit.state(&effect.stream)?;
        unit.append(&effect.stream, "key", &Answered { step: answer.clone() }, &(count + 1)).map(drop)
    }

    fn give_up(&self, unit: &mut Unit<()>, effect: &EffectRow, failure: &Failure) -> Result<bool, Failure> {
        if effect.step == "undo" {
            return Ok(false);
        }
        let count: i64 = unit.state(&effect.stream)?;
        unit.append(&effect.stream, "key", &Answered { step: format!("{} failed: {}", effect.step, failure.code) }, &(count + 1))?;
        Ok(true)
    }
}

struct Running {
    units: Units,
    outside: Arc<Outside>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

async fn running(name: &str, failing: usize, gate: Option<Arc<Notify>>) -> Running {
    running_with(name, failing, gate, Tiers::default()).await
}

async fn running_with(name: &str, failing: usize, gate: Option<Arc<Notify>>, tiers: Tiers) -> Running {
    let pool = database(name).await;
    let worker = Arc::new(Notify::new());
    let own = [(Answered::FULL_NAME, Answered::SCHEMA, Answered::TOPIC)];
    let made = units_beside(pool.clone(), &own, 1, &retry::topic_names(name, &tiers)).await;
    let units = made.with_worker(Arc::clone(&worker)).with_retry(retry::Settings { group: name.to_owned(), tiers });
    let outside = Arc::new(Outside { calls: Mutex::default(), failing: AtomicUsize::new(failing), gate });
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(worker::run(units.clone(), Arc::clone(&outside), worker, stopped));
    Running { units, outside, stop, task }
}

impl Running {
    /// One unit that asks for `steps` on a stream, or undoes what was asked for first.
    async fn ask(&self, stream: &str, steps: &[&'static str], undo: bool) {
        let mut tx = self.units.begin().await.unwrap();
        let mut needs: Needs<()> = Needs::default();
        needs.effects(stream);
        let mut unit = self.units.load(&mut tx, needs).await.unwrap();
        unit.because(Cause::new(MessageId::external(stream, steps.first().copied().unwrap_or("undo")), "story"));
        if undo {
            unit.undo_effects(stream).unwrap();
        }
        for step in steps {
            unit.effect("saga", stream, step, &"request").unwrap();
        }
        self.units.store(&mut tx, &mut unit).await.unwrap();
        tx.commit().await.unwrap();
        self.units.committed(&mut unit);
    }

    fn pool(&self) -> &PgPool {
        self.units.pool()
    }

    async fn states(&self, stream: &str) -> Vec<(String, String)> {
        sqlx::query_as("SELECT step, state FROM effects WHERE stream = $1 ORDER BY pos").bind(stream).fetch_all(self.pool()).await.unwrap()
    }

    async fn wait_state(&self, stream: &str, step: &str, state: State) {
        eventually(&format!("{step} of {stream} is {state:?}"), || async {
            self.states(stream).await.contains(&(step.to_owned(), state.as_str().to_owned())).then_some(())
        })
        .await;
    }

    fn calls(&self) -> Vec<String> {
        self.outside.calls.lock().unwrap().iter().map(|(step, _)| step.clone()).collect()
    }

    async fn events(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(self.pool()).await.unwrap()
    }

    async fn end(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(20), self.task).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quick_tries_use_one_key_and_the_answer_is_recorded_once() {
    let running = running("effects_quick", 2, None).await;
    running.ask("s-1", &["first"], false).await;
    running.wait_state("s-1", "first", State::Done).await;
    let keys: std::collections::HashSet<MessageId> = running.outside.calls.lock().unwrap().iter().map(|(_, key)| *key).collect();
    assert_eq!((running.calls().len(), keys.len(), running.events().await), (3, 1, 1));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_whose_tries_fail_waits_and_is_called_again() {
    let running = running("effects_again", 4, None).await;
    running.ask("s-1", &["first"], false).await;
    running.wait_state("s-1", "first", State::Unknown).await;
    assert_eq!(running.calls().len(), 4, "one call and three quick tries");
    let (attempt, waits): (i32, bool) =
        sqlx::query_as("SELECT attempt, due_at > now() FROM effects").fetch_one(running.pool()).await.unwrap();
    assert_eq!((attempt, waits), (1, true));
    sqlx::query("UPDATE effects SET due_at = now()").execute(running.pool()).await.unwrap();
    running.wait_state("s-1", "first", State::Done).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_of_a_stream_are_called_one_at_a_time_in_order_and_streams_do_not_wait_for_each_other() {
    let gate = Arc::new(Notify::new());
    let running = running("effects_order", 0, Some(Arc::clone(&gate))).await;
    running.ask("s-1", &["first", "second"], false).await;
    eventually("the first is called", || async { (running.calls() == ["first"]).then_some(()) }).await;
    running.ask("s-2", &["second"], false).await;
    running.wait_state("s-2", "second", State::Done).await;
    assert_eq!(running.calls(), ["first", "second"], "the other stream's, not ours");
    gate.notify_one();
    running.wait_state("s-1", "second", State::Done).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undoing_drops_what_waits_marks_what_is_called_and_its_own_effect_comes_last() {
    let gate = Arc::new(Notify::new());
    let running = running("effects_undo", 0, Some(Arc::clone(&gate))).await;
    running.ask("s-1", &["first", "second"], false).await;
    eventually("the first is called", || async { (running.calls() == ["first"]).then_some(()) }).await;
    running.ask("s-1", &["undo"], true).await;
    running.wait_state("s-1", "second", State::Dropped).await;
    assert_eq!(running.calls(), ["first"], "the undo waits for the call under way");
    gate.notify_one();
    running.wait_state("s-1", "undo", State::Done).await;
    assert_eq!(running.calls(), ["first", "undo"]);
    assert_eq!(running.events().await, 1, "only the undo's answer stands");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ran_out_is_taken_again_under_the_same_key() {
    let running = running("effects_lease", 0, None).await;
    sqlx::query(
        "INSERT INTO effects (stream, step, cause, correlation_id, key, request, state, lease_until)
         VALUES ('s-1', 'first', gen_random_uuid(), 'story', $1, '\"request\"', 'calling', now() - interval '1 second')",
    )
    .bind(MessageId::of_step("saga", "first").uuid())
    .execute(running.pool())
    .await
    .unwrap();
    running.wait_state("s-1", "first", State::Done).await;
    assert_eq!(running.outside.calls.lock().unwrap().as_slice(), [("first".to_owned(), MessageId::of_step("saga", "first"))]);
    running.end().await;
}

/// Two writers meet on a stream that has no event yet: the second must see what the first decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_meet_before_the_first_event_see_each_other() {
    let running = running("effects_meet", 0, None).await;
    let units = &running.units;
    let needs = || {
        let mut needs: Needs<()> = Needs::default();
        needs.stream("s-1");
        needs.effects("s-1");
        needs
    };
    let mut first = units.begin().await.unwrap();
    let mut unit = units.load(&mut first, needs()).await.unwrap();
    let second = tokio::spawn({
        let (units, needs) = (units.clone(), needs());
        async move {
            let mut tx = units.begin().await.unwrap();
            let mut unit = units.load(&mut tx, needs).await.unwrap();
            (unit.version("s-1").unwrap(), unit.state::<i64>("s-1").unwrap())
        }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("the second writer waits", || async {
        let waiting: i64 = sqlx::query_scalar(waits).fetch_one(running.pool()).await.unwrap();
        (waiting == 1).then_some(())
    })
    .await;
    unit.because(Cause::new(MessageId::external("s-1", "first"), "story"));
    unit.append("s-1", "key", &Answered { step: "first".to_owned() }, &7_i64).unwrap();
    units.store(&mut first, &mut unit).await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), (1, 7));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_whose_last_try_fails_tells_its_saga_once_and_is_a_dead_letter() {
    let running = running_with("effects_given_up", usize::MAX, None, Tiers::parse("30,60", None).unwrap()).await;
    running.ask("s-1", &["first"], false).await;
    running.wait_state("s-1", "first", State::Dead).await;
    assert_eq!((running.calls().len(), running.events().await), (3 * 4, 1), "three rounds of one call and three quick tries");
    let mut db = running.pool().acquire().await.unwrap();
    let letters = retry::list(&mut db, "effects_given_up", &retry::Filter::default(), 10).await.unwrap();
    assert_eq!(
        letters.iter().map(|letter| (letter.topic.as_str(), letter.state, letter.attempt)).collect::<Vec<_>>(),
        [("effect/first", retry::State::Dead, 3)]
    );
    let by = retry::Operator { who: "test".to_owned(), why: "looked at".to_owned() };
    let target = [retry::Target::from(&letters[0])];
    assert_eq!(retry::redrive(&running.units, &target, &by).await.unwrap(), [retry::Decided::OnlySkip]);
    assert_eq!(retry::skip(&running.units, &target, &by).await.unwrap(), [retry::Decided::Done]);
    let told: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE topic = 'effects_given_up.dlq'").fetch_one(running.pool()).await.unwrap();
    assert_eq!(told, 1);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undoing_effect_has_no_last_try() {
    let running = running_with("effects_endless", 30, None, Tiers::parse("30,60", None).unwrap()).await;
    running.ask("s-1", &["undo"], false).await;
    running.wait_state("s-1", "undo", State::Done).await;
    let attempts: i32 = sqlx::query_scalar("SELECT attempt FROM effects").fetch_one(running.pool()).await.unwrap();
    assert!(attempts > 3, "{attempts} rounds failed, three is the limit of others");
    running.end().await;
}

/// The outside is away for longer than all tries together would last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_outside_is_away_few_calls_are_made_and_nothing_is_given_up() {
    let running = running_with("effects_away", usize::MAX, None, Tiers::parse("100,400", None).unwrap()).await;
    for n in 0..60 {
        running.ask(&format!("s-{n}"), &["first"], false).await;
    }
    let attempts = "SELECT count(*) FILTER (WHERE state = 'dead'), max(attempt) FROM effects";
    eventually("calls have ceased but for probes", || async {
        let before = running.calls().len();
        tokio::time::timeout(Duration::from_millis(1_500), std::future::pending::<()>()).await.unwrap_err();
        let made = running.calls().len() - before;
        ((1..=12).contains(&made)).then_some(())
    })
    .await;
    let (dead, most): (i64, i32) = sqlx::query_as(attempts).fetch_one(running.pool()).await.unwrap();
    assert!(dead == 0 && most < 3, "{dead} dead, at most {most} tries counted");
    running.outside.failing.store(0, Ordering::Relaxed);
    for n in 0..60 {
        running.wait_state(&format!("s-{n}"), "first", State::Done).await;
    }
    assert_eq!(running.events().await, 60);
    running.end().await;
}
