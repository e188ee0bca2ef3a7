//! Every fault at CI's size, then every sabotage; `LONG=1` (`./test --long`) runs the faults at full size.
//! `cargo run -p it -- faults <name>` runs one.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking, as the tests themselves do"
)]

mod sabotage;

use it::faults::{self, Options};

/// One after the other: what they measure must not be each other's load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_under_every_fault_and_every_sabotage_is_caught() {
    #[expect(clippy::disallowed_methods, reason = "`./test --long` tells the tests so")]
    let long = std::env::var("LONG").is_ok();
    let options = Options { seed: 4_711, long, ..Options::default() };
    let mut say = |line: &str| {
        eprintln!("{line}");
        Ok(())
    };
    let outcomes = faults::run(faults::ALL, options, &mut say).await.unwrap();
    let broken: Vec<&str> = outcomes.iter().filter(|(_, outcome)| !outcome.passed()).map(|(fault, _)| fault.name).collect();
    sabotage::every_sabotage_is_caught().await;
    assert!(broken.is_empty(), "broken: {broken:?}");
}
