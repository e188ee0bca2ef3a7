//! One trace from the request to the last step, across services, repeated calls and a dead letter that is sent back.

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection};
use stack::{Service, Span};
use uuid::Uuid;

use crate::client::{Client, order};
use crate::operators::{Broken, SIGNED, letter, ops};
use crate::system::{Exclusive, Shared, System};
use crate::wait::{SOON, until};

/// Places an order whose caller asks for a trace; the order and the trace's id.
async fn placed(client: &Client, sku: &str, flags: &str) -> (Uuid, String) {
    let trace = Uuid::now_v7().simple().to_string();
    let request = client.request(reqwest::Method::POST, "/v1/orders").header("Idempotency-Key", &trace);
    let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-{flags}")).json(&order(&[(sku, 2)], "tok_ok"));
    (client.send(request).await.unwrap().expect(202).id(), trace)
}

/// The spans of the trace once `wanted` accepts them.
async fn spans(system: &System, trace: &str, what: &str, wanted: impl Fn(&[Span]) -> bool) -> Vec<Span> {
    let traces = system.stack.traces().expect("the system collects traces");
    until(what, SOON, || async {
        let spans = traces.of(trace);
        if wanted(&spans) { Ok(spans) } else { Err(traces.tell(trace)) }
    })
    .await
}

fn title(span: &Span) -> String {
    format!("{} {}", span.service, span.name)
}

/// Each span with the one it stands below.
fn edges(spans: &[Span]) -> BTreeSet<(String, String)> {
    let parent = |span: &Span| spans.iter().find(|other| Some(&other.id) == span.parent.as_ref()).map_or("the caller".to_owned(), title);
    spans.iter().map(|span| (parent(span), title(span))).collect()
}

/// The tree of every order that goes well.
const TREE: &[(&str, &[&str])] = &[
    ("the caller", &["api-gateway POST /v1/orders"]),
    ("api-gateway POST /v1/orders", &["api-gateway POST"]),
    ("api-gateway POST", &["orders POST /v1/orders"]),
    ("orders POST /v1/orders", &["orders create orders.events", "orders create orders.saga", "orders create inventory.commands"]),
    ("orders create orders.events", &["orders send orders.events", "payments process orders.events", "inventory process orders.events"]),
    ("orders create orders.saga", &["orders send orders.saga"]),
    ("orders create inventory.commands", &["orders send inventory.commands", "inventory process inventory.commands"]),
    ("orders create payments.commands", &["orders send payments.commands", "payments process payments.commands"]),
    ("payments process orders.events", &["payments call authorize"]),
    ("payments process payments.commands", &["payments call capture"]),
    ("payments call authorize", &["payments create payments.events"]),
    ("payments call capture", &["payments create payments.events"]),
    ("payments create payments.events", &["payments send payments.events", "orders process payments.events"]),
    ("inventory process inventory.commands", &["inventory create inventory.events"]),
    ("inventory create inventory.events", &["inventory send inventory.events", "orders process inventory.events"]),
    ("orders process inventory.events", &["orders create orders.saga", "orders create payments.commands"]),
    ("orders process payments.events", &["orders create orders.saga", "orders create orders.events", "orders create inventory.commands"]),
];

fn kind(name: &str) -> &'static str {
    match name.split(' ').next().unwrap_or_default() {
        "create" => "producer",
        "process" => "consumer",
        "POST" if name.contains(' ') => "server",
        _ => "client",
    }
}

/// The attributes of a span, by the first word of its name.
fn attributes(name: &str) -> &'static [&'static str] {
    match name.split(' ').next().unwrap_or_default() {
        "create" => &[
            "messaging.destination.name",
            "messaging.message.conversation_id",
            "messaging.message.id",
            "messaging.operation.name",
            "messaging.operation.type",
            "messaging.system",
            "messaging.system.name",
        ],
        "send" => &[
            "messaging.batch.message_count",
            "messaging.destination.name",
            "messaging.operation.name",
            "messaging.operation.type",
            "messaging.system",
            "messaging.system.name",
        ],
        "process" => &[
            "kafka.message.key",
            "kafka.offset",
            "messaging.consumer.group.name",
            "messaging.destination.name",
            "messaging.destination.partition.id",
            "messaging.message.conversation_id",
            "messaging.message.id",
            "messaging.operation.name",
            "messaging.operation.type",
            "messaging.system",
            "messaging.system.name",
        ],
        "call" => &["messaging.message.conversation_id", "messaging.message.id", "saga.step"],
        "POST" if name.contains(' ') => &["http.request.method", "http.response.status_code", "http.route"],
        _ => &["http.request.method", "http.response.status_code", "server.address"],
    }
}

