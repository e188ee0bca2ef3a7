//! The checker's own proof: generated clean worlds raise no alarm, and every planted corruption is named by the right
//! invariant with the right id.

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the figures of a miniature are small"
)]
mod builder;
mod planted;

use proptest::prelude::*;

use super::{Report, World, check};
use builder::{Builder, Shape};

fn assert_clean(world: &World) -> Report {
    let report = check(world);
    assert!(report.clean(), "{report}");
    report
}

#[test]
fn a_clean_world_is_clean_and_every_invariant_is_really_checked() {
    let world = Builder::build(7, Shape { orders: 200, ..Shape::default() });
    let report = assert_clean(&world);
    for finding in &report.findings {
        assert!(finding.checked > 100, "{} compared only {} things", finding.invariant, finding.checked);
        assert_eq!(finding.note, None);
    }
}

#[test]
fn an_empty_world_is_clean() {
    assert_clean(&World::default());
}

#[test]
fn without_an_http_log_the_report_says_what_was_not_judged() {
    let world = World { http: None, ..Builder::build(1, Shape::default()) };
    let report = assert_clean(&world);
    assert_eq!(report.findings[0].checked, 0);
    assert!(report.to_string().contains("not checked"), "{report}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_clean_world_raises_a_false_alarm(
        seed in any::<u64>(), orders in 0_usize..60, skus in 1_usize..12, partitions in 1_i32..7, aborts in 0_u64..60, stock in 1_i64..60,
    ) {
        let world = Builder::build(seed, Shape { orders, skus, partitions, aborts_percent: aborts, stock });
        let report = check(&world);
        prop_assert!(report.clean(), "{}", report);
    }
}

/// Not a benchmark, only a guard against quadratic work: the month of baskets has twelve times as many orders.
#[test]
fn a_thousand_orders_are_judged_at_once() {
    let world = Builder::build(3, Shape { orders: 1_000, skus: 200, stock: 500, ..Shape::default() });
    let since = std::time::Instant::now();
    assert_clean(&world);
    assert!(since.elapsed() < std::time::Duration::from_secs(10), "took {:?}", since.elapsed());
}

/// A repeat that says why it is there is set aside, one that does not is named, and so is one that is not the same record.
#[test]
fn only_a_recorded_repeat_of_the_very_same_record_is_no_repeat() {
    let clean = Builder::build(5, Shape::default());
    let again = |change: fn(&mut super::world::Record)| {
        let mut world = clean.clone();
        let mut record = world.records.last().unwrap().clone();
        record.offset += 1;
        change(&mut record);
        world.records.push(record);
        world.set_recorded_repeats_aside();
        check(&world)
    };
    let because = |record: &mut super::world::Record| record.headers.repeated_because = Some("transaction_hanging".into());
    assert!(again(because).clean(), "{}", again(because));
    assert!(!again(|_| {}).clean());
    assert!(
        !again(|record| {
            record.headers.repeated_because = Some("transaction_hanging".into());
            record.hash = [7; 32];
        })
        .clean()
    );
}

/// The checker names none of our own crates: a mistake in the runtime could hide itself here.
#[test]
fn the_checker_is_an_outsider() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checker")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for ours in ["kafka", "schemas", "stack", "saga"] {
                let used = [format!("use {ours}::"), format!(" {ours}::"), format!("({ours}::"), format!("<{ours}::")];
                let named = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .any(|line| used.iter().any(|used| line.contains(used)));
                assert!(!named, "{} names crate {ours}", path.display());
            }
        }
    }
}
