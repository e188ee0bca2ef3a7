//! Stuck sagas on the ops port: listed with their cause, resumed, abandoned.

use contract::OrderStatus;
use operation::{Acted, Problem, SagaDetail, Sagas, Story};
use serde_json::{Value, json};

use crate::world::{Order, client, until, world};

async fn get<T: serde::de::DeserializeOwned>(url: &str) -> (u16, T) {
    let response = client().get(url).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn post<T: serde::de::DeserializeOwned>(url: &str, body: &Value) -> (u16, T) {
    let response = client().post(url).body(body.to_string()).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn signed(execute: bool) -> Value {
    json!({"who": "ann", "why": "the warehouse is back", "execute": execute})
}

/// An order that is paid and whose commit nobody answers.
async fn stuck(order: &Order<'_>) -> SagaDetail {
    order.reserved().await;
    order.sent("CapturePayment").await;
    order.captured().await;
    order.status(OrderStatus::Stuck).await;
    get(&format!("{}/ops/sagas/{}", order.world.ops, order.id)).await.1
}

async fn count(order: &Order<'_>, record: &str) -> usize {
    order.published().await.iter().filter(|published| *published == record).count()
}

#[tokio::test]
async fn a_stuck_saga_is_listed_with_its_cause_and_resumed_with_the_same_command() {
    let world = world().await;
    let order = world.order().await;
    let saga = stuck(&order).await;
    assert_eq!(
        (saga.saga.status.as_str(), saga.saga.step.as_str(), saga.saga.stuck_reason.as_deref()),
        ("stuck", "commit", Some("deadline"))
    );
    assert_eq!((saga.decision.as_deref(), saga.awaited[0].command.as_str()), (Some("confirmed"), "CommitInventoryHold"));
    let (_, listed): (u16, Sagas) = get(&format!("{}/ops/sagas", world.ops)).await;
    assert!(listed.data.iter().any(|listed| listed.id == order.id.to_string() && listed.stuck_at.is_some()), "{listed:?}");

    let url = format!("{}/ops/sagas/{}/resume", world.ops, order.id);
    let (_, plan): (u16, Acted) = post(&url, &signed(false)).await;
    assert_eq!((plan.executed, plan.records, plan.sends), (false, vec!["commit sent".to_owned()], vec!["CommitInventoryHold".to_owned()]));
    assert_eq!(count(&order, "CommitInventoryHold").await, 1, "a plan does nothing");
    let (_, done): (u16, Acted) = post(&url, &signed(true)).await;
    assert_eq!((done.executed, done.status.as_str()), (true, "running"));
    assert_eq!(count(&order, "CommitInventoryHold").await, 2);
    let ids: Vec<uuid::Uuid> = sqlx::query_scalar(
        "SELECT DISTINCT message_id FROM outbox WHERE key = $1 AND topic = 'inventory.commands' AND headers LIKE '%Commit%'::bytea",
    )
    .bind(order.id.to_string().into_bytes())
    .fetch_all(&mut world.reader().await)
    .await
    .unwrap();
    assert_eq!(ids.iter().map(ToString::to_string).collect::<Vec<_>>(), [saga.awaited[0].message_id.clone()], "the same message");
    order.committed().await;
    assert_eq!(order.ended().await.status, OrderStatus::Confirmed);
    let (status, problem): (u16, Problem) = post(&url, &signed(true)).await;
    assert_eq!((status, problem.code.as_str()), (409, "saga_not_stuck"));
}

#[tokio::test]
async fn an_abandoned_saga_ends_and_says_who_and_why() {
    let world = world().await;
    let order = world.order().await;
    stuck(&order).await;
    let url = format!("{}/ops/sagas/{}/abandon", world.ops, order.id);
    let (status, problem): (u16, Problem) = post(&url, &json!({"who": " ", "why": "x", "execute": true})).await;
    assert_eq!((status, problem.code.as_str()), (422, "decision_unsigned"));
    let (_, done): (u16, Acted) = post(&url, &signed(true)).await;
    assert_eq!((done.records, done.status.as_str()), (vec!["commit abandoned".to_owned(), "ended confirmed".to_owned()], "ended"));
    assert_eq!(order.ended().await.status, OrderStatus::Confirmed);
    order.committed().await;
    let (_, story): (u16, Story) = get(&format!("{}/ops/stories/{}", world.ops, order.id)).await;
    let abandoned = story.events.iter().find(|event| event.body["state"] == "abandoned").unwrap();
    assert_eq!((abandoned.body["decided_by"].as_str(), abandoned.body["reason"].as_str()), (Some("ann"), Some("the warehouse is back")));
    let records: Vec<&str> = story.events.iter().map(|event| event.record.as_str()).collect();
    assert!(records.contains(&"orders.OrderPlaced") && records.contains(&"orders.SagaEnded"), "{records:?}");
}

#[tokio::test]
async fn a_saga_that_turned_back_is_moved_on_by_two_persons_only_once() {
    let world = world().await;
    let order = world.order().await;
    order.cancel().await;
    until("nobody answers its compensations", async || {
        let (_, saga): (u16, SagaDetail) = get(&format!("{}/ops/sagas/{}", world.ops, order.id)).await;
        (saga.saga.status == "stuck").then_some(())
    })
    .await;
    let url = format!("{}/ops/sagas/{}/abandon", world.ops, order.id);
    let both = futures_util::future::join(post::<Value>(&url, &signed(true)), post::<Value>(&url, &signed(true))).await;
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{both:?}");
    assert_eq!(order.ended().await.status, OrderStatus::Cancelled);
}

#[tokio::test]
async fn what_is_not_there_is_said_as_problems() {
    let ops = &world().await.ops;
    let absent = uuid::Uuid::now_v7();
    for (path, status, code) in [
        (format!("/ops/sagas/{absent}"), 404, "saga_not_found"),
        ("/ops/sagas/nonsense".to_owned(), 404, "saga_not_found"),
        ("/ops/sagas?status=ended".to_owned(), 400, "invalid_query"),
        ("/ops/sagas?limit=501".to_owned(), 400, "invalid_query"),
        ("/ops/letters/1".to_owned(), 404, "letter_not_found"),
        ("/ops/nonsense".to_owned(), 404, "not_found"),
    ] {
        let (seen, problem): (u16, Problem) = get(&format!("{ops}{path}")).await;
        assert_eq!((seen, problem.code.as_str()), (status, code), "{path}");
    }
}
