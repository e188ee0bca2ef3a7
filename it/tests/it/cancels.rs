//! The customer changes their mind at every moment. Moments are made by pausing (SIGSTOP) the service whose answer is due.

use stack::Service;
use uuid::Uuid;

use crate::client::Client;
use crate::system::{Exclusive, System};

/// Waits until the saga has sent `CapturePayment`: from then on the payment is in doubt.
async fn capture_is_sent(system: &System, id: Uuid) {
    let sent = "SELECT count(*) FROM outbox WHERE topic = 'payments.commands' AND encode(key, 'escape') = $1";
    system.seen("CapturePayment is sent", "orders", sent, &id.to_string()).await;
}

#[tokio::test]
async fn a_cancel_before_the_capture_gives_everything_back() {
    let system = Exclusive::enter().await;
    let client = system.client("early");
    client.create(&["early-1"], 100, 5).await;
    system.stack.stop(Service::Inventory).unwrap();
    let id = client.placed(&[("early-1", 2)], "tok_ok").await;
    let cancelled = client.cancel(id).await.expect(202);
    assert_eq!(cancelled.id(), id);
    system.stack.cont(Service::Inventory).unwrap();
    Client::assert_ended(&client.ended(id).await, "CANCELLED", Some("cancelled_by_customer"));
    assert_eq!(client.cancel(id).await.expect(200).json()["status"], "CANCELLED");
    assert_eq!(client.available("early-1").await, 5);
    system.verdict().await;
}

#[tokio::test]
async fn a_cancel_in_doubt_is_decided_by_the_void() {
    let system = Exclusive::enter().await;
    let client = system.client("doubt");
    client.create(&["doubt-1"], 100, 5).await;
    system.stack.stop(Service::Payments).unwrap();
    let id = client.placed(&[("doubt-1", 2)], "tok_ok").await;
    capture_is_sent(&system, id).await;
    client.cancel(id).await.expect(202);
    system.stack.cont(Service::Payments).unwrap();
    Client::assert_ended(&client.ended(id).await, "CANCELLED", Some("cancelled_by_customer"));
    assert_eq!(client.available("doubt-1").await, 5);
    system.verdict().await;
}

/// The provider takes 300 ms: the cancel comes while it is capturing, and nothing stays taken.
#[tokio::test]
async fn a_cancel_that_meets_a_capture_in_flight_leaves_no_money_taken() {
    let system = Exclusive::enter().await;
    let client = system.client("capturing");
    client.create(&["capturing-1"], 100, 5).await;
    let id = client.placed(&[("capturing-1", 2)], "tok_slow").await;
    let calling = "SELECT count(*) FROM effects WHERE stream = $1 AND step = 'capture' AND state = 'calling'";
    system.seen("the capture is in flight", "payments", calling, &format!("payment-{id}")).await;
    let answer = client.cancel(id).await;
    let order = client.ended(id).await;
    match answer.status {
        202 => Client::assert_ended(&order, "CANCELLED", Some("cancelled_by_customer")),
        // the capture was answered between the look and the cancel
        409 => Client::assert_ended(&order, "CONFIRMED", None),
        _ => panic!("{answer:?}"),
    }
    let taken = "SELECT coalesce(sum(captured_minor - refunded_minor), 0)::bigint FROM payments WHERE order_id::text = $1";
    let due = if answer.status == 202 { 0 } else { 200 };
    assert_eq!(system.count("payments", taken, &id.to_string()).await, due);
    assert_eq!(client.available("capturing-1").await, if answer.status == 202 { 5 } else { 3 });
    system.verdict().await;
}

/// Not one moment but all of them: cancels race with a running saga.
#[tokio::test]
async fn cancels_at_any_moment_end_as_they_were_answered() {
    let system = Exclusive::enter().await;
    let client = system.client("racer");
    client.create(&["racer-1"], 100, 1_000).await;
    let mut told = Vec::new();
    for round in 0..60_u32 {
        let token = if round.is_multiple_of(3) { "tok_slow" } else { "tok_ok" };
        let id = client.placed(&[("racer-1", 1)], token).await;
        for _ in 0..round % 20 {
            client.order(id).await;
        }
        told.push((id, client.cancel(id).await.status));
    }
    for (id, status) in told {
        let order = client.ended(id).await;
        match status {
            200 | 202 => assert_eq!(order["status"], "CANCELLED", "{order}"),
            409 => Client::assert_ended(&order, "CONFIRMED", None),
            _ => panic!("cancel of {id} answered {status}"),
        }
    }
    system.verdict().await;
}
