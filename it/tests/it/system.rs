//! The one system that all tests share, and the verdict over everything they did to it.

use std::sync::Arc;
use std::time::Duration;

use it::checker::{self, Report, collect};
use it::httplog::Writer;
use sqlx::{Connection as _, PgConnection};
use stack::{Service, Stack};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::client::Client;
use crate::wait::{SOON, try_until, until};

/// Key of the records that a test itself sends and aborts (see `arrival`): the checker is not told of them.
pub(crate) const OUR_OWN: &str = "it.aborted";

/// Waits of failed messages: short, since tests wait for the last of them.
const SHORT_TIERS: &str = "200,1000,5000";

static SYSTEM: RwLock<Option<System>> = RwLock::const_new(None);

/// Everything, running.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) stack: Stack,
    log: Arc<Writer>,
}

impl System {
    async fn start() -> Self {
        let stack = Stack::builder()
            .env("RETRY_DELAYS_MS", SHORT_TIERS)
            .traces()
            .start()
            .await
            .unwrap_or_else(|error| panic!("start the system: {error}"));
        let log = Arc::new(Writer::create(stack.folder().join("http.jsonl")).unwrap());
        Self { stack, log }
    }

    /// A customer of that name. Clients belong to the test that made them: their connections live on its runtime.
    pub(crate) fn client(&self, customer: &str) -> Client {
        Client::new(self.stack.gateway_url(), Arc::clone(&self.log), customer)
    }

    /// A connection to database `name` that may read everything.
    pub(crate) async fn sql(&self, name: &str) -> PgConnection {
        PgConnection::connect(&self.stack.reader_url(name)).await.unwrap()
    }

    /// The only number that `sql` yields in database `name`.
    pub(crate) async fn count(&self, name: &str, sql: &'static str, argument: &str) -> i64 {
        let mut connection = self.sql(name).await;
        sqlx::query_scalar(sql).bind(argument).fetch_one(&mut connection).await.unwrap()
    }

    /// Waits until `sql` yields at least 1 for `argument`.
    pub(crate) async fn seen(&self, what: &str, name: &str, sql: &'static str, argument: &str) {
        until(what, SOON, || async {
            match self.count(name, sql, argument).await {
                0 => Err(0),
                _ => Ok(()),
            }
        })
        .await;
    }

    pub(crate) fn sources(&self) -> collect::Sources {
        collect::Sources {
            http_log: Some(self.log.path().to_owned()),
            kafka: self.stack.kafka_bootstrap(),
            kafka_login: None,
            registry: self.stack.registry_url(),
            orders_db: self.stack.reader_url("orders"),
            inventory_db: self.stack.reader_url("inventory"),
            payments_db: self.stack.reader_url("payments"),
            provider_db: self.stack.reader_url("provider"),
        }
    }

    /// Writes out what clients asked so far.
    pub(crate) fn finish_log(&self) {
        self.log.finish().unwrap();
    }

    /// One look of the checker at everything.
    async fn check(&self) -> Report {
        self.finish_log();
        let mut world = collect::collect(&self.sources()).await.unwrap_or_else(|error| panic!("collect: {error:?}"));
        world.forget_aborted(OUR_OWN);
        checker::check(&world)
    }

    /// Waits until every order has ended, the provider has answered everything, and what was written was published and read.
    pub(crate) async fn rest(&self) {
        let rest = async {
            try_until("every order has ended", 3 * SOON, || async {
                let open = self.open_orders().await;
                if open.is_empty() { Ok(()) } else { Err(open) }
            })
            .await?;
            try_until("nothing is under way", SOON, || async {
                let calls = self.open_calls().await;
                let asked = "SELECT coalesce(sum((line->>'quantity')::bigint), 0)::bigint FROM orders, json_array_elements(lines) AS line WHERE $1 = ''";
                let behind = self.count("orders", asked, "").await
                    - self.count("inventory", "SELECT coalesce(sum(units), 0)::bigint FROM demand WHERE $1 = ''", "").await;
                if calls.is_empty() && behind == 0 { Ok(()) } else { Err((calls, behind)) }
            })
            .await
        };
        if let Err(late) = rest.await {
            panic!("{late}\n{}", self.complaints());
        }
    }

