use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use kafka::codec::Codec;
use kafka::registry::Registry;
use kafka::seal::Sealer;
use kafka::{Cause, Failure, MessageId, Meta, Needs, Partitions, Service as _, Unit, Units, worker};
use schemas::common::{Money, Sealed};
use schemas::orders::{Idempotency, OrderPlaced};
use schemas::payments::{CapturePayment, RefundPayment, VoidPayment};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use stack::Stack;
use tokio::sync::{Notify, OnceCell, watch};
use uuid::Uuid;

use crate::calls::Calls;
use crate::handlers::{capture_payment, order_placed, refund_payment, void_payment};
use crate::provider::Simulator;
use crate::store::Books;

static STACK: OnceCell<Stack> = OnceCell::const_new();
const KEY: &str = "abababababababababababababababababababababababababababababababab";
pub(super) const TOTAL: i64 = 500;

/// A fresh database, connected as its owner.
pub(super) async fn database(name: &str) -> (String, PgPool) {
    let stack = STACK.get_or_init(|| async { Stack::only_postgres().await.expect("start PostgreSQL") }).await;
    let url = stack.create_database(name).await.expect("create a database").owner_url;
    let options = PgConnectOptions::from_str(&url).unwrap();
    (url, PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap())
}

/// Waits until `condition` yields a value; fails with `what` after 20 s.
pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} did not happen within 20 s");
        drop(tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await);
    }
}

/// A payment-service without its broker.
pub(super) struct World {
    units: Units,
    pub(super) pool: PgPool,
    pub(super) provider: PgPool,
    sealer: Sealer,
    calls: Arc<Calls<Simulator>>,
    wake: Arc<Notify>,
    stop: watch::Sender<bool>,
}

/// A message about a payment.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Placed(Box<OrderPlaced>),
    Capture(CapturePayment),
    Void(VoidPayment),
    Refund(RefundPayment),
    /// The message dies after its last attempt.
    Died(Box<Message>),
}

impl World {
    pub(super) async fn new() -> Self {
        let (_, pool) = database("payments").await;
        let mut core = sqlx::migrate!("../kafka/migrations");
        core.dangerous_set_table_name("_kafka_migrations");
        core.run(&pool).await.unwrap();
        crate::Payments::MIGRATOR.run(&pool).await.unwrap();
        let (url, provider) = database("provider").await;
        let simulator = Simulator::connect(&url).await.unwrap();
        let calls = Arc::new(Calls::new(simulator, Sealer::new("1", KEY).unwrap()));
        let records: Vec<_> = crate::Payments::RECORDS.iter().zip(1_u32..).map(|((_, name, json), id)| (*name, *json, id)).collect();
        // Nothing is looked up: the ids of our own records are given.
        let codec = Codec::new(Registry::new("http://127.0.0.1:1").unwrap(), &records).unwrap();
        let partitions = Partitions::new(crate::Payments::TOPICS.iter().map(|topic| (topic.name.to_owned(), 3)));
        let wake = Arc::new(Notify::new());
        let units = Units::new(pool.clone(), Arc::new(codec), Arc::new(partitions), Arc::new(Notify::new()), Arc::clone(&wake));
        let (stop, _) = watch::channel(false);
        Self { units, pool, provider, sealer: Sealer::new("1", KEY).unwrap(), calls, wake, stop }
    }

    /// Starts the effect worker.
    pub(super) fn work(&self) {
        tokio::spawn(worker::run(self.units.clone(), Arc::clone(&self.calls), Arc::clone(&self.wake), self.stop.subscribe()));
    }

    fn token(&self, order: Uuid, token: &str) -> Option<Sealed> {
        let sealed = self.sealer.seal(&order.to_string(), "payment_token", token.as_bytes()).unwrap();
        Some(Sealed { key_id: sealed.key_id, nonce: sealed.nonce, bytes: sealed.bytes })
    }

    pub(super) fn placed(&self, order: Uuid, token: &str) -> Message {
        let idempotency = Idempotency { scope: "s".to_owned(), key: "k".to_owned(), request_hash: vec![0; 32] };
        Message::Placed(Box::new(OrderPlaced {
            order_id: order,
            customer_id: "c".to_owned(),
            lines: Vec::new(),
            total: usd(TOTAL),
            placed_at: 0,
            payment_token: self.token(order, token),
            contact: None,
            idempotency,
        }))
    }

    pub(super) fn capture(&self, order: Uuid, token: &str) -> Message {
        Message::Capture(CapturePayment { order_id: order, amount: usd(TOTAL), payment_token: self.token(order, token) })
    }

    /// Handles `messages` in one unit, as the consumer does with a batch.
    pub(super) async fn deliver(&self, messages: &[Message]) {
        for try_left in (0..5).rev() {
            match self.try_deliver(messages).await {
                Ok(()) => return,
                Err(error) if try_left > 0 && kafka::retry_of(&error) == kafka::Retry::Same => {}
                Err(error) => panic!("deliver {messages:?}: {error}"),
            }
        }
    }

