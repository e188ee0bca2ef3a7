//! The relay on a real broker and a real database.

mod faults;
mod proxy;
mod world;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kafka::relay;
use sqlx::Connection as _;
use world::{Dice, World, Writers};

/// Environment of [`a_relay_process`]: service, bootstrap servers and database URL, separated by spaces.
const CHILD: &str = "RELAY_TEST_CHILD";

/// Waits for a condition, at most two minutes: other tests share the machine.
async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !met() {
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_published_once_in_order_with_their_chain() {
    let world = Arc::new(World::new("plain").await);
    let running = world.relay();
    let writers = Writers::start(&world, 8, Some(Arc::clone(&running.wake)));
    until("3,000 commits", || writers.committed.load(Ordering::Relaxed) >= 3_000).await;
    writers.finish().await;
    world.drained().await;
    let rows = world.judge().await;
    let status = Arc::clone(&running.status);
    running.stop().await.unwrap();
    assert!(status.gaps_settled() > 0, "no rollback left a gap");
    assert_eq!((status.doubts(), status.fenced(), status.last_error_code()), (0, 0, None));
    assert_eq!(usize::try_from(status.rows()).unwrap(), rows);
    assert!(!status.owner());
}

/// Body of the processes that the next test kills; does nothing in an ordinary run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_process() {
    #[expect(clippy::disallowed_methods, reason = "the parent test tells its child what to be")]
    let Ok(config) = std::env::var(CHILD) else { return };
    let mut parts = config.split(' ');
    let mut part = || parts.next().unwrap().to_owned();
    let config = relay::Config { service: part(), bootstrap: part(), login: None, connect: part().parse().unwrap() };
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let thread = relay::spawn(config, tokio::runtime::Handle::current(), Arc::default(), Arc::default(), stopped);
    // Ends with its parent, whose death closes the pipe.
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await.unwrap().unwrap();
    drop(thread);
    std::process::abort();
}

/// A relay in a process of its own, killed at the latest when it goes out of scope.
struct Process(Child);

impl Process {
    fn start(world: &World) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["relay::a_relay_process", "--exact", "--nocapture"])
            .env(CHILD, format!("{} {} {}", world.service, world.config.bootstrap, world.url))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Waits until more has been published than at `cursor`; the new cursor.
async fn progress(world: &World, cursor: i64) -> i64 {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let position = relay::check(&world.config).await.unwrap();
        if position.cursor > cursor {
            return position.cursor;
        }
        assert!(Instant::now() < deadline, "nothing was published behind {cursor} for two minutes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_killed_again_and_again_loses_and_repeats_nothing() {
    const KILLS: u32 = 12;
    let world = Arc::new(World::new("killed").await);
    let writers = Writers::start(&world, 4, None);
    let mut dice = Dice(4_711);
    let mut cursor = 0;
    for _ in 0..KILLS {
        let process = Process::start(&world);
        cursor = progress(&world, cursor).await;
        tokio::time::sleep(Duration::from_millis(dice.roll(60))).await;
        drop(process);
    }
    writers.finish().await;
    let _last = Process::start(&world);
    world.drained().await;
    assert!(world.judge().await > 1_000);
}

/// The lock decides who tries, the transactional ids decide who may: a relay that was stopped for so long that another
/// one took over wakes up in the middle of a transaction, and nothing of that becomes visible.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_that_wakes_up_writes_nothing() {
    let world = Arc::new(World::new("zombie").await);
    let writers = Writers::start(&world, 4, None);
    let zombie = Process::start(&world);
    progress(&world, 0).await;
    zombie.signal("-STOP");
    let successor = world.relay();
    until("the successor takes over", || successor.status.owner()).await;
    let taken_over_at = successor.status.cursor().unwrap();
    zombie.signal("-CONT");
    until("the successor publishes", || successor.status.cursor().unwrap() > taken_over_at + 100 * 8_192).await;
    writers.finish().await;
    world.drained().await;
    world.judge().await;
    assert_eq!(successor.status.fenced(), 0, "the zombie fenced its successor");
    successor.stop().await.unwrap();
}

