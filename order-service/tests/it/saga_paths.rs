//! The paths of the saga through the running service.

use contract::{CancelReason, OrderStatus};
use reqwest::StatusCode;

use crate::world::{problem, until, world};

#[tokio::test]
async fn an_order_is_confirmed_by_its_capture_and_ends_with_the_commit() {
    let order = world().await.order().await;
    order.reserved().await;
    order.sent("CapturePayment").await;
    order.captured().await;
    let confirmed = order.status(OrderStatus::Confirmed).await;
    assert_eq!(confirmed.ended_at, None);
    assert_eq!(problem(order.cancel().await).await.1, "order_already_confirmed");
    order.committed().await;
    order.ended().await;
    let told =
        ["OrderPlaced", "SagaStarted", "CreateInventoryHold", "CapturePayment", "OrderConfirmed", "CommitInventoryHold", "SagaEnded"];
    assert_eq!(order.published().await, told);
}

#[tokio::test]
async fn short_stock_cancels_and_voids_the_payment() {
    let order = world().await.order().await;
    order.rejected().await;
    let cancelled = order.status(OrderStatus::Cancelled).await;
    assert_eq!((cancelled.reason, cancelled.ended_at), (Some(CancelReason::OutOfStock), None));
    order.sent("VoidPayment").await;
    order.voided().await;
    order.ended().await;
    assert_eq!(
        order.published().await,
        ["OrderPlaced", "SagaStarted", "CreateInventoryHold", "OrderCancelled", "VoidPayment", "SagaEnded"]
    );
}

#[tokio::test]
async fn a_declined_payment_releases_the_stock_before_and_after_the_capture_was_sent() {
    for capture_sent in [false, true] {
        let order = world().await.order().await;
        if capture_sent {
            order.reserved().await;
            order.sent("CapturePayment").await;
        }
        order.declined().await;
        assert_eq!(order.status(OrderStatus::Cancelled).await.reason, Some(CancelReason::PaymentDeclined));
        order.sent("ReleaseInventoryHold").await;
        order.released().await;
        order.ended().await;
        assert!(!order.published().await.contains(&"VoidPayment".to_owned()));
    }
}

#[tokio::test]
async fn a_cancel_before_the_capture_is_decided_at_once() {
    let order = world().await.order().await;
    let asked = order.cancel().await;
    assert_eq!(asked.status(), StatusCode::ACCEPTED);
    let answer: contract::Order = asked.json().await.unwrap();
    assert_eq!((answer.status, answer.reason), (OrderStatus::Cancelled, Some(CancelReason::CancelledByCustomer)));
    assert_eq!(order.cancel().await.status(), StatusCode::OK);
    // Too late for both.
    order.reserved().await;
    order.released().await;
    order.voided().await;
    order.ended().await;
    let told = ["OrderPlaced", "SagaStarted", "CreateInventoryHold", "OrderCancelled", "ReleaseInventoryHold", "VoidPayment", "SagaEnded"];
    assert_eq!(order.published().await, told);
}

#[tokio::test]
async fn a_cancel_in_doubt_is_decided_by_the_void_even_after_a_capture() {
    let order = world().await.order().await;
    order.reserved().await;
    order.sent("CapturePayment").await;
    let asked = order.cancel().await;
    assert_eq!(asked.status(), StatusCode::ACCEPTED);
    assert_eq!(asked.json::<contract::Order>().await.unwrap().status, OrderStatus::Pending);
    order.captured().await;
    order.refunded().await;
    assert_eq!(order.status(OrderStatus::Cancelled).await.reason, Some(CancelReason::CancelledByCustomer));
    order.sent("ReleaseInventoryHold").await;
    order.released().await;
    order.ended().await;
    assert!(!order.published().await.contains(&"OrderConfirmed".to_owned()));
}

#[tokio::test]
async fn a_failed_capture_cancels_and_undoes_everything() {
    let order = world().await.order().await;
    order.reserved().await;
    order.sent("CapturePayment").await;
    order.step_failed("capture").await;
    assert_eq!(order.status(OrderStatus::Cancelled).await.reason, Some(CancelReason::Failed));
    order.released().await;
    order.voided().await;
    order.ended().await;
}

#[tokio::test]
async fn a_deadline_cancels_before_the_pivot_and_makes_stuck_after_it() {
    let world = world().await;
    let (silent, overdue) = (world.order().await, world.order().await);
    overdue.reserved().await;
    overdue.sent("CapturePayment").await;
    overdue.captured().await;
    overdue.status(OrderStatus::Confirmed).await;
    assert_eq!(silent.status(OrderStatus::Cancelled).await.reason, Some(CancelReason::Deadline));
    overdue.status(OrderStatus::Stuck).await;
    assert_eq!(problem(overdue.cancel().await).await.1, "order_already_confirmed");
    overdue.committed().await;
    assert_eq!(overdue.ended().await.status, OrderStatus::Confirmed);
    silent.released().await;
    silent.voided().await;
    silent.ended().await;
}

#[tokio::test]
async fn replies_about_unknown_orders_and_repeats_change_nothing() {
    let world = world().await;
    let order = world.order().await;
    order.captured().await;
    order.reserved().await;
    order.reserved().await;
    order.sent("CapturePayment").await;
    order.captured().await;
    order.captured().await;
    order.committed().await;
    order.declined().await;
    assert_eq!(order.ended().await.status, OrderStatus::Confirmed);
    let versions: Vec<(String, i64, i64)> = until("the events are there", async || {
        sqlx::query_as("SELECT stream, count(*), max(version) FROM events WHERE stream LIKE '%' || $1 GROUP BY stream ORDER BY stream")
            .bind(order.id.to_string())
            .fetch_all(&mut world.reader().await)
            .await
            .ok()
    })
    .await;
    assert_eq!(versions, [(format!("order-{}", order.id), 2, 2), (format!("saga-{}", order.id), 4, 4)]);
}
