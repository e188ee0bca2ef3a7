//! Answers that do not come: order-service runs with a step deadline of six seconds, which is long enough for
//! steps that are answered at all, on a busy machine.

use stack::Service;

use crate::client::Client;
use crate::system::Exclusive;

pub(crate) const SHORT: [(&str, &str); 2] = [("STEP_DEADLINE_MS", "6000"), ("DEADLINE_GRACE_MS", "500")];
pub(crate) const USUAL: [(&str, &str); 2] = [("STEP_DEADLINE_MS", "900000"), ("DEADLINE_GRACE_MS", "60000")];

#[tokio::test]
async fn a_hold_that_is_not_answered_in_time_cancels_the_order() {
    let system = Exclusive::enter().await;
    let client = system.client("late-hold");
    client.create(&["late-hold-1"], 100, 5).await;
    system.restart_orders_with(&SHORT).await;
    system.stack.stop(Service::Inventory).unwrap();
    let id = client.placed(&[("late-hold-1", 2)], "tok_ok").await;
    client.order_when(id, "is cancelled", |order| order["reason"] == "deadline").await;
    system.stack.cont(Service::Inventory).unwrap();
    Client::assert_ended(&client.ended(id).await, "CANCELLED", Some("deadline"));
    assert_eq!(client.available("late-hold-1").await, 5);
    system.restart_orders_with(&USUAL).await;
    system.verdict().await;
}

#[tokio::test]
async fn a_capture_that_is_not_answered_in_time_is_voided() {
    let system = Exclusive::enter().await;
    let client = system.client("late-capture");
    client.create(&["late-capture-1"], 100, 5).await;
    system.restart_orders_with(&SHORT).await;
    system.stack.stop(Service::Payments).unwrap();
    let id = client.placed(&[("late-capture-1", 2)], "tok_ok").await;
    let sent = "SELECT count(*) FROM events WHERE stream = 'saga-' || $1 AND payload::text LIKE '%' || encode('in_doubt', 'hex') || '%'";
    system.seen("the capture is in doubt", "orders", sent, &id.to_string()).await;
    system.stack.cont(Service::Payments).unwrap();
    Client::assert_ended(&client.ended(id).await, "CANCELLED", Some("deadline"));
    assert_eq!(client.available("late-capture-1").await, 5);
    system.restart_orders_with(&USUAL).await;
    system.verdict().await;
}

/// After the pivot nothing is undone: the saga is listed as stuck and goes on when the answer comes after all.
#[tokio::test]
async fn a_commit_that_is_not_answered_in_time_is_stuck_until_it_is() {
    let system = Exclusive::enter().await;
    let client = system.client("stuck");
    client.create(&["stuck-1"], 100, 5).await;
    system.restart_orders_with(&SHORT).await;
    let id = client.placed(&[("stuck-1", 2)], "tok_slow").await;
    system
        .seen("the stock is held", "inventory", "SELECT count(*) FROM holds WHERE order_id::text = $1 AND state = 'held'", &id.to_string())
        .await;
    system.stack.stop(Service::Inventory).unwrap();
    client.order_when(id, "is stuck", |order| order["status"] == "STUCK").await;
    assert_eq!(client.cancel(id).await.expect(409).code(), "order_already_confirmed");
    system.stack.cont(Service::Inventory).unwrap();
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    assert_eq!(client.available("stuck-1").await, 3);
    system.restart_orders_with(&USUAL).await;
    system.verdict().await;
}
