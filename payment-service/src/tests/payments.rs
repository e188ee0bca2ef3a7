use schemas::payments::{RefundPayment, VoidPayment};
use uuid::Uuid;

use super::world::{Message, Provider, TOTAL, World, eventually};

fn order() -> Uuid {
    Uuid::now_v7()
}

fn void(order: Uuid) -> Message {
    Message::Void(VoidPayment { order_id: order })
}

fn fact(name: &str, cause: &Message) -> (String, Uuid) {
    (format!("payments.{name}"), cause.id())
}

async fn calling(world: &World, order: Uuid, step: &str) {
    eventually(&format!("{step} is being called"), || async {
        world.effects(order).await.contains(&(step.to_owned(), "calling".to_owned())).then_some(())
    })
    .await;
}

fn effects(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(step, state)| ((*step).to_owned(), (*state).to_owned())).collect()
}

#[tokio::test]
async fn an_order_is_authorized_and_captured() {
    let (world, order) = (World::new().await, order());
    world.work();
    let (placed, capture) = (world.placed(order, "tok_ok"), world.capture(order, "tok_ok"));
    world.deliver(std::slice::from_ref(&placed)).await;
    world.settled(order, "authorized").await;
    world.deliver(std::slice::from_ref(&capture)).await;
    assert_eq!(world.settled(order, "captured").await, Provider::new("captured", TOTAL, 0, 2));
    assert_eq!(world.events(order).await, [fact("PaymentAuthorized", &placed), fact("PaymentCaptured", &capture)]);
    assert_eq!(world.taken(order).await, TOTAL);
}

#[tokio::test]
async fn a_capture_that_overtakes_its_order_authorizes_first() {
    let (world, order) = (World::new().await, order());
    world.work();
    let (placed, capture) = (world.placed(order, "tok_ok"), world.capture(order, "tok_ok"));
    world.deliver(std::slice::from_ref(&capture)).await;
    world.deliver(std::slice::from_ref(&placed)).await;
    assert_eq!(world.settled(order, "captured").await, Provider::new("captured", TOTAL, 0, 2));
    assert_eq!(world.events(order).await, [fact("PaymentAuthorized", &capture), fact("PaymentCaptured", &capture)]);
}

#[tokio::test]
async fn messages_of_one_batch_see_each_other_and_repeats_change_nothing() {
    let (world, order) = (World::new().await, order());
    let batch = [world.placed(order, "tok_ok"), world.capture(order, "tok_ok"), world.placed(order, "tok_ok")];
    world.deliver(&batch).await;
    world.deliver(&batch).await;
    assert_eq!(world.effects(order).await, effects(&[("authorize", "pending"), ("capture", "pending")]));
    world.work();
    world.settled(order, "captured").await;
    world.deliver(&batch).await;
    assert_eq!(world.settled(order, "captured").await, Provider::new("captured", TOTAL, 0, 2));
    assert_eq!(world.events(order).await.len(), 2);
}

#[tokio::test]
async fn a_decline_ends_the_capture_without_a_call() {
    let (world, order) = (World::new().await, order());
    let (placed, capture) = (world.placed(order, "tok_declined"), world.capture(order, "tok_declined"));
    world.deliver(&[placed.clone(), capture.clone()]).await;
    world.work();
    assert_eq!(world.settled(order, "declined").await, Provider::new("declined", 0, 0, 1));
    assert_eq!(world.events(order).await, [fact("PaymentDeclined", &placed), fact("PaymentDeclined", &capture)]);
    assert_eq!(world.effects(order).await, effects(&[("authorize", "done"), ("capture", "dropped")]));
    world.deliver(std::slice::from_ref(&capture)).await;
    assert_eq!(world.events(order).await.len(), 2, "a repeat is not told again");
    world.deliver(&[void(order)]).await;
    assert_eq!(world.settled(order, "voided").await, Provider::new("declined", 0, 0, 2));
}

#[tokio::test]
async fn flaky_and_lost_answers_end_captured_once() {
    for (token, calls) in [("tok_flaky", 6), ("tok_timeout", 4)] {
        let (world, order) = (World::new().await, order());
        world.work();
        world.deliver(&[world.placed(order, token), world.capture(order, token)]).await;
        assert_eq!(world.settled(order, "captured").await, Provider::new("captured", TOTAL, 0, calls), "{token}");
        assert_eq!(world.events(order).await.len(), 2);
    }
}

