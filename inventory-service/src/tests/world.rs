use std::str::FromStr;
use std::sync::Arc;

use actix_web::App;
use actix_web::dev::{Service as _, ServiceResponse};
use actix_web::http::header;
use actix_web::test::{TestRequest, init_service, read_body};
use kafka::codec::Codec;
use kafka::registry::Registry;
use kafka::{Bridge, Cause, Failure, MessageId, Meta, Needs, Partitions, Service as _, Unit, Units};
use schemas::common::Money;
use schemas::inventory::{CommitInventoryHold, CreateInventoryHold, HoldLine, ReleaseInventoryHold};
use schemas::orders::{Idempotency, OrderLine, OrderPlaced};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use stack::Stack;
use tokio::sync::{Notify, OnceCell};
use uuid::Uuid;

use crate::handlers::{commit_inventory_hold, create_inventory_hold, order_placed, release_inventory_hold};
use crate::http::Http;
use crate::store::Rows;

static STACK: OnceCell<Stack> = OnceCell::const_new();

/// An inventory-service without its broker.
pub(super) struct World {
    pub(super) units: Units,
    pub(super) pool: PgPool,
}

/// A message to inventory.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Create(CreateInventoryHold),
    Died(CreateInventoryHold),
    Commit(CommitInventoryHold),
    Release(ReleaseInventoryHold),
    Placed(Box<OrderPlaced>),
}

/// An answer over HTTP.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) replayed: bool,
    pub(super) body: Value,
}

impl World {
    pub(super) async fn new() -> Self {
        let stack = STACK.get_or_init(|| async { Stack::only_postgres().await.expect("start PostgreSQL") }).await;
        let url = stack.create_database("inventory").await.expect("create a database").owner_url;
        // The plans of production: no scans of tables that are small now.
        let options = PgConnectOptions::from_str(&url).unwrap().options([
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
        ]);
        let pool = PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
        let mut core = sqlx::migrate!("../kafka/migrations");
        core.dangerous_set_table_name("_kafka_migrations");
        core.run(&pool).await.unwrap();
        crate::Inventory::MIGRATOR.run(&pool).await.unwrap();
        let records: Vec<_> = crate::Inventory::RECORDS.iter().zip(1_u32..).map(|((_, name, json), id)| (*name, *json, id)).collect();
        // Nothing is looked up: the ids of our own records are given.
        let codec = Codec::new(Registry::new("http://127.0.0.1:1").unwrap(), &records).unwrap();
        let partitions = Partitions::new(crate::Inventory::TOPICS.iter().map(|topic| (topic.name.to_owned(), 3)));
        let units = Units::new(pool.clone(), Arc::new(codec), Arc::new(partitions), Arc::new(Notify::new()), Arc::new(Notify::new()));
        Self { units, pool }
    }