#[tokio::test]
async fn an_order_is_one_trace_through_every_service() {
    let system = Shared::enter().await;
    let client = system.client("traced");
    client.create(&["traced-1"], 100, 9).await;
    let (id, trace) = placed(&client, "traced-1", "01").await;
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    let tree: BTreeSet<(String, String)> =
        TREE.iter().flat_map(|(parent, children)| children.iter().map(|child| ((*parent).to_owned(), (*child).to_owned()))).collect();
    let spans = spans(&system, &trace, "the whole trace", |spans| edges(spans) == tree).await;
    for span in &spans {
        assert_eq!((span.kind, &span.error), (kind(&span.name), &None), "{span:?}");
        let names: Vec<&str> = span.attributes.keys().map(String::as_str).collect();
        assert_eq!(names, attributes(&span.name), "{span:?}");
        assert!(span.time_ns.0 <= span.time_ns.1, "{span:?}");
        assert_eq!(span.schema_url, "https://opentelemetry.io/schemas/1.45.0");
        let linked: Vec<&(String, String)> = span.links.iter().collect();
        match span.name.split(' ').next() {
            Some("send" | "process") => {
                assert_eq!(linked, [&(trace.clone(), span.parent.clone().unwrap())], "a link to its creation: {span:?}");
            }
            _ => assert!(linked.is_empty(), "{span:?}"),
        }
        if let Some(conversation) = span.attributes.get("messaging.message.conversation_id") {
            assert_eq!(conversation, &id.to_string(), "{span:?}");
        }
    }
    // What nobody asks for is not told, and does not travel with the messages either.
    let headers = "SELECT count(*) FROM outbox WHERE convert_from(headers, 'UTF8') LIKE '%correlation-id: ' || $1 || '%' AND convert_from(headers, 'UTF8') LIKE '%traceparent: 00-%'";
    assert!(system.count("orders", headers, &id.to_string()).await > 3);
    let (id, quiet) = placed(&client, "traced-1", "00").await;
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    assert_eq!(system.stack.traces().unwrap().of(&quiet), []);
    assert_eq!(system.count("orders", headers, &id.to_string()).await, 0);
    let id = client.placed(&[("traced-1", 1)], "tok_ok").await;
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    assert_eq!(system.count("orders", headers, &id.to_string()).await, 0);
    system.verdict().await;
}

#[tokio::test]
async fn a_call_tried_again_and_a_letter_sent_back_stay_in_their_trace() {
    let system = Exclusive::enter().await;
    let client = system.client("traced-again");
    client.create(&["traced-again-1", "traced-again-2"], 100, 5).await;
    let mut provider = PgConnection::connect(&system.stack.database_url("provider")).await.unwrap();
    sqlx::query("ALTER TABLE operations RENAME TO operations_away").execute(&mut provider).await.unwrap();
    let (id, trace) = placed(&client, "traced-again-1", "01").await;
    spans(&system, &trace, "a call failed", |spans| spans.iter().any(|span| span.name == "call authorize" && span.error.is_some())).await;
    sqlx::query("ALTER TABLE operations_away RENAME TO operations").execute(&mut provider).await.unwrap();
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    let calls = |spans: &[Span]| -> Vec<(Option<String>, bool)> {
        let calls = spans.iter().filter(|span| span.name == "call authorize");
        calls.map(|span| (span.attributes.get("message.attempt").cloned(), span.error.is_some())).collect()
    };
    let found = spans(&system, &trace, "the call that succeeded", |spans| calls(spans).iter().any(|(_, failed)| !failed)).await;
    let calls = calls(&found);
    assert_eq!(calls.first(), Some(&(None, true)), "{calls:?}");
    assert!(matches!(calls.last(), Some((Some(_), false))), "{calls:?}");

    system.stack.stop(Service::Inventory).unwrap();
    let (id, trace) = placed(&client, "traced-again-2", "01").await;
    let broken = Broken::stream(&system, "orders", format!("saga-{id}")).await;
    system.stack.cont(Service::Inventory).unwrap();
    let (name, dead) = letter(&system, "orders", id).await;
    broken.mend().await;
    assert_eq!(ops(&system, &[&["dlq", "redrive", &name][..], &SIGNED].concat()).await.code, 0);
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    let of_message = |spans: &[Span]| -> Vec<Span> {
        let same = |span: &&Span| {
            span.name == "process inventory.events"
                && span.attributes.get("messaging.message.id").map(String::as_str) == dead["message_id"].as_str()
        };
        spans.iter().filter(same).cloned().collect()
    };
    let found = spans(&system, &trace, "the message's second try", |spans| of_message(spans).len() == 2).await;
    let tries = of_message(&found);
    assert_eq!(tries.iter().map(|span| span.error.as_deref()).collect::<Vec<_>>(), [Some("state_unreadable"), None]);
    assert_eq!(tries[0].attributes["error.type"], "state_unreadable");
    let creations: BTreeSet<_> = tries.iter().flat_map(|span| span.links.clone()).collect();
    assert_eq!(creations.len(), 1, "both link to the one creation: {tries:?}");
    system.verdict().await;
}
