//! The system under load: where it is, and how the bench reaches it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use it::httplog;
use tokio::time::sleep;
use uuid::Uuid;

use crate::client::{Call, Client};
use crate::conservation::Books;
use crate::progress::{Progress, Shown, say};
use crate::reader::Reader;
use crate::watch::Source;
use crate::wire::NewProduct;

/// Most products in one request. Source: the interface.
const PRODUCTS_MAX: usize = 1_000;
/// Status of products that can be ordered.
const CREATED: u16 = 201;
/// Pause before products are sent again that cannot be ordered yet; the gateway itself has waited by then.
const PRICES_EVERY: Duration = Duration::from_millis(200);
/// How often SQL is asked whether all orders have ended.
const ENDED_EVERY: Duration = Duration::from_millis(200);
/// How long nothing ends before stuck sagas are looked for.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// Stuck orders named, at most.
const STUCK_NAMED_MAX: usize = 10;

/// Where the system is: the names that `./run status -o env` prints.
#[derive(Debug, Clone, Args)]
pub struct Address {
    /// The public door.
    #[arg(long, env = "GATEWAY_URL", value_name = "URL")]
    pub gateway_url: Option<String>,
    /// Brokers, to watch decisions in orders.events.
    #[arg(long, env = "KAFKA_BOOTSTRAP", value_name = "HOST:PORT")]
    pub kafka_bootstrap: Option<String>,
    /// Set where Kafka lets in principals only: decisions are watched by SQL then.
    #[arg(long, env = "KAFKA_USER", value_name = "NAME")]
    pub kafka_user: Option<String>,
    /// Orders database, read-only role.
    #[arg(long, env = "ORDERS_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub orders_database_url: Option<String>,
    /// Inventory database, read-only role.
    #[arg(long, env = "INVENTORY_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub inventory_database_url: Option<String>,
    /// Payments database, read-only role.
    #[arg(long, env = "PAYMENTS_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub payments_database_url: Option<String>,
    /// The payment simulator's database, read-only role.
    #[arg(long, env = "PROVIDER_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub provider_database_url: Option<String>,
    /// How decisions are watched; auto takes the first that is reachable of kafka, sql, http.
    #[arg(long, value_enum, default_value = "auto")]
    pub watch: WatchBy,
    /// Seconds a request is repeated, and seconds without any decision, before the run is given up.
    #[arg(long, default_value_t = 120, value_name = "S")]
    pub patience: u64,
    /// Log of every request, for the checker: one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub http_log: Option<std::path::PathBuf>,
}

/// The watcher asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WatchBy {
    /// The first of the others whose address is given.
    Auto,
    /// orders.events.
    Kafka,
    /// The orders database.
    Sql,
    /// GET requests.
    Http,
}

/// The system, reached.
#[derive(Debug, Clone)]
pub struct System {
    /// The gateway.
    pub client: Arc<Client>,
    /// Where decisions are watched.
    pub source: Source,
    /// How long to wait for anything.
    pub patience: Duration,
    /// The orders database.
    pub orders: Option<Reader>,
    inventory: Option<Reader>,
    payments: Option<Reader>,
    provider: Option<Reader>,
}

impl System {
    /// Connects to what `address` names.
    ///
    /// # Errors
    /// When there is no gateway address, a database refuses, or the log cannot be created.
    pub async fn connect(address: &Address) -> Result<Self> {
        let Some(gateway) = &address.gateway_url else {
            bail!("GATEWAY_URL is not set: start the system with ./run, then: set -a; eval \"$(./run status -o env)\"; set +a");
        };
        let log = address.http_log.clone().map(httplog::Writer::create).transpose().context("create the HTTP log")?;
        let patience = Duration::from_secs(address.patience);
        let client = Arc::new(Client::new(gateway, patience, log)?);
        let orders = reader("orders", address.orders_database_url.as_deref()).await?;
        let source = match (address.watch, address.kafka_bootstrap.as_ref().filter(|_| address.kafka_user.is_none()), &orders) {
            (WatchBy::Auto | WatchBy::Kafka, Some(bootstrap), _) => Source::Kafka(bootstrap.clone()),
            (WatchBy::Kafka, None, _) => bail!("to watch by Kafka, KAFKA_BOOTSTRAP must be set, and KAFKA_USER not"),
            (WatchBy::Auto | WatchBy::Sql, _, Some(orders)) => Source::Sql(orders.clone()),
            (WatchBy::Sql, _, None) => bail!("to watch by SQL, ORDERS_DATABASE_URL must be set"),
            (WatchBy::Auto | WatchBy::Http, _, _) => Source::Http,
        };
        Ok(Self {
            client,
            source,
            patience,
            orders,
            inventory: reader("inventory", address.inventory_database_url.as_deref()).await?,
            payments: reader("payments", address.payments_database_url.as_deref()).await?,
            provider: reader("provider", address.provider_database_url.as_deref()).await?,
        })
    }

