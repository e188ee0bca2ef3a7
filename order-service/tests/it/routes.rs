//! The route table as a person reads it.

use order_service::{routes::routes, steer::OrderSaga};
use schemas::topics;

#[test]
fn the_table_is_the_agreed_one() {
    let saga = OrderSaga::new(order_domain::order_saga().unwrap());
    assert_eq!(routes(&saga).table(), include_str!("golden/routes.txt"));
}

#[test]
fn every_message_of_the_topics_it_reads_is_handled_or_ignored() {
    let table = routes(&OrderSaga::new(order_domain::order_saga().unwrap())).table();
    for service in [topics::INVENTORY, topics::PAYMENTS] {
        for entry in topics::records_of(service) {
            assert!(table.contains(&format!("{} · {} · ", entry.topic, entry.full_name)), "{}", entry.full_name);
        }
    }
}
