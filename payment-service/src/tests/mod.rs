//! The service's parts on a real PostgreSQL: messages are handled as the consumer would, effects are called by the runtime's
//! worker, the provider is the simulator with its own database.

mod payments;
mod simulator;
mod world;

#[test]
fn the_route_table_is_the_one_on_record() {
    assert_eq!(crate::routes().table(), include_str!("routes.txt"));
}
