//! What an order says of a person: read by its customer, stored nowhere in the clear, gone for everybody when its key is destroyed.

use std::path::Path;
use std::process::Command;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use stack::{Service, Stack};

use crate::wait::{SOON, until};

const NAME: &str = "Canary Vogelsang";
const EMAIL: &str = "canary.vogelsang@nest.example";
const ADDRESS: &str = "Kanarienweg 17, 4711 Birdcage";
/// A card that the provider takes.
const CARD: &str = "tok_canary_4711";

struct Person<'a> {
    stack: &'a Stack,
    http: Client,
    token: String,
}

impl Person<'_> {
    async fn place(&self, key: &str, contact: Value) -> Response {
        let body = json!({"lines": [{"sku": "door-1", "quantity": 1}], "payment": {"token": CARD}, "contact": contact});
        let request = self.http.post(format!("{}/v1/orders", self.stack.gateway_url())).bearer_auth(&self.token);
        request.header("Idempotency-Key", key).json(&body).send().await.unwrap()
    }

    async fn read(&self, id: &str) -> (String, Value) {
        let answer = self.http.get(format!("{}/v1/orders/{id}", self.stack.gateway_url())).bearer_auth(&self.token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        (answer.headers()["etag"].to_str().unwrap().to_owned(), answer.json().await.unwrap())
    }

    async fn erase(&self, execute: bool) -> Value {
        let operator = self.stack.token("olga", "ops:write").await.unwrap();
        let url = format!("{}/ops/subjects/vera/erase", self.stack.ops_url(Service::Orders, 1));
        let answer = self.http.post(url).bearer_auth(operator).json(&json!({"who": "olga", "why": "asked to", "execute": execute}));
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }
}

/// Places, reads, searches, erases, and searches again.
pub(crate) async fn is_sealed_and_can_be_erased(stack: &Stack) {
    let http = Client::builder().no_proxy().build().unwrap();
    let person = Person { stack, http, token: stack.token("vera", "orders:read orders:write").await.unwrap() };
    let contact = json!({"name": NAME, "email": EMAIL, "address": ADDRESS});

    // What is wrong is said without repeating it.
    let refused = person.place("wrong", json!({"name": NAME, "email": format!("{EMAIL}@twice"), "age": 3})).await;
    assert_eq!(refused.status(), 422);
    let refused = person.place("wrong", json!({"name": NAME, "email": format!("{EMAIL}@twice")})).await;
    let text = refused.text().await.unwrap();
    assert!(text.contains("invalid_text") && text.contains("/contact/email") && !text.contains("canary"), "{text}");

    let placed = person.place("person", contact.clone()).await;
    assert_eq!(placed.status(), 202);
    let placed: Value = placed.json().await.unwrap();
    let id = placed["id"].as_str().unwrap().to_owned();
    assert!(placed.get("contact").is_none());
    // The same again is the same order; another address under the same key is another request.
    let again = person.place("person", contact.clone()).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.json::<Value>().await.unwrap()["id"], id.as_str());
    assert_eq!(person.place("person", json!({"name": NAME, "email": EMAIL})).await.status(), 422);

    assert_eq!(person.read(&id).await.1["contact"], contact);
    until("the order has ended", SOON, || async {
        let (_, shown) = person.read(&id).await;
        if shown["ended_at"].is_null() { Err(shown) } else { Ok(()) }
    })
    .await;
    nothing_is_in_the_clear(stack, &person.token).await;

    let (tag, _) = person.read(&id).await;
    let plan = person.erase(false).await;
    assert_eq!((&plan["executed"], &plan["keys"]), (&json!(false), &json!(1)));
    assert_eq!(person.read(&id).await.1["contact"], contact);
    assert_eq!(person.erase(true).await["keys"], 1);
    let (erased_tag, erased) = person.read(&id).await;
    assert!(erased.get("contact").is_none() && !erased["ended_at"].is_null());
    assert_ne!(tag, erased_tag);
    assert_eq!(person.erase(true).await["keys"], 0);
    no_key_is_left(stack).await;
    // Who wants to be known again is, by a new key.
    let next: Value = person.place("person-again", contact.clone()).await.json().await.unwrap();
    let next = next["id"].as_str().unwrap().to_owned();
    assert_eq!(person.read(&next).await.1["contact"], contact);
    assert!(person.read(&id).await.1.get("contact").is_none());
    assert_eq!(person.erase(true).await["keys"], 1);
    nothing_is_in_the_clear(stack, &person.token).await;
    // The whole story is told without it: what is sealed is carried along.
    let story = person.http.get(format!("{}/v1/orders/{id}/events", stack.gateway_url())).bearer_auth(&person.token).send().await.unwrap();
    assert!(story.text().await.unwrap().contains("event: OrderPlaced"));
}

