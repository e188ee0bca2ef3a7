//! The relay on a real broker and a real database.

mod world;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kafka::relay::{self, Position};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sqlx::Connection as _;
use world::{Dice, World, Writers};

/// Environment of [`a_relay_process`]: service, bootstrap servers and database URL, separated by spaces.
const CHILD: &str = "RELAY_TEST_CHILD";

/// Waits for a condition, at most 30 s.
async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !met() {
        assert!(Instant::now() < deadline, "{what} did not happen in 30 s");
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
    let config = relay::Config { service: part(), bootstrap: part(), client_options: Vec::new(), connect: part().parse().unwrap() };
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let thread = relay::spawn(config, tokio::runtime::Handle::current(), Arc::default(), Arc::default(), stopped);
    // Ends with its parent, whose death closes the pipe.
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await.unwrap().unwrap();
    drop(thread);
    std::process::abort();
}

fn relay_process(world: &World, url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["relay::a_relay_process", "--exact", "--nocapture"])
        .env(CHILD, format!("{} {} {url}", world.service, world.config.bootstrap))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}
