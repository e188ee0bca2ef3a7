//! What operators do when something fails for good: dead letters are listed, shown, edited and sent back; a step that died
//! turns its saga back; a stuck saga is listed and moved on. All by the command line, and the checker judges what is left.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use stack::Service;
use uuid::Uuid;

use crate::client::Client;
use crate::deadlines::{SHORT, USUAL};
use crate::system::{Exclusive, System};
use crate::wait::{SOON, until};

#[derive(Debug, Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a command line printed as JSON, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: u8,
    pub(crate) json: Value,
    pub(crate) err: String,
}

/// Runs `ops -o json` with these words.
pub(crate) async fn ops(system: &System, words: &[&str]) -> Ended {
    let (out, err) = (Text::default(), Text::default());
    let mut output = ops::output::Output::to(out.clone(), err.clone());
    let url = |service| system.stack.ops_url(service, 1);
    let urls = [url(Service::Orders), url(Service::Inventory), url(Service::Payments)];
    let options = ["ops", "-o", "json", "--orders-url", &urls[0], "--inventory-url", &urls[1], "--payments-url", &urls[2]];
    let exit = ops::run(options.iter().chain(words).map(std::ffi::OsString::from), &mut output).await;
    let read = |text: Text| String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
    Ended { code: exit.code(), json: serde_json::from_str(&read(out)).unwrap_or_default(), err: read(err) }
}

pub(crate) const SIGNED: [&str; 5] = ["--who", "ann", "--why", "a test", "--execute"];

/// The one dead letter of this story, once it is there: its name and what is listed of it.
pub(crate) async fn letter(system: &System, group: &str, order: Uuid) -> (String, Value) {
    let order = order.to_string();
    until("the message is a dead letter", SOON, || async {
        let listed = ops(system, &["dlq", "list", "--letters", "--group", group, "--correlation", &order]).await;
        match listed.json["data"].as_array().map(Vec::as_slice) {
            Some([letter]) => Ok((format!("{group}/{}", letter["id"]), letter.clone())),
            other => Err(format!("{other:?} {}", listed.err)),
        }
    })
    .await
}

/// A stream whose state cannot be read: whoever decides about it fails, always the same way.
pub(crate) struct Broken {
    owner: PgConnection,
    stream: String,
    state: String,
}

impl Broken {
    pub(crate) async fn stream(system: &System, database: &str, stream: String) -> Self {
        let mut owner = PgConnection::connect(&system.stack.owner_url(database)).await.unwrap();
        let state: String =
            sqlx::query_scalar("SELECT state::text FROM streams WHERE stream = $1").bind(&stream).fetch_one(&mut owner).await.unwrap();
        let mut broken = Self { owner, stream, state };
        broken.set("\"broken\"").await;
        broken
    }

    async fn set(&mut self, state: &str) {
        let set = sqlx::query("UPDATE streams SET state = $2::json WHERE stream = $1").bind(&self.stream).bind(state);
        assert_eq!(set.execute(&mut self.owner).await.unwrap().rows_affected(), 1);
    }

    pub(crate) async fn mend(mut self) {
        let state = self.state.clone();
        self.set(&state).await;
    }
}

