//! The service's parts on a real PostgreSQL: messages are handled as the consumer would, HTTP through actix.

mod holds;
mod http;
mod world;

#[test]
fn the_route_table_is_the_one_on_record() {
    assert_eq!(crate::routes().table(), include_str!("routes.txt"));
}
