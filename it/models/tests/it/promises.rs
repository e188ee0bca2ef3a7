//! The protocols as they are: exhaustive within the bounds of each case.

use models::cases::{CONSUMER, RELAY};
use models::consumer::{Consumer, Defences, NOT_REFUSED, ONCE, ONLY_THE_OWNER, PLAIN, REWOUND};
use models::story::{Tell, shortest};
use stateright::Checker;

/// Every promise holds in every state, and every state that must be come through is reached.
fn search<M>(model: M)
where
    M: Tell + Clone + std::fmt::Debug + Send + Sync + 'static,
    M::State: std::hash::Hash + std::fmt::Debug + Send + Sync,
    M::Action: std::fmt::Debug,
{
    let searched = model.clone().checker().threads(2).spawn_bfs().join();
    println!("{} states, at most {} steps deep: {model:?}", searched.unique_state_count(), searched.max_depth());
    searched.assert_properties();
}

#[test]
fn two_rows_of_one_transaction_beside_one_row_with_three_starts() {
    search(RELAY[0]);
}

#[test]
fn two_rows_of_one_transaction_beside_one_row_with_two_held_up_requests() {
    search(RELAY[1]);
}

#[test]
fn three_transactions_of_one_row_two_of_them_of_one_aggregate() {
    search(RELAY[2]);
}

#[test]
fn two_members_handle_every_record_once() {
    CONSUMER.into_iter().for_each(search);
}

/// Which defence stands for what: each of these is broken only by leaving out more than one.
#[test]
fn one_defence_stands_in_for_another() {
    let holds = |defences: Defences, log, only| shortest(Consumer { defences, log, takes: 3, only: Some(only) }).is_none();
    assert!(holds(Defences { epoch: false, ..Defences::ALL }, REWOUND, ONCE), "the offset alone keeps effects single");
    let no_offset = Defences { offset: false, ..Defences::ALL };
    for promise in [ONCE, ONLY_THE_OWNER, NOT_REFUSED] {
        assert!(holds(no_offset, REWOUND, promise), "the epoch alone keeps: {promise}");
    }
    let kafka = Defences { row: false, ..Defences::ALL };
    assert!(holds(kafka, REWOUND, ONCE), "a wrong start is refused");
    assert!(holds(Defences { offset: false, ..kafka }, REWOUND, ONCE), "the chain skips what was handled");
    assert!(holds(Defences { chain: false, ..kafka }, PLAIN, ONCE), "the offset refuses what was handled");
}
