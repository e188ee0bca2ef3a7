//! The faults of [`CI`] at CI's size; `LONG=1` (`./test --long`) runs every fault at full size, then every sabotage.
//! `cargo run -p it -- faults <name>` runs one.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking, as the tests themselves do"
)]

mod sabotage;

use it::faults::{self, Fault, Options};

/// Faults that have been clean on a machine with nothing else to do. The others judge their limits by the clock as well and join when
/// they have been (it/RESULTS.md, it/RETRIES.md say what is owed): a test that is red for the machine's sake teaches to look away.
const CI: [&str; 12] = ["F1", "F2", "F3", "F3b", "F4", "F6", "F7", "F8", "F14", "F15", "F19", "F26"];

/// One after the other: what they measure must not be each other's load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_under_faults_and_sabotages_are_caught() {
    #[expect(clippy::disallowed_methods, reason = "`./test --long` tells the tests so")]
    let long = std::env::var("LONG").is_ok();
    let options = Options { seed: 4_711, long, ..Options::default() };
    let mut say = |line: &str| {
        eprintln!("{line}");
        Ok(())
    };
    let chosen: Vec<Fault> = faults::ALL.iter().filter(|fault| long || CI.contains(&fault.name)).copied().collect();
    let outcomes = faults::run(&chosen, options, &mut say).await.unwrap();
    let broken: Vec<&str> = outcomes.iter().filter(|(_, outcome)| !outcome.passed()).map(|(fault, _)| fault.name).collect();
    if long {
        sabotage::every_sabotage_is_caught().await;
    }
    assert!(broken.is_empty(), "broken: {broken:?}");
}