    /// The last warnings and errors of every service.
    fn complaints(&self) -> String {
        let mut text = String::new();
        for (part, runs) in self.stack.running() {
            text.push_str(&format!("{part} runs: {runs}\n"));
            if let stack::Part::Service(..) = part {
                let log = self.stack.logs(part);
                let lines: Vec<&str> = log.lines().filter(|line| !line.contains("\"INFO\"")).collect();
                for line in lines.iter().rev().take(15).rev() {
                    text.push_str(&format!("  {line}\n"));
                }
            }
        }
        text
    }

    /// The orders that have not ended, in words.
    async fn open_orders(&self) -> Vec<String> {
        let open = "SELECT concat_ws(' ', id, orders.status, sagas.status, step, cause) FROM orders LEFT JOIN sagas ON order_id = id WHERE ended_at IS NULL LIMIT 5";
        sqlx::query_scalar(open).fetch_all(&mut self.sql("orders").await).await.unwrap()
    }

    /// The calls to the provider that are not answered, in words.
    pub(crate) async fn open_calls(&self) -> Vec<String> {
        let open =
            "SELECT concat_ws(' ', stream, step, state, 'attempt', attempt, 'due in', due_at - now(), 'leased for', lease_until - now())
                    FROM effects WHERE state NOT IN ('done', 'dropped', 'dead') LIMIT 5";
        sqlx::query_scalar(open).fetch_all(&mut self.sql("payments").await).await.unwrap()
    }

    /// Waits for rest and then for a clean verdict. What was lost or doubled stays in the topics for ever, so waiting does
    /// not hide it; what is only not published yet will be.
    async fn judge(&self) -> Report {
        Box::pin(self.rest()).await;
        let mut report = Box::pin(self.check()).await;
        for _ in 0..10 {
            if report.clean() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            report = Box::pin(self.check()).await;
        }
        assert!(report.clean(), "the checker is not content:\n{report}");
        report
    }
}

/// The system beside other tests.
#[derive(Debug)]
pub(crate) struct Shared(RwLockReadGuard<'static, Option<System>>);

impl Shared {
    pub(crate) async fn enter() -> Self {
        let guard = SYSTEM.read().await;
        if guard.is_some() {
            return Self(guard);
        }
        drop(guard);
        let mut guard = SYSTEM.write().await;
        if guard.is_none() {
            *guard = Some(System::start().await);
        }
        Self(guard.downgrade())
    }

    /// Leaves; whoever leaves last has everything judged.
    pub(crate) async fn verdict(self) {
        drop(self.0);
        if let Ok(guard) = SYSTEM.try_write()
            && let Some(system) = guard.as_ref()
        {
            eprintln!("{}", system.judge().await);
        }
    }
}

impl std::ops::Deref for Shared {
    type Target = System;
    fn deref(&self) -> &System {
        self.0.as_ref().expect("entered")
    }
}

/// The system alone. A test that fails in the middle takes it down with it: the next one starts another.
#[derive(Debug)]
pub(crate) struct Exclusive {
    guard: RwLockWriteGuard<'static, Option<System>>,
    system: System,
}

impl Exclusive {
    pub(crate) async fn enter() -> Self {
        let mut guard = SYSTEM.write().await;
        let system = match guard.take() {
            Some(system) => system,
            None => System::start().await,
        };
        Self { guard, system }
    }

    /// Has everything judged and gives the system back.
    pub(crate) async fn verdict(mut self) -> Report {
        let report = self.system.judge().await;
        *self.guard = Some(self.system);
        report
    }

    /// Restarts order-service with these settings.
    pub(crate) async fn restart_orders_with(&self, settings: &[(&str, &str)]) {
        for (name, value) in settings {
            self.stack.set_env(Service::Orders, *name, *value);
        }
        self.stack.restart(Service::Orders).await.unwrap();
    }
}

impl std::ops::Deref for Exclusive {
    type Target = System;
    fn deref(&self) -> &System {
        &self.system
    }
}
