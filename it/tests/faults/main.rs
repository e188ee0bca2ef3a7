//! Every fault at CI's size; `LONG=1` (`./test --long`) runs them at full size. `cargo run -p it -- faults <name>` runs one.

use it::faults::{self, Options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_under_every_fault() {
    #[expect(clippy::disallowed_methods, reason = "`./test --long` tells the tests so")]
    let long = std::env::var("LONG").is_ok();
    let options = Options { seed: 4_711, long, ..Options::default() };
    let mut say = |line: &str| {
        eprintln!("{line}");
        Ok(())
    };
    let outcomes = faults::run(faults::ALL, options, &mut say).await.unwrap();
    let broken: Vec<&str> = outcomes.iter().filter(|(_, outcome)| !outcome.passed()).map(|(fault, _)| fault.name).collect();
    assert!(broken.is_empty(), "broken: {broken:?}");
}
