//! The whole system on ports of its own, every link of it behind a proxy, with a shop full of products.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use stack::{Part, Service, Stack};
use uuid::Uuid;

use super::load::{Load, Placing};
use super::{Client, Links, Options, SOON, Shop, patience, until};
use crate::checker::{self, Report, collect};
use crate::httplog::Writer;
use crate::proxy::{Listening, Mode};

/// Baskets read at most: more are not needed, they come again under other keys.
const BASKETS_MAX: usize = 1_000;
/// Products of one request.
const PRODUCTS_AT_ONCE: usize = 1_000;
/// Retry tiers and patience of fault runs are short (PROTOCOLS 3): what waits for a time, waits little.
const SHORT_TIMES: [(&str, &str); 2] = [("DEADLINE_GRACE_MS", "2000"), ("RETRY_DELAYS_MS", "200,1000,5000")];

/// A running system that can be harmed.
#[derive(Debug)]
pub struct Stage {
    /// Its parts.
    pub stack: Stack,
    /// What is between them.
    pub links: Links,
    log: Arc<Writer>,
    client: Client,
    baskets: Arc<Vec<super::Basket>>,
    loads: usize,
    /// How long it may take to come to rest.
    patience: Duration,
    /// Acknowledged orders that were lost with a database.
    pub lost: HashSet<Uuid>,
    /// Left as no checker could like it: only faults that judge by other means may go on with it.
    pub polluted: bool,
}

fn failpoints_log(stack: &Stack, service: Service) -> std::path::PathBuf {
    stack.folder().join(format!("failpoints-{}.log", service.name()))
}

