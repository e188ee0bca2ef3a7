//! Each defence switched off: a promise must fall, and the way there is printed.

use models::cases::{self, Case};

fn falls(case: Case) {
    let story = case.shortest().unwrap_or_else(|| panic!("{}: every promise holds without it", case.name));
    println!("{}. {}\n\n{}", case.name, case.without, story.markdown());
}

#[test]
fn order_by_xid_breaks_the_order_of_an_aggregate() {
    falls(cases::XID_ORDER);
}

#[test]
fn without_the_doubt_rule_rows_are_lost() {
    falls(cases::NO_DOUBT_RULE);
}

#[test]
fn without_the_doubt_rule_transactions_are_torn() {
    falls(cases::NO_DOUBT_RULE_TORN);
}

#[test]
fn a_slow_commit_that_is_trusted_repeats_rows() {
    falls(cases::SLOW_IS_GOOD);
}

#[test]
fn a_position_outside_the_transaction_repeats_rows() {
    falls(cases::POSITION_OUTSIDE);
}

#[test]
fn a_position_outside_the_transaction_breaks_the_chain() {
    falls(cases::POSITION_OUTSIDE_CHAIN);
}

#[test]
fn naive_id_order_loses_rows() {
    falls(cases::NAIVE_ID_ORDER);
}

#[test]
fn a_barrier_taken_from_the_snapshot_loses_rows() {
    falls(cases::SNAPSHOT_BARRIER);
}

#[test]
fn without_the_epoch_check_a_zombie_writes() {
    falls(cases::NO_EPOCH_CHECK);
}

#[test]
fn without_any_check_of_the_row_effects_happen_twice() {
    falls(cases::NO_ROW_CHECK);
}

#[test]
fn a_start_from_kafkas_offsets_stops_the_partition() {
    falls(cases::KAFKA_OFFSETS);
}

#[test]
fn kafkas_offsets_alone_repeat_effects() {
    falls(cases::ONLY_KAFKA_OFFSETS);
}

#[test]
fn without_the_chain_a_rewind_repeats_effects() {
    falls(cases::NO_CHAIN);
}