    async fn try_deliver(&self, messages: &[Message]) -> Result<(), sqlx::Error> {
        let mut tx = self.units.begin().await?;
        let mut needs: Needs<Books> = Needs::default();
        for message in messages {
            message.ask(&mut needs);
        }
        let mut unit = self.units.load(&mut tx, needs).await?;
        for message in messages {
            message.handle(&mut unit).expect("messages of tests are handled");
        }
        self.units.store(&mut tx, &mut unit).await?;
        tx.commit().await?;
        self.units.committed(&mut unit);
        Ok(())
    }

    /// Types of the payment's events with the messages they answer, in order.
    pub(super) async fn events(&self, order: Uuid) -> Vec<(String, Uuid)> {
        sqlx::query_as("SELECT type, causation_id FROM events WHERE stream = $1 ORDER BY version")
            .bind(format!("payment-{order}"))
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Step and state of the payment's effects, in order.
    pub(super) async fn effects(&self, order: Uuid) -> Vec<(String, String)> {
        sqlx::query_as("SELECT step, state FROM effects WHERE stream = $1 ORDER BY pos")
            .bind(format!("payment-{order}"))
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Waits until the payment is `state` and nothing is being called; checks the ledger; returns what the provider says.
    pub(super) async fn settled(&self, order: Uuid, state: &str) -> Provider {
        eventually(&format!("payment {state}"), || async {
            let now: Option<String> =
                sqlx::query_scalar("SELECT state FROM payments WHERE order_id = $1").bind(order).fetch_optional(&self.pool).await.unwrap();
            let open = self.effects(order).await.into_iter().any(|(_, state)| matches!(state.as_str(), "pending" | "calling" | "unknown"));
            (now.as_deref() == Some(state) && !open).then_some(())
        })
        .await;
        let unbalanced: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (SELECT 1 FROM ledger GROUP BY order_id, version, currency HAVING sum(amount_minor) <> 0) AS u",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        assert_eq!(unbalanced, 0, "the ledger balances");
        self.provider().await
    }

    /// The provider's only row: tests have one order each.
    pub(super) async fn provider(&self) -> Provider {
        let row: Option<(String, i64, i64, i32)> = sqlx::query_as("SELECT state, captured_minor, refunded_minor, calls FROM operations")
            .fetch_optional(&self.provider)
            .await
            .unwrap();
        let (state, captured, refunded, calls) = row.unwrap_or_default();
        Provider { state, captured, refunded, calls }
    }

    /// The payment's balance in our books of what was taken.
    pub(super) async fn taken(&self, order: Uuid) -> i64 {
        let sum = "SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger WHERE order_id = $1 AND account = 'captured'";
        sqlx::query_scalar(sum).bind(order).fetch_one(&self.pool).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// What the provider says of the order's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Provider {
    pub(super) state: String,
    pub(super) captured: i64,
    pub(super) refunded: i64,
    pub(super) calls: i32,
}

impl Provider {
    pub(super) fn new(state: &str, captured: i64, refunded: i64, calls: i32) -> Self {
        Self { state: state.to_owned(), captured, refunded, calls }
    }
}

pub(super) fn usd(minor: i64) -> Money {
    Money { minor, currency: "USD".to_owned() }
}

impl Message {
    /// Its id: one message of a kind an order.
    pub(super) fn id(&self) -> Uuid {
        let (order, kind) = match self {
            Self::Placed(message) => (message.order_id, "placed"),
            Self::Capture(message) => (message.order_id, "capture"),
            Self::Void(message) => (message.order_id, "void"),
            Self::Refund(message) => (message.order_id, "refund"),
            Self::Died(message) => return message.id(),
        };
        MessageId::external(&order.to_string(), kind).uuid()
    }

    fn ask(&self, needs: &mut Needs<Books>) {
        match self {
            Self::Placed(message) => order_placed::ask(message, needs),
            Self::Capture(message) => capture_payment::ask(message, needs),
            Self::Void(message) => void_payment::ask(message, needs),
            Self::Refund(message) => refund_payment::ask(message, needs),
            Self::Died(message) => message.ask(needs),
        }
    }

    fn handle(&self, unit: &mut Unit<Books>) -> Result<(), Failure> {
        let meta = Meta { id: self.id().into(), correlation: "story".to_owned(), key: "key".to_owned(), trace: None };
        unit.because(Cause::new(meta.id, meta.correlation.clone()));
        match self {
            Self::Placed(message) => order_placed::handle(unit, &meta, message),
            Self::Capture(message) => capture_payment::handle(unit, &meta, message),
            Self::Void(message) => void_payment::handle(unit, &meta, message),
            Self::Refund(message) => refund_payment::handle(unit, &meta, message),
            Self::Died(message) => {
                let failure = Failure::permanent("handler_panicked", "it panicked");
                match message.as_ref() {
                    Self::Placed(message) => order_placed::give_up(unit, &meta, message, &failure),
                    Self::Capture(message) => capture_payment::give_up(unit, &meta, message, &failure),
                    Self::Void(_) | Self::Refund(_) | Self::Died(_) => panic!("{self:?} is never given up"),
                }
            }
        }
    }
}