/// Every file of the run folder: Kafka's and PostgreSQL's data with their logs of changes, the registry's, what every process printed. And
/// what every process answers about itself.
async fn nothing_is_in_the_clear(stack: &Stack, token: &str) {
    let signature = token.rsplit('.').next().unwrap();
    let known = found(stack.folder(), &["vera"]);
    assert!(["/kafka/", "/postgres/"].iter().all(|part| known.contains(part)), "what must be there is not found: {known}");
    assert_eq!(found(stack.folder(), &[NAME, EMAIL, ADDRESS, CARD, signature]), "");
    for database in ["orders", "inventory", "payments"] {
        let mut db = PgConnection::connect(&stack.reader_url(database)).await.unwrap();
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'").fetch_all(&mut db).await.unwrap();
        assert!(tables.len() > 5);
        for table in tables {
            let sql = format!(
                "SELECT count(*) FROM \"{table}\" AS t WHERE t::text LIKE '%' || $1 || '%' OR t::text LIKE '%' || encode($1::bytea, 'hex') || '%'"
            );
            for canary in [NAME, EMAIL, ADDRESS, CARD, signature] {
                let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql.clone())).bind(canary).fetch_one(&mut db).await.unwrap();
                assert_eq!(rows, 0, "{canary} is in table {table} of {database}");
            }
        }
    }
    let http = Client::builder().no_proxy().build().unwrap();
    for service in [Service::Gateway, Service::Orders, Service::Inventory, Service::Payments] {
        let metrics = http.get(format!("{}/metrics", stack.ops_url(service, 1))).send().await.unwrap().text().await.unwrap();
        for canary in [NAME, EMAIL, ADDRESS, CARD, signature] {
            assert!(!metrics.contains(canary), "{canary} is in the metrics of {service:?}");
        }
    }
}

/// The files below `folder` that have one of these texts in them, a file with a token that a test made aside.
fn found(folder: &Path, texts: &[&str]) -> String {
    let mut grep = Command::new("grep");
    grep.args(["-r", "-s", "-a", "-l", "-F", "--exclude=token"]).args(texts.iter().flat_map(|text| ["-e", text])).arg("--").arg(folder);
    String::from_utf8(grep.output().unwrap().stdout).unwrap()
}

/// No live key of the customer's, and its service can neither read who had it destroyed away nor reach beyond.
async fn no_key_is_left(stack: &Stack) {
    let mut keys = PgConnection::connect(&stack.database_url("keys")).await.unwrap();
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM customer_keys WHERE customer_id = 'vera' AND (wrapped IS NOT NULL OR nonce IS NOT NULL)")
            .fetch_one(&mut keys)
            .await
            .unwrap();
    assert_eq!(kept, 0);
    let who: Vec<String> = sqlx::query_scalar("SELECT who FROM erasures WHERE customer_id = 'vera'").fetch_all(&mut keys).await.unwrap();
    assert_eq!(who, ["olga", "olga"]);
    for statement in
        ["DELETE FROM erasures", "UPDATE erasures SET who = ''", "DELETE FROM customer_keys", "UPDATE customer_keys SET customer_id = ''"]
    {
        let denied = sqlx::query(AssertSqlSafe(statement)).execute(&mut keys).await.unwrap_err();
        assert_eq!(denied.as_database_error().unwrap().code().unwrap(), "42501", "{statement}");
    }
    // The store is its service's alone: not the reader's, not the service's other role's.
    for other in [stack.reader_url("orders"), stack.database_url("orders")] {
        let mut other = reqwest::Url::parse(&other).unwrap();
        other.set_path("keys");
        let refused = PgConnection::connect(other.as_str()).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501", "{refused}");
    }
}