impl Stage {
    /// Starts everything and fills the shop; takes about half a minute.
    ///
    /// # Errors
    /// A part does not start, or the data cannot be read.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        let shop = Shop::read(options.data.as_deref(), BASKETS_MAX)?;
        let kafka = Listening::at("kafka").await.context("take a port for the broker's proxy")?;
        let mut builder = Stack::builder().parts([Part::Postgres, Part::Kafka, Part::Registry]).kafka_behind_proxy(kafka.port());
        for (name, value) in SHORT_TIMES {
            builder = builder.env(name, value);
        }
        if let Some(sabotage) = &options.sabotage {
            builder = builder.env("SABOTAGE", sabotage);
        }
        let stack = builder.start().await?;
        for service in Service::ALL {
            stack.set_env(service, "FAILPOINTS_LOG", failpoints_log(&stack, service).to_string_lossy());
        }
        let links = Links::set(&stack, kafka).await.context("set up the proxies")?;
        stack.add_services(&Service::ALL).await?;
        let log = Arc::new(Writer::create(stack.folder().join("http.jsonl"))?);
        let client = Client::new(stack.gateway_url(), Arc::clone(&log), "clerk")?;
        let stage = Self {
            stack,
            links,
            log,
            client,
            baskets: Arc::new(shop.baskets),
            loads: 0,
            patience: patience(options.sabotage.is_some()),
            lost: HashSet::new(),
            polluted: false,
        };
        stage.list(&shop.products).await?;
        Ok(stage)
    }

    /// Creates products and waits until they can be ordered.
    ///
    /// # Errors
    /// They are refused, or that takes too long.
    pub async fn list(&self, products: &[Value]) -> anyhow::Result<()> {
        for part in products.chunks(PRODUCTS_AT_ONCE) {
            let (key, body) = (Uuid::now_v7().to_string(), Value::from(part.to_vec()));
            until("products can be ordered", SOON, || async {
                match self.client.post("/v1/products", &key, &body).await? {
                    Some(answer) if answer.status == 201 => Ok(Ok(())),
                    Some(answer) if matches!(answer.status, 400..=428) => {
                        anyhow::bail!("the products were refused: {}", String::from_utf8_lossy(&answer.bytes))
                    }
                    other => Ok(Err(format!("{:?}", other.map(|answer| answer.status)))),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// A customer of that name.
    #[must_use]
    pub fn client(&self, customer: &str) -> Client {
        self.client.of(customer)
    }

    /// Places at least `orders` baskets at `rate` a second, until [`Load::finish`].
    pub fn load(&mut self, orders: usize, rate: u32) -> Load {
        self.load_of(orders, rate, false)
    }

    /// The same, where every second order asks to be answered once it is published.
    pub fn load_published(&mut self, orders: usize, rate: u32) -> Load {
        self.load_of(orders, rate, true)
    }

    fn load_of(&mut self, orders: usize, rate: u32, published: bool) -> Load {
        self.loads += 1;
        let placing = Placing { name: format!("load-{}", self.loads), orders, rate, published };
        Load::start(self.client.clone(), Arc::clone(&self.baskets), placing)
    }

    /// The only number that `sql` yields in database `name`.
    ///
    /// # Errors
    /// The database does not answer, or not with one number.
    pub async fn count(&self, name: &str, sql: &'static str) -> anyhow::Result<i64> {
        let mut connection = self.sql(name).await?;
        Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await?)
    }

    /// A connection to database `name` that may read everything, past the proxies.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn sql(&self, name: &str) -> anyhow::Result<PgConnection> {
        PgConnection::connect(&self.stack.reader_url(name)).await.with_context(|| format!("connect to database {name}"))
    }

    /// Orders placed and not ended.
    ///
    /// # Errors
    /// As [`Stage::count`].
    pub async fn open_orders(&self) -> anyhow::Result<i64> {
        self.count("orders", "SELECT count(*) FROM orders WHERE ended_at IS NULL").await
    }

    /// Waits until the system is as far ahead as with `before` open orders under the same load; how long that took.
    ///
    /// # Errors
    /// That takes longer than a minute.
    pub async fn recovered(&self, before: i64) -> anyhow::Result<Duration> {
        let since = std::time::Instant::now();
        let enough = (before * 2).max(20);
        until("the system is back at its rate", self.patience, || async {
            // the database itself may be what was killed
            let open = self.open_orders().await.unwrap_or(i64::MAX);
            Ok(if open <= enough { Ok(()) } else { Err(format!("{open} orders are open, {before} were before")) })
        })
        .await?;
        Ok(since.elapsed())
    }

    /// Arms failpoints (`kafka::harm`) of a service for its next start; an empty text disarms them.
    pub fn arm(&self, service: Service, failpoints: &str) {
        self.stack.set_env(service, "FAILPOINTS", failpoints);
    }

    /// How often a failpoint of a service was reached so far with that action, by all its processes.
    #[must_use]
    pub fn reached(&self, service: Service, point: &str, action: &str) -> usize {
        // no file before the first
        let told = std::fs::read_to_string(failpoints_log(&self.stack, service)).unwrap_or_default();
        told.lines().filter(|line| line.split_once(' ') == Some((point, action))).count()
    }

    /// A value of an instance's `/metrics`, all labels together; zero if it is not there yet.
    ///
    /// # Errors
    /// The instance does not answer.
    pub async fn metric(&self, service: Service, instance: u32, name: &str) -> anyhow::Result<f64> {
        let url = format!("{}/metrics", self.stack.ops_url(service, instance));
        let text = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?.get(url).send().await?.text().await?;
        let values = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// What an instance's `/readyz` says of partitions that stand still; empty when none does.
    ///
    /// # Errors
    /// The instance does not answer.
    pub async fn held(&self, service: Service, instance: u32) -> anyhow::Result<String> {
        let url = format!("{}/readyz", self.stack.ops_url(service, instance));
        let answer: Value =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?.get(url).send().await?.json().await?;
        let checks = answer.get("checks").and_then(Value::as_array).cloned().unwrap_or_default();
        let check = checks.iter().find(|check| check.get("check").is_some_and(|name| name == "partitions_not_held"));
        Ok(check.and_then(|check| check.get("detail")).and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Makes every link pass again.
    pub fn mend(&self) {
        for link in self.links.all() {
            link.set(Mode::Pass);
            link.cut_after_commit(0);
            link.judge(None);
        }
    }

    /// Waits until every order has ended, the provider has answered everything, and what was written was published and read.
    ///
    /// # Errors
    /// That takes too long; the last complaints of every service are told.
    pub async fn rest(&self) -> anyhow::Result<()> {
        let rest = async {
            until("every order has ended", 3 * self.patience, || async {
                let open = "SELECT concat_ws(' ', id, orders.status, sagas.status, step, cause) FROM orders LEFT JOIN sagas ON order_id = id WHERE ended_at IS NULL LIMIT 5";
                let open: Vec<String> = sqlx::query_scalar(open).fetch_all(&mut self.sql("orders").await?).await?;
                Ok(if open.is_empty() { Ok(()) } else { Err(open.join("; ")) })
            })
            .await?;
            until("nothing is under way", self.patience, || async {
                let calls = self.count("payments", "SELECT count(*) FROM effects WHERE state NOT IN ('done', 'dropped', 'dead')").await?;
                let asked = "SELECT coalesce(sum((line->>'quantity')::bigint), 0)::bigint FROM orders, json_array_elements(lines) AS line";
                let behind = self.count("orders", asked).await?
                    - self.count("inventory", "SELECT coalesce(sum(units), 0)::bigint FROM demand").await?;
                Ok(if calls == 0 && behind == 0 { Ok(()) } else { Err(format!("{calls} calls are open, {behind} units are not counted")) })
            })
            .await
        };
        rest.await.with_context(|| self.complaints())
    }

    /// The last warnings and errors of every service.
    #[must_use]
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        for (part, runs) in self.stack.running() {
            text.push_str(&format!("{part} runs: {runs}\n"));
            if let Part::Service(..) = part {
                let log = self.stack.logs(part);
                let lines: Vec<&str> = log.lines().filter(|line| !line.contains("\"INFO\"")).collect();
                for line in lines.iter().rev().take(8).rev() {
                    let short: String = line.chars().take(240).collect();
                    text.push_str(&format!("  {short}\n"));
                }
            }
        }
        text
    }

    fn sources(&self) -> collect::Sources {
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

    /// One look of the checker at everything.
    ///
    /// # Errors
    /// Something cannot be read.
    pub async fn check(&self) -> anyhow::Result<Report> {
        self.log.finish()?;
        let mut world = Box::pin(collect::collect(&self.sources())).await?;
        world.forget_lost(&self.lost);
        Ok(checker::check(&world))
    }

    /// Waits for rest and then for a clean verdict, ten seconds at most. What was lost or doubled stays in the topics for
    /// ever, so waiting does not hide it; what is only not published yet will be.
    ///
    /// # Errors
    /// It does not come to rest, or something cannot be read.
    pub async fn verdict(&self) -> anyhow::Result<Report> {
        Box::pin(self.rest()).await?;
        let mut report = self.check().await?;
        for _ in 0..10 {
            if report.clean() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            report = self.check().await?;
        }
        Ok(report)
    }

    /// Stops everything.
    pub async fn end(self) {
        self.stack.shutdown().await;
    }
}
