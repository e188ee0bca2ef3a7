//! One running order-service for all tests, and what they say and see of it.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use contract::ProblemDocument;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use schemas::{inventory, payments, topics};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use stack::{Service, Stack};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};
use uuid::Uuid;
use values::OrderId;

use crate::participant::Participant;
use crate::proxy::{self, ToLose};

pub(crate) const PARTITIONS: i32 = 3;
/// Long enough for every path that does not wait for it on a busy machine.
pub(crate) const STEP_DEADLINE: Duration = Duration::from_secs(10);
/// How long a condition is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    stack: Stack,
    url: String,
    pub(crate) ops: String,
    /// How many placements' COMMITs are to lose their answer.
    pub(crate) commits_to_lose: ToLose,
    pub(crate) inventory: Participant,
    pub(crate) payments: Participant,
}

static WORLD: OnceCell<World> = OnceCell::const_new();
static NAMES: AtomicU32 = AtomicU32::new(0);

/// The one world, started by whoever comes first.
pub(crate) async fn world() -> &'static World {
    WORLD.get_or_init(World::start).await
}

/// A name nobody else has.
pub(crate) fn name(what: &str) -> String {
    format!("{what}-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn body(lines: &[(&str, i64)]) -> String {
    let lines: Vec<String> = lines.iter().map(|(sku, quantity)| format!(r#"{{"sku":"{sku}","quantity":{quantity}}}"#)).collect();
    format!(r#"{{"lines":[{}],"payment":{{"token":"tok_ok"}}}}"#, lines.join(","))
}

thread_local! {
    /// Each test has a thread and a runtime of its own, and a pooled connection dies with its runtime: so each has its own pool.
    static CLIENT: Client = Client::new();
}

pub(crate) fn client() -> Client {
    CLIENT.with(Client::clone)
}

impl World {
    async fn start() -> Self {
        let stack = Stack::infrastructure().await.unwrap();
        for service in [topics::INVENTORY, topics::PAYMENTS] {
            let own: Vec<_> = topics::owned_by(service).collect();
            kafka::topics::create(&kafka::Cluster::open(stack.kafka_bootstrap()), service, &own, PARTITIONS).await.unwrap();
        }
        let set_up = Command::new(env!("CARGO_BIN_EXE_order-service"))
            .arg("setup")
            .env("OWNER_DATABASE_URL", stack.owner_url("orders"))
            .env("KAFKA_BOOTSTRAP", stack.kafka_bootstrap())
            .env("PARTITIONS", PARTITIONS.to_string())
            .status()
            .unwrap();
        assert!(set_up.success());
        let mut database = reqwest::Url::parse(&stack.database_url("orders")).unwrap();
        let (port, commits_to_lose) = proxy::start(database.port().unwrap());
        database.set_port(Some(port)).unwrap();
        stack.set_env(Service::Orders, "DATABASE_URL", database.as_str());
        stack.set_env(Service::Orders, "STEP_DEADLINE_MS", STEP_DEADLINE.as_millis().to_string());
        stack.set_env(Service::Orders, "DEADLINE_GRACE_MS", "0");
        let instance = stack.add_instance(Service::Orders).await.unwrap();
        let (bootstrap, registry) = (stack.kafka_bootstrap(), stack.registry_url());
        let world = Self {
            url: stack.service_url(Service::Orders, instance),
            ops: stack.ops_url(Service::Orders, instance),
            inventory: Participant::new(topics::INVENTORY, &bootstrap, &registry).await,
            payments: Participant::new(topics::PAYMENTS, &bootstrap, &registry).await,
            commits_to_lose,
            stack,
        };
        for (sku, minor, currency) in [("apple", 250, "USD"), ("pear", 100, "USD"), ("gold", i64::MAX, "USD"), ("brie", 900, "EUR")] {
            world.list(sku, minor, currency).await;
        }
        world
    }

    /// Lists a product and waits until it can be ordered.
    pub(crate) async fn list(&self, sku: &str, minor: i64, currency: &str) {
        let listed = inventory::ProductListed {
            sku: sku.to_owned(),
            name: sku.to_owned(),
            category: "food".to_owned(),
            brand: "own".to_owned(),
            price: schemas::common::Money { minor, currency: currency.to_owned() },
            listed_at: 0,
        };
        self.inventory.say(sku, &listed).await;
        until("the price is known", async || {
            let asked = client().post(format!("{}/internal/prices/known", self.url)).header("content-type", "application/json");
            let known: contract::PricesKnown = asked.body(format!(r#"{{"skus":["{sku}"]}}"#)).send().await.ok()?.json().await.ok()?;
            (known.known == 1).then_some(())
        })
        .await;
    }

    pub(crate) fn post(&self, path: &str, customer: &str) -> RequestBuilder {
        client().post(format!("{}{path}", self.url)).header("x-customer-id", customer)
    }

    pub(crate) fn get(&self, path: &str, customer: &str) -> RequestBuilder {
        client().get(format!("{}{path}", self.url)).header("x-customer-id", customer)
    }

    pub(crate) async fn place(&self, customer: &str, key: &str, body: &str) -> Response {
        let request = self.post("/v1/orders", customer).header("idempotency-key", key).header("content-type", "application/json");
        request.body(body.to_owned()).send().await.unwrap()
    }

    /// An order of one apple by a new customer.
    pub(crate) async fn order(&self) -> Order<'_> {
        let customer = name("customer");
        let placed = self.place(&customer, "1", &body(&[("apple", 1)])).await;
        assert_eq!(placed.status(), StatusCode::ACCEPTED);
        let id = placed.json::<contract::Order>().await.unwrap().id;
        Order { world: self, customer, id }
    }

    pub(crate) async fn reader(&self) -> PgConnection {
        PgConnection::connect(&self.stack.reader_url("orders")).await.unwrap()
    }

    /// As the service itself, to be in its way.
    pub(crate) async fn intruder(&self) -> PgPool {
        PgPoolOptions::new().max_connections(1).connect(&self.stack.database_url("orders")).await.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.stack.logs(Service::Orders)
    }
}

/// One placed order.
pub(crate) struct Order<'a> {
    pub(crate) world: &'a World,
    pub(crate) customer: String,
    pub(crate) id: OrderId,
}

impl Order<'_> {
    pub(crate) async fn read(&self) -> contract::Order {
        self.world.get(&format!("/v1/orders/{}", self.id), &self.customer).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn cancel(&self) -> Response {
        self.world.post(&format!("/v1/orders/{}/cancel", self.id), &self.customer).send().await.unwrap()
    }

    /// What was published about the order, in order: `record` or `record state reason` for steps; and checks that it is published.
    pub(crate) async fn published(&self) -> Vec<String> {
        let mut db = self.world.reader().await;
        let headers: Vec<Vec<u8>> = sqlx::query_scalar("SELECT headers FROM outbox WHERE key = $1 ORDER BY id")
            .bind(self.id.to_string().into_bytes())
            .fetch_all(&mut db)
            .await
            .unwrap();
        let kind = |headers: &Vec<u8>| {
            let mut all = kafka::message::HeaderText::parse(headers);
            all.find(|(name, _)| *name == "ce_type").map(|(_, value)| value.split_once('.').unwrap().1.to_owned()).unwrap()
        };
        headers.iter().map(kind).filter(|kind| kind != "SagaStepRecorded").collect()
    }

    /// Waits until `record` was sent.
    pub(crate) async fn sent(&self, record: &str) {
        until(&format!("{record} was sent"), async || self.published().await.iter().any(|sent| sent == record).then_some(())).await;
    }

    pub(crate) async fn status(&self, status: contract::OrderStatus) -> contract::Order {
        until(&format!("the order is {status:?}"), async || Some(self.read().await).filter(|order| order.status == status)).await
    }

    pub(crate) async fn ended(&self) -> contract::Order {
        until("the saga has ended", async || Some(self.read().await).filter(|order| order.ended_at.is_some())).await
    }

    fn uuid(&self) -> Uuid {
        self.id.into()
    }

    pub(crate) async fn reserved(&self) {
        let reserved = inventory::InventoryReserved { order_id: self.uuid(), lines: vec![], reserved_at: 0 };
        self.world.inventory.say(&self.id.to_string(), &reserved).await;
    }

    pub(crate) async fn rejected(&self) {
        let rejected = inventory::InventoryRejected { order_id: self.uuid(), short: vec![], rejected_at: 0 };
        self.world.inventory.say(&self.id.to_string(), &rejected).await;
    }

    pub(crate) async fn committed(&self) {
        let committed = inventory::InventoryHoldCommitted { order_id: self.uuid(), committed_at: 0 };
        self.world.inventory.say(&self.id.to_string(), &committed).await;
    }

    pub(crate) async fn released(&self) {
        let released = inventory::InventoryHoldReleased { order_id: self.uuid(), lines: vec![], released_at: 0 };
        self.world.inventory.say(&self.id.to_string(), &released).await;
    }

    pub(crate) async fn captured(&self) {
        let amount = schemas::common::Money { minor: 250, currency: "USD".to_owned() };
        let captured = payments::PaymentCaptured { order_id: self.uuid(), amount, captured_at: 0 };
        self.world.payments.say(&self.id.to_string(), &captured).await;
    }

    pub(crate) async fn declined(&self) {
        let declined = payments::PaymentDeclined { order_id: self.uuid(), code: "card".to_owned(), declined_at: 0 };
        self.world.payments.say(&self.id.to_string(), &declined).await;
    }

    pub(crate) async fn voided(&self) {
        let voided = payments::PaymentVoided { order_id: self.uuid(), voided_at: 0 };
        self.world.payments.say(&self.id.to_string(), &voided).await;
    }

    pub(crate) async fn refunded(&self) {
        let amount = schemas::common::Money { minor: 250, currency: "USD".to_owned() };
        let refunded = payments::PaymentRefunded { order_id: self.uuid(), amount, refunded_at: 0 };
        self.world.payments.say(&self.id.to_string(), &refunded).await;
    }

    pub(crate) async fn step_failed(&self, step: &str) {
        let failed = payments::StepFailed { order_id: self.uuid(), step: step.to_owned(), code: "provider_gone".to_owned(), failed_at: 0 };
        self.world.payments.say(&self.id.to_string(), &failed).await;
    }
}

pub(crate) async fn problem(response: Response) -> (u16, String, Vec<String>) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let document: ProblemDocument = response.json().await.unwrap();
    assert_eq!(document.status, status);
    (status, document.code.to_string(), document.errors.iter().map(|fault| fault.pointer.to_string()).collect())
}

/// Waits for a condition.
pub(crate) async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        if Instant::now() > deadline {
            let log = WORLD.get().map(World::log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            panic!("not within {PATIENCE:?}: {what}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        sleep(Duration::from_millis(20)).await;
    }
}
