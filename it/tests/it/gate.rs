//! The schema gate at start-up: a service whose schema does not fit a registered version does not start, and says why.

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use stack::Service;

use crate::client::Client;
use crate::system::Exclusive;

const SUBJECT: &str = "orders.events-orders.OrderConfirmed";

/// As if another team had registered a version of `OrderConfirmed` with a new mandatory field, behind the gate's back, and
/// order-service met it when it registers its own: its table does not have the schema yet.
#[tokio::test]
async fn an_incompatible_schema_stops_the_service_and_names_the_versions() {
    let system = Exclusive::enter().await;
    let http = reqwest::Client::new();
    let registry = system.stack.registry_url();
    let ours: Value = http.get(format!("{registry}/subjects/{SUBJECT}/versions/latest")).send().await.unwrap().json().await.unwrap();
    let mut foreign: Value = serde_json::from_str(ours["schema"].as_str().unwrap()).unwrap();
    foreign["fields"].as_array_mut().unwrap().push(json!({"name": "approved_by", "type": "string", "doc": "mandatory, without a default"}));
    let none = http.put(format!("{registry}/config/{SUBJECT}")).json(&json!({"compatibility": "NONE"})).send().await.unwrap();
    assert!(none.status().is_success(), "{none:?}");
    let registered =
        http.post(format!("{registry}/subjects/{SUBJECT}/versions")).json(&json!({"schema": foreign.to_string()})).send().await.unwrap();
    assert!(registered.status().is_success(), "{registered:?}");
    let mut owner = PgConnection::connect(&system.stack.owner_url("orders")).await.unwrap();
    sqlx::query("DELETE FROM schemas WHERE subject = $1").bind(SUBJECT).execute(&mut owner).await.unwrap();

    let before = system.stack.logs(Service::Orders).len();
    system.stack.restart(Service::Orders).await.expect_err("the service started");
    let refused = system.stack.logs(Service::Orders).split_off(before);
    eprintln!("{refused}");
    assert!(refused.contains("schema_incompatible") && refused.contains(SUBJECT), "{refused}");
    assert!(refused.contains("approved_by"), "the reason is not named: {refused}");

    let latest: Value = http.get(format!("{registry}/subjects/{SUBJECT}/versions/latest")).send().await.unwrap().json().await.unwrap();
    let version = latest["version"].as_i64().unwrap();
    let gone = http.delete(format!("{registry}/subjects/{SUBJECT}/versions/{version}")).send().await.unwrap();
    assert!(gone.status().is_success(), "{gone:?}");
    system.stack.restart(Service::Orders).await.unwrap();
    let client = system.client("gate");
    client.create(&["gate-1"], 100, 5).await;
    let id = client.placed(&[("gate-1", 1)], "tok_ok").await;
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    system.verdict().await;
}