#[tokio::test]
async fn a_reply_that_cannot_be_handled_waits_as_a_dead_letter_until_it_is_edited_and_sent_back() {
    let system = Exclusive::enter().await;
    let client = system.client("edited");
    client.create(&["edited-1"], 100, 5).await;
    system.stack.stop(Service::Inventory).unwrap();
    let id = client.placed(&[("edited-1", 2)], "tok_ok").await;
    let broken = Broken::stream(&system, "orders", format!("saga-{id}")).await;
    system.stack.cont(Service::Inventory).unwrap();

    let (name, listed) = letter(&system, "orders", id).await;
    assert_eq!((listed["record"].as_str(), listed["code"].as_str()), (Some("inventory.InventoryReserved"), Some("state_unreadable")));
    let groups = ops(&system, &["dlq", "list", "--group", "orders", "--correlation", &id.to_string()]).await.json;
    assert_eq!((&groups["data"][0]["letters"], &groups["data"][0]["class"]), (&Value::from(1), &Value::from("permanent")), "{groups}");
    let shown = ops(&system, &["dlq", "show", &name]).await.json;
    assert_eq!(shown["body"]["json"]["order_id"], Value::from(id.to_string()), "{shown}");
    assert_eq!(shown["body"]["json"]["lines"][0]["quantity"], Value::from(2), "{shown}");
    assert!(shown["headers"].as_array().unwrap().iter().any(|header| header["name"] == "src"), "{shown}");

    // Sent back before its cause is mended, it comes back.
    assert_eq!(ops(&system, &[&["dlq", "redrive", &name][..], &SIGNED].concat()).await.code, 0);
    until("it died again", SOON, || async {
        let again = ops(&system, &["dlq", "show", &name]).await.json;
        if again["redrive_no"] == 1 && again["state"] == "dead" { Ok(()) } else { Err(again) }
    })
    .await;
    broken.mend().await;
    let wrong = ops(&system, &["dlq", "edit", &name, "--set", "/reserved_at=\"soon\""]).await;
    assert_eq!((wrong.code, wrong.err.contains("/reserved_at")), (1, true), "{wrong:?}");
    let edit = ["dlq", "edit", &name, "--set", "/reserved_at=1"];
    let plan = ops(&system, &edit).await;
    assert_eq!((plan.code, &plan.json["executed"]), (0, &Value::from(false)), "{plan:?}");
    assert_eq!(client.order(id).await["status"], "PENDING");
    assert_eq!(ops(&system, &[&edit[..], &SIGNED].concat()).await.json["outcome"], "done");
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    assert_eq!(ops(&system, &["dlq", "show", &name]).await.code, 4, "it was handled");

    let decided: Vec<(String, i32, String)> =
        sqlx::query_as("SELECT decision, redrive_no, who FROM decisions d JOIN outbox o ON o.topic = 'orders.dlq.decisions' AND o.key = convert_to(d.message_id::text, 'UTF8') AND convert_from(o.payload, 'UTF8') LIKE '%' || d.decision || '%' WHERE d.message_id = $1 ORDER BY d.pos")
            .bind(listed["message_id"].as_str().unwrap().parse::<Uuid>().unwrap())
            .fetch_all(&mut system.sql("orders").await)
            .await
            .unwrap();
    assert_eq!(
        decided,
        [("redriven".to_owned(), 0, "ann".to_owned()), ("edited".to_owned(), 1, "ann".to_owned())],
        "each is also a record"
    );
    system.verdict().await;
}

#[tokio::test]
async fn a_step_that_dies_before_the_pivot_turns_its_saga_back() {
    let system = Exclusive::enter().await;
    let client = system.client("step-failed");
    client.create(&["step-failed-1"], 100, 5).await;
    // The provider is gone: the authorisation is tried through all tiers and given up; the void that follows is tried without end.
    let mut provider = PgConnection::connect(&system.stack.database_url("provider")).await.unwrap();
    sqlx::query("ALTER TABLE operations RENAME TO operations_away").execute(&mut provider).await.unwrap();
    let id = client.placed(&[("step-failed-1", 2)], "tok_ok").await;
    let (name, dead) = letter(&system, "payments", id).await;
    assert_eq!((dead["topic"].as_str(), dead["code"].as_str()), (Some("effect/authorize"), Some("provider_unanswered")), "{dead}");
    let redriven = ops(&system, &[&["dlq", "redrive", &name][..], &SIGNED].concat()).await;
    assert_eq!((redriven.code, &redriven.json["only_skip"]), (1, &Value::from(1)), "its saga was told: {redriven:?}");
    let waiting = until("the void waits for its next call", SOON, || async {
        let waiting = ops(&system, &["retry", "list", "--group", "payments"]).await.json;
        let calls = waiting["data"].as_array().map_or(0, |all| all.iter().filter(|entry| entry["step"] == "void").count());
        if calls == 1 { Ok(waiting) } else { Err(waiting) }
    })
    .await;
    assert!(waiting["data"][0]["due_at"].is_string(), "{waiting}");
    // The capture had been sent: what became of it is in doubt until the void is answered.
    assert_eq!(client.order(id).await["status"], "PENDING");
    sqlx::query("ALTER TABLE operations_away RENAME TO operations").execute(&mut provider).await.unwrap();
    Client::assert_ended(&client.ended(id).await, "CANCELLED", Some("failed"));
    assert_eq!(client.available("step-failed-1").await, 5);
    assert_eq!(ops(&system, &[&["dlq", "skip", &name][..], &SIGNED].concat()).await.code, 0);
    system.verdict().await;
}

