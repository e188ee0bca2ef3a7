//! The example does what it says, in no more lines than it promises.

#[path = "../../examples/trip.rs"]
#[expect(dead_code, reason = "the example's main is another program's")]
mod trip;

use crate::support::stack;

#[tokio::test]
async fn a_trip_is_booked_and_another_one_is_undone() {
    let ended = trip::play(stack().await, &["ann", "poor-bob"]).await.unwrap();
    assert_eq!(ended, ["confirmed", "cancelled"]);
    assert!(include_str!("../../examples/trip.rs").lines().count() <= 150, "an example that is longer is not read");
}