/// Two relays that both believe to own the topics, again and again: the sessions that hold the lock are ended under them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_at_once_publish_nothing_twice() {
    let world = Arc::new(World::new("duel").await);
    let writers = Writers::start(&world, 4, None);
    let relays = [world.relay(), world.relay()];
    let mut db = world.db().await;
    let mut owners = 0;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(15) {
        until("somebody owns the relay", || relays.iter().any(|relay| relay.status.owner())).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        owners = owners.max(relays.iter().filter(|relay| relay.status.owner()).count());
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
             WHERE locktype = 'advisory' AND granted AND datname = current_database()",
        )
        .execute(&mut db)
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        owners = owners.max(relays.iter().filter(|relay| relay.status.owner()).count());
    }
    writers.finish().await;
    world.drained().await;
    assert!(world.judge().await > 1_000);
    let fenced: u64 = relays.iter().map(|relay| relay.status.fenced()).sum();
    assert!(fenced > 0, "no relay was fenced: the test does not test what it says");
    for relay in relays {
        relay.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_holds_back_what_is_behind_it_until_it_ends() {
    let world = World::new("gap").await;
    let running = world.relay();
    let (mut first, mut second) = (world.db().await, world.db().await);
    for commits in [true, false, true, false] {
        until("the relay publishes", || running.status.owner()).await;
        let mut open = first.begin().await.unwrap();
        let missing = world.append(&mut open, 1, 1, 2).await;
        let visible = world.append(&mut second, 2, 1, 2).await;
        running.wake.notify_one();
        // A read that began before the append may still be noted; from the one that saw it on, nothing is.
        until("the relay sees what it may not publish", || !running.status.oldest_unsent_age().is_zero()).await;
        let before = running.status.published_before_micros();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let cursor = running.status.cursor().unwrap();
        assert!(cursor < missing * 8_192, "block {visible} was published although {missing} is still open");
        assert!(running.status.oldest_unsent_age() >= Duration::from_millis(250));
        assert_eq!(running.status.published_before_micros(), before, "what is committed is not all published");
        let settled = running.status.gaps_settled();
        let ended = Instant::now();
        if commits {
            open.commit().await.unwrap();
        } else {
            open.rollback().await.unwrap();
        }
        until("the block behind the gap is published", || running.status.cursor().unwrap() > visible * 8_192).await;
        assert!(ended.elapsed() < Duration::from_secs(3), "settled only after {:?}", ended.elapsed());
        until("the read behind it is noted", || running.status.published_before_micros() > before).await;
        assert_eq!(running.status.gaps_settled() - settled, u64::from(!commits));
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_transaction_is_published_whole_and_a_backlog_in_batches() {
    let world = World::new("large").await;
    let mut db = world.db().await;
    world.append(&mut db, 1, 1, 999).await;
    let mut rolled_back = db.begin().await.unwrap();
    world.append(&mut rolled_back, 2, 1, 3).await;
    rolled_back.rollback().await.unwrap();
    world.append(&mut db, 1, 2, 5_000).await;
    world.append(&mut db, 1, 3, 1).await;
    world.append(&mut db, 1, 4, 5_000).await;
    let running = world.relay();
    world.drained().await;
    assert_eq!(world.judge().await, 11_000);
    assert!(running.status.transactions() >= 3);
    assert_eq!(running.status.gaps_settled(), 1);
    running.stop().await.unwrap();
}

/// Ends with the error, under the code that its page in `docs/errors/` has, for every process and for the owner.
async fn refuses(world: &World, code: &str) {
    let checked = relay::check(&world.config).await.unwrap_err();
    assert_eq!((checked.code(), checked.is_final()), (code, true));
    let running = world.relay();
    let status = Arc::clone(&running.status);
    assert_eq!(running.ended().await.unwrap_err().code(), code);
    assert_eq!((status.owner(), status.last_error_code(), status.transactions()), (false, Some(code), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_a_database_that_is_not_the_one_it_published() {
    let world = World::new("refuse").await;
    let mut db = world.db().await;
    world.append(&mut db, 1, 1, 3).await;
    let running = world.relay();
    world.drained().await;
    running.stop().await.unwrap();
    let position = relay::check(&world.config).await.unwrap();
    assert_eq!(position.cursor, 8_192 + 3);

    let restore = "UPDATE db_identity SET incarnation = $1";
    sqlx::query(restore).bind(uuid::Uuid::from_u128(1)).execute(&mut db).await.unwrap();
    refuses(&world, "incarnation_mismatch").await;
    sqlx::query(restore).bind(world.incarnation).execute(&mut db).await.unwrap();
    relay::check(&world.config).await.unwrap();

    // Restored to the past, and then the same ids were given to other messages.
    sqlx::query("UPDATE outbox SET message_id = gen_random_uuid() WHERE id = $1").bind(position.cursor).execute(&mut db).await.unwrap();
    refuses(&world, "database_restored").await;
    sqlx::query("DELETE FROM outbox").execute(&mut db).await.unwrap();
    refuses(&world, "database_restored").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_relay_stops_when_its_database_is_replaced() {
    let world = World::new("replaced").await;
    let running = world.relay();
    until("it runs", || running.status.owner()).await;
    let mut db = world.db().await;
    sqlx::query("UPDATE db_identity SET incarnation = gen_random_uuid()").execute(&mut db).await.unwrap();
    // The old connection knows nothing of it; every new one looks.
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1")
        .bind(format!("{}.relay", world.service))
        .execute(&mut db)
        .await
        .unwrap();
    assert_eq!(running.ended().await.unwrap_err().code(), "incarnation_mismatch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_position_is_written_once_and_only_for_an_unused_service() {
    let world = World::without_position("setup").await;
    let topics = [world.events, world.commands];
    refuses(&world, "position_missing").await;
    let mut db = world.db().await;
    world.append(&mut db, 1, 1, 1).await;
    let error = relay::write_first_position(&world.config, &topics).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().starts_with("the outbox")), ("position_lost", true));
    sqlx::query("DELETE FROM outbox").execute(&mut db).await.unwrap();
    let (one, other) =
        tokio::join!(relay::write_first_position(&world.config, &topics), relay::write_first_position(&world.config, &topics));
    assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
    relay::write_first_position(&world.config, &topics).await.unwrap();
    assert_eq!(relay::check(&world.config).await.unwrap(), relay::Position::first(world.incarnation));
    assert_eq!(world.positions().await.len(), 1);

    // A second look at a service that runs: nothing is fenced, nothing is written.
    let running = world.relay();
    world.append(&mut db, 1, 2, 1).await;
    world.drained().await;
    relay::write_first_position(&world.config, &topics).await.unwrap();
    world.append(&mut db, 1, 3, 1).await;
    world.drained().await;
    assert_eq!((running.status.fenced(), running.status.doubts()), (0, 0));
    running.stop().await.unwrap();
}