/// A paid order whose hold cannot be committed: the command is a dead letter, and the saga stuck.
async fn stuck(system: &Exclusive, client: &Client, sku: &str) -> (Uuid, Broken, String) {
    client.create(&[sku], 100, 5).await;
    let id = client.placed(&[(sku, 2)], "tok_slow").await;
    let held = "SELECT count(*) FROM holds WHERE order_id::text = $1 AND state = 'held'";
    system.seen("the stock is held", "inventory", held, &id.to_string()).await;
    let broken = Broken::stream(system, "inventory", format!("hold-{id}")).await;
    let (name, dead) = letter(system, "inventory", id).await;
    assert_eq!(dead["record"], "inventory.CommitInventoryHold");
    client.order_when(id, "is stuck", |order| order["status"] == "STUCK").await;
    (id, broken, name)
}

#[tokio::test]
async fn a_step_that_dies_after_the_pivot_makes_its_saga_stuck_until_a_person_moves_it_on() {
    let system = Exclusive::enter().await;
    let client = system.client("stuck-dead");
    system.restart_orders_with(&SHORT).await;
    let (id, broken, name) = stuck(&system, &client, "stuck-dead-1").await;
    let listed = ops(&system, &["saga", "list"]).await.json;
    let saga = listed["data"].as_array().unwrap().iter().find(|saga| saga["id"] == id.to_string().as_str()).unwrap();
    assert_eq!((saga["step"].as_str(), saga["stuck_reason"].as_str()), (Some("commit"), Some("deadline")), "{saga}");
    let shown = ops(&system, &["saga", "show", &id.to_string()]).await.json;
    let letters: Vec<&str> = shown["stories"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|story| story["letters"].as_array().unwrap())
        .filter_map(|l| l["code"].as_str())
        .collect();
    assert_eq!(letters, ["state_unreadable"], "the cause is shown beside the saga");
    broken.mend().await;
    let redrive = ["dlq", "redrive", &name];
    assert_eq!(ops(&system, &[&redrive[..], &SIGNED].concat()).await.json["redriven"], 1);
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);

    // The other way: the dead letter is skipped, and resuming sends the command anew.
    let (id, broken, name) = stuck(&system, &client, "stuck-dead-2").await;
    broken.mend().await;
    assert_eq!(ops(&system, &[&["dlq", "skip", &name][..], &SIGNED].concat()).await.code, 0);
    let resume = ["saga", "resume", &id.to_string()].map(str::to_owned);
    let resume: Vec<&str> = resume.iter().map(String::as_str).collect();
    let plan = ops(&system, &resume).await.json;
    assert_eq!((&plan["executed"], &plan["sends"]), (&Value::from(false), &serde_json::json!(["CommitInventoryHold"])));
    assert_eq!(ops(&system, &[&resume[..], &SIGNED].concat()).await.code, 0);
    Client::assert_ended(&client.ended(id).await, "CONFIRMED", None);
    assert_eq!(client.available("stuck-dead-2").await, 3);
    system.restart_orders_with(&USUAL).await;
    system.verdict().await;
}