    /// Creates `products` in lists of 1,000. The keys are made of `name` and the list's number: the same products are received once,
    /// however often this runs on one system. Returns when all of them can be ordered.
    ///
    /// # Errors
    /// When the system refuses a list, or does not learn its prices within the patience.
    pub async fn create_products(&self, name: &str, products: &[NewProduct]) -> Result<()> {
        let started = Instant::now();
        for (number, list) in products.chunks(PRODUCTS_MAX).enumerate() {
            let body = serde_json::to_vec(list)?;
            // The content is part of the key: other products under the same name are another request, not a reused key.
            let digest = httplog::hash(&body);
            let key = format!("{name}-products-{number:03}-{}", digest.get(..16).unwrap_or(&digest));
            let call = Call::post("/v1/products", key, None, body);
            // 202 means that some prices are not known to those who accept orders yet; the same request answers 201 when they are.
            while self.client.must(&call).await.with_context(|| format!("create products, list {number}"))?.status != CREATED {
                if started.elapsed() > self.patience {
                    bail!("the prices of list {number} are not known to order-service after {:?}", self.patience);
                }
                sleep(PRICES_EVERY).await;
            }
        }
        say(&format!("{} products created in {:.1} s", products.len(), started.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Waits until all of `ids` have ended, by SQL. Gives up when only stuck ones are left or nothing ends for the patience, and says in
    /// words what has not ended. Says nothing without SQL.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn wait_ended(&self, ids: &[Uuid]) -> Result<Vec<String>> {
        let Some(orders) = &self.orders else { return Ok(Vec::new()) };
        let (mut fewest, mut last_change) = (usize::MAX, Instant::now());
        let total = ids.len();
        let left = Arc::new(std::sync::atomic::AtomicUsize::new(total));
        let seen = Arc::clone(&left);
        let _progress = Progress::start("ended", total, move || Shown {
            done: total - seen.load(std::sync::atomic::Ordering::Relaxed).min(total),
            note: String::new(),
        });
        loop {
            let open = orders.not_ended(ids).await?;
            left.store(open, std::sync::atomic::Ordering::Relaxed);
            if open < fewest {
                (fewest, last_change) = (open, Instant::now());
            }
            if open == 0 {
                return Ok(Vec::new());
            }
            // Orders that end slowly are looked at for stuck ones among them; a fast run never asks.
            if last_change.elapsed() > STUCK_AFTER {
                let stuck = orders.stuck(ids).await?;
                if stuck.len() == open || last_change.elapsed() > self.patience {
                    let mut words = vec![format!("{open} orders have not ended")];
                    words.extend(stuck.into_iter().take(STUCK_NAMED_MAX).map(|(id, why)| format!("order {id} is stuck at {why}")));
                    return Ok(words);
                }
            }
            sleep(ENDED_EVERY).await;
        }
    }

    /// The books of all services, when no order runs any more, whoever placed it; `None` unless the orders, inventory and payments
    /// databases are known.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub async fn books(&self) -> Result<Option<Books>> {
        let (Some(orders), Some(inventory), Some(payments)) = (&self.orders, &self.inventory, &self.payments) else { return Ok(None) };
        let started = Instant::now();
        let running = loop {
            let running = orders.running().await?;
            if running == 0 || started.elapsed() > self.patience {
                break running;
            }
            sleep(ENDED_EVERY).await;
        };
        Ok(Some(Books {
            stock: inventory.stock().await?,
            ordered_units: orders.confirmed_units().await?,
            ordered_totals: orders.confirmed_totals().await?,
            payments: payments.payments().await?,
            provider: match &self.provider {
                Some(provider) => Some(provider.operations().await?),
                None => None,
            },
            running,
        }))
    }
}

async fn reader(database: &'static str, url: Option<&str>) -> Result<Option<Reader>> {
    match url {
        Some(url) => Ok(Some(Reader::connect(database, url).await?)),
        None => Ok(None),
    }
}

/// A short name for one run, new each time: its keys and customers carry it.
#[must_use]
pub fn run_name() -> String {
    let id = Uuid::now_v7().simple().to_string();
    id.get(24..).unwrap_or(&id).to_owned()
}