#[tokio::test]
async fn a_void_that_meets_an_authorization_in_flight_leaves_nothing() {
    let (world, order) = (World::new().await, order());
    world.work();
    world.deliver(&[world.placed(order, "tok_slow"), world.capture(order, "tok_slow")]).await;
    calling(&world, order, "authorize").await;
    world.deliver(&[void(order)]).await;
    let provider = world.settled(order, "voided").await;
    assert_eq!((provider.state.as_str(), provider.captured), ("voided", 0));
    assert_eq!(world.events(order).await, [fact("PaymentVoided", &void(order))]);
    assert_eq!(world.effects(order).await, effects(&[("authorize", "done"), ("capture", "dropped"), ("void", "done")]));
}

#[tokio::test]
async fn a_void_that_meets_a_capture_in_flight_takes_it_back() {
    let (world, order) = (World::new().await, order());
    world.work();
    let placed = world.placed(order, "tok_slow");
    world.deliver(&[placed.clone(), world.capture(order, "tok_slow")]).await;
    calling(&world, order, "capture").await;
    world.deliver(&[void(order)]).await;
    assert_eq!(world.settled(order, "voided").await, Provider::new("refunded", TOTAL, TOTAL, 3));
    assert_eq!(world.events(order).await, [fact("PaymentAuthorized", &placed), fact("PaymentVoided", &void(order))]);
    assert_eq!(world.taken(order).await, 0);
}

#[tokio::test]
async fn a_captured_payment_is_refunded_and_answered_once() {
    let (world, order) = (World::new().await, order());
    world.work();
    world.deliver(&[world.placed(order, "tok_ok"), world.capture(order, "tok_ok")]).await;
    world.settled(order, "captured").await;
    let refund = Message::Refund(RefundPayment { order_id: order });
    world.deliver(&[refund.clone(), void(order), refund.clone()]).await;
    world.settled(order, "refunded").await;
    world.deliver(&[void(order), refund.clone()]).await;
    assert_eq!(world.settled(order, "refunded").await, Provider::new("refunded", TOTAL, TOTAL, 3));
    assert_eq!(world.events(order).await.last(), Some(&fact("PaymentRefunded", &refund)));
    assert_eq!(world.events(order).await.len(), 3);
    assert_eq!(world.taken(order).await, 0);
}

#[tokio::test]
async fn a_void_before_everything_blocks_the_key_and_wins() {
    let (world, order) = (World::new().await, order());
    world.work();
    world.deliver(&[void(order)]).await;
    world.settled(order, "voided").await;
    world.deliver(&[world.placed(order, "tok_ok"), world.capture(order, "tok_ok")]).await;
    assert_eq!(world.settled(order, "voided").await, Provider::new("blocked", 0, 0, 1));
    assert_eq!(world.events(order).await, [fact("PaymentVoided", &void(order))]);
}

#[tokio::test]
async fn a_void_in_the_batch_of_its_order_drops_what_was_asked_for() {
    let (world, order) = (World::new().await, order());
    world.deliver(&[world.placed(order, "tok_ok"), void(order), world.capture(order, "tok_ok")]).await;
    assert_eq!(world.effects(order).await, effects(&[("void", "pending")]));
    world.work();
    assert_eq!(world.settled(order, "voided").await, Provider::new("blocked", 0, 0, 1));
}

#[tokio::test]
async fn messages_that_died_tell_their_saga_and_do_nothing_when_they_are_sent_again() {
    let (world, order) = (World::new().await, order());
    world.work();
    let (placed, capture) = (world.placed(order, "tok_ok"), world.capture(order, "tok_ok"));
    world.deliver(std::slice::from_ref(&placed)).await;
    world.settled(order, "authorized").await;
    world.deliver(&[Message::Died(Box::new(capture.clone())), capture.clone()]).await;
    assert_eq!(world.events(order).await, [fact("PaymentAuthorized", &placed), fact("StepFailed", &capture)]);
    world.deliver(&[void(order)]).await;
    assert_eq!(world.settled(order, "voided").await, Provider::new("voided", 0, 0, 2), "the capture was never called");

    let order = Uuid::now_v7();
    let (placed, capture) = (world.placed(order, "tok_ok"), world.capture(order, "tok_ok"));
    world.deliver(&[Message::Died(Box::new(placed.clone())), placed.clone(), capture.clone()]).await;
    assert_eq!(world.events(order).await, [fact("StepFailed", &placed), fact("StepFailed", &capture)]);
    assert_eq!(world.effects(order).await, effects(&[]));
}

#[tokio::test]
async fn tokens_stay_sealed_in_the_database() {
    let (world, order) = (World::new().await, order());
    world.deliver(&[world.placed(order, "tok_canary")]).await;
    let request: String = sqlx::query_scalar("SELECT request::text FROM effects").fetch_one(&world.pool).await.unwrap();
    assert!(request.contains("key_id") && !request.contains("canary"), "{request}");
}