    /// With products at 100 cents and so many units of each.
    pub(super) async fn stocked(stock: &[(&str, u32)]) -> Self {
        let world = Self::new().await;
        let answer = world.send(products("stocked", stock)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        world
    }

    /// Handles `messages` in one unit, as the consumer does with a batch.
    pub(super) async fn deliver(&self, messages: &[Message]) {
        for try_left in (0..20).rev() {
            match self.try_deliver(messages).await {
                Ok(()) => return,
                Err(error) if try_left > 0 && kafka::retry_of(&error) == kafka::Retry::Same => {}
                Err(error) => panic!("deliver {messages:?}: {error}"),
            }
        }
    }

    async fn try_deliver(&self, messages: &[Message]) -> Result<(), sqlx::Error> {
        let mut tx = self.units.begin().await?;
        let mut needs: Needs<Rows> = Needs::default();
        for message in messages {
            message.ask(&mut needs);
        }
        let mut unit = self.units.load(&mut tx, needs).await?;
        for message in messages {
            message.handle(&mut unit).expect("messages of tests are handled");
        }
        self.units.store(&mut tx, &mut unit).await?;
        tx.commit().await
    }

    /// Sends an HTTP request.
    pub(super) async fn send(&self, request: TestRequest) -> Answer {
        let http = Http::of(identity::Door::trusting(), Bridge::new(64), self.units.clone());
        let app = init_service(App::new().configure(|config| crate::http::configure(&http, config))).await;
        let response: ServiceResponse = app.call(request.to_request()).await.unwrap();
        let status = response.status().as_u16();
        let replayed = response.headers().contains_key("idempotent-replayed");
        assert!(response.headers().get(header::CONTENT_TYPE).is_some(), "every answer says what it is");
        let body = serde_json::from_slice(&read_body(response).await).unwrap();
        Answer { status, replayed, body }
    }

    /// Types of a stream's events, in order.
    pub(super) async fn events(&self, stream: &str) -> Vec<String> {
        sqlx::query_scalar("SELECT type FROM events WHERE stream = $1 ORDER BY version").bind(stream).fetch_all(&self.pool).await.unwrap()
    }

    /// Received and available units of a SKU.
    pub(super) async fn stock(&self, sku: &str) -> (i64, i64) {
        sqlx::query_as("SELECT received, available FROM stock WHERE sku = $1").bind(sku).fetch_one(&self.pool).await.unwrap()
    }

    pub(super) async fn count(&self, table: &'static str) -> i64 {
        let sql = match table {
            "events" => "SELECT count(*) FROM events",
            "outbox" => "SELECT count(*) FROM outbox",
            "products" => "SELECT count(*) FROM products",
            "hold_lines" => "SELECT count(*) FROM hold_lines",
            other => panic!("no count of {other}"),
        };
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Received = available + held + shipped, for every SKU.
    pub(super) async fn check(&self) {
        let broken: Vec<String> = sqlx::query_scalar(
            "SELECT s.sku FROM stock s LEFT JOIN hold_lines l ON l.sku = s.sku LEFT JOIN holds h ON h.order_id = l.order_id
             GROUP BY s.sku, s.received, s.available
             HAVING s.received <> s.available + coalesce(sum(l.quantity) FILTER (WHERE h.state IN ('held', 'committed')), 0)",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        assert!(broken.is_empty(), "units are not conserved: {broken:?}");
    }
}

/// `POST /v1/products` with products at 100 cents and so many units of each.
pub(super) fn products(key: &str, stock: &[(&str, u32)]) -> TestRequest {
    let products = stock.iter().map(|(sku, units)| {
        serde_json::json!({"sku": sku, "name": sku, "category": "", "brand": "", "price": {"minor": 100, "currency": "USD"}, "stock": units})
    });
    let body: Vec<Value> = products.collect();
    TestRequest::post().uri("/v1/products").insert_header(("Idempotency-Key", key)).set_json(body)
}

/// `POST /v1/stock`.
pub(super) fn receipts(key: &str, units: &[(&str, u32)]) -> TestRequest {
    let body: Vec<Value> = units.iter().map(|(sku, units)| serde_json::json!({"sku": sku, "units": units})).collect();
    TestRequest::post().uri("/v1/stock").insert_header(("Idempotency-Key", key)).set_json(body)
}

pub(super) fn create(order_id: Uuid, lines: &[(&str, i64)]) -> Message {
    let lines = lines.iter().map(|(sku, quantity)| HoldLine { sku: (*sku).to_owned(), quantity: *quantity }).collect();
    Message::Create(CreateInventoryHold { order_id, lines })
}

/// A create that died after its last attempt.
pub(super) fn died(order_id: Uuid, lines: &[(&str, i64)]) -> Message {
    let message = create(order_id, lines);
    if let Message::Create(message) = message { Message::Died(message) } else { message }
}

pub(super) fn commit(order_id: Uuid) -> Message {
    Message::Commit(CommitInventoryHold { order_id })
}

pub(super) fn release(order_id: Uuid) -> Message {
    Message::Release(ReleaseInventoryHold { order_id })
}

pub(super) fn placed(order_id: Uuid, lines: &[(&str, i64)]) -> Message {
    let lines =
        lines.iter().map(|(sku, quantity)| OrderLine { sku: (*sku).to_owned(), quantity: *quantity, unit_price_minor: 100 }).collect();
    let idempotency = Idempotency { scope: "s".to_owned(), key: "k".to_owned(), request_hash: vec![0; 32] };
    let total = Money { minor: 100, currency: "USD".to_owned() };
    Message::Placed(Box::new(OrderPlaced {
        order_id,
        customer_id: "c".to_owned(),
        lines,
        total,
        placed_at: 0,
        payment_token: None,
        contact: None,
        idempotency,
    }))
}

impl Message {
    fn order(&self) -> (Uuid, &'static str) {
        match self {
            Self::Create(message) | Self::Died(message) => (message.order_id, "create"),
            Self::Commit(message) => (message.order_id, "commit"),
            Self::Release(message) => (message.order_id, "release"),
            Self::Placed(message) => (message.order_id, "placed"),
        }
    }

    fn ask(&self, needs: &mut Needs<Rows>) {
        match self {
            Self::Create(message) | Self::Died(message) => create_inventory_hold::ask(message, needs),
            Self::Commit(message) => commit_inventory_hold::ask(message, needs),
            Self::Release(message) => release_inventory_hold::ask(message, needs),
            Self::Placed(message) => order_placed::ask(message, needs),
        }
    }

    fn handle(&self, unit: &mut Unit<Rows>) -> Result<(), Failure> {
        let (order, kind) = self.order();
        let meta =
            Meta { id: MessageId::external(&order.to_string(), kind), correlation: order.to_string(), key: order.to_string(), trace: None };
        unit.because(Cause::new(meta.id, meta.correlation.clone()));
        match self {
            Self::Create(message) => create_inventory_hold::handle(unit, &meta, message),
            Self::Died(message) => {
                create_inventory_hold::give_up(unit, &meta, message, &Failure::permanent("handler_panicked", "it panicked"))
            }
            Self::Commit(message) => commit_inventory_hold::handle(unit, &meta, message),
            Self::Release(message) => release_inventory_hold::handle(unit, &meta, message),
            Self::Placed(message) => order_placed::handle(unit, &meta, message),
        }
    }
}
