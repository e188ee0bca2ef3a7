//! The relay: publishes the outbox to Kafka with no gap and no duplicate, in the order the transactions were written.
//!
//! One process of a service owns it at a time. Steps, each safe to die after:
//!
//! - **L0** take an advisory lock on a connection of its own (`keeper`): who should try. Never safety.
//! - **L1** make two transactional producers and `init_transactions` on both (`producer`): nobody else can commit from here.
//! - **L2** find the position (`position`), and refuse to go on unless the database is of the same incarnation and still
//!   holds the row that the position names.
//! - **L3** read xmin and the rows above the cursor in one statement (`store`); [`plan::plan`] says which to publish.
//! - **L4** send them and the new position in one Kafka transaction, **L5** commit it, **L6** move the cursor (`run`).
//!
//! A transaction whose outcome is in doubt is never continued: both producers are dropped and everything starts again at
//! L1, which settles it. A record of each outbox row carries `src`, `seq` and `prev`, so readers can prove the same.
//!
//! Source: PROTOCOLS 1.2–1.4. Shown by `kafka/tests/it/relay.rs`.

mod error;
mod keeper;
pub mod plan;
mod position;
mod producer;
mod published;
mod record;
mod run;
mod status;
mod store;

use std::sync::Arc;
use std::thread::JoinHandle;

use rdkafka::config::ClientConfig;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Notify, watch};

use crate::cluster::Login;

pub use error::Error;
pub(crate) use position::Quiet;
pub use position::{Chain, Position};
pub use published::{Published, Unknown};
pub use status::Status;

/// Where a service's relay reads and writes.
#[derive(Debug, Clone)]
pub struct Config {
    /// The service's name: position topic, transactional ids and `src` are made of it.
    pub service: String,
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// The principal to log in as, if the brokers know any.
    pub login: Option<Login>,
    /// The service's database, with the service's own role.
    pub connect: PgConnectOptions,
}

impl Config {
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        Login::set(self.login.as_ref(), &mut client);
        client.set("bootstrap.servers", &self.bootstrap).set("client.id", format!("{}.relay", self.service));
        client
    }
}

/// The transactional ids of a service's relay.
pub(crate) fn transactional_ids(service: &str) -> impl Iterator<Item = String> {
    (0..producer::PRODUCERS).map(move |number| format!("{service}.relay.{number}"))
}

/// The group that readers of the position topic name; nobody joins it.
pub(crate) fn reader_group(service: &str) -> String {
    format!("{service}.relay")
}

/// Starts the relay on a thread of its own. It waits for the lock, publishes while it owns it, and starts over after
/// whatever can be cured by that; it never blocks a thread of `runtime`, which only carries the lock's connection.
///
/// `wake` is poked with `notify_one` after a COMMIT that wrote outbox rows; without a poke rows wait up to 50 ms.
/// Setting `stop` ends it after the transaction in hand, which takes at most 10 s. The thread ends with `Ok` after `stop`
/// and with an error only if an operator must act ([`Error::is_final`]): the process must not serve then, its next start
/// shows the same error in [`check`].
///
/// # Panics
/// If the operating system refuses a thread.
pub fn spawn(
    config: Config,
    runtime: tokio::runtime::Handle,
    wake: Arc<Notify>,
    status: Arc<Status>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<Result<(), Error>> {
    std::thread::spawn(move || run::relay(&config, &runtime, &wake, &status, stop))
}

/// The check that every process makes at start, relay owner or not, before it answers or consumes: the newest committed
/// position belongs to this database. Reads only.
///
/// # Errors
/// Final ones ([`Error::is_final`]): [`Error::PositionMissing`], [`Error::IncarnationMismatch`], [`Error::IdentityMissing`],
/// [`Error::DatabaseRestored`], [`Error::PositionUnreadable`]. [`Error::Kafka`], [`Error::PositionTimeout`] and
/// [`Error::Database`] are worth another try.
pub async fn check(config: &Config) -> Result<Position, Error> {
    let (client, service) = (config.client(), config.service.clone());
    let found = blocking(move || position::newest(&client, &service, position::Until::Stable)).await?;
    let position = found.ok_or_else(|| Error::PositionMissing { service: config.service.clone() })?;
    let mut connection = store::connect(&config.connect, &format!("{}.relay.check", config.service)).await?;
    store::compare(&mut connection, &position).await?;
    store::close(connection).await;
    Ok(position)
}

/// Writes the position before anything was published, once in a service's life: if there is a position already this only
/// checks it. `own_topics` are the topics this service's relay writes. For the setup job.
///
/// # Errors
/// As [`check`]; [`Error::NotEmpty`] if there is no position although the outbox or an own topic holds something: then
/// the position was lost and cursor 0 would publish everything again.
pub async fn write_first_position(config: &Config, own_topics: &[&str]) -> Result<(), Error> {
    match check(config).await {
        Ok(_) => return Ok(()),
        Err(Error::PositionMissing { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut connection = store::connect(&config.connect, &format!("{}.relay.setup", config.service)).await?;
    let incarnation = store::incarnation(&mut connection).await?;
    let (config_of_thread, topics) = (config.clone(), own_topics.iter().map(|topic| (*topic).to_owned()).collect::<Vec<_>>());
    let runtime = tokio::runtime::Handle::current();
    blocking(move || {
        // Fence first, look second: whoever published before the fence is seen, whoever comes after it fences us.
        let mut pair = producer::Pair::connect(&config_of_thread.client(), &config_of_thread.service, &|| true)
            .map_err(producer::Fault::not_written)?;
        if position::newest(&config_of_thread.client(), &config_of_thread.service, position::Until::Stable)?.is_some() {
            return Ok(());
        }
        if runtime.block_on(store::outbox_has_rows(&mut connection))? {
            return Err(Error::NotEmpty { what: "the outbox".to_owned() });
        }
        for topic in topics {
            if !pair.topic_is_empty(&topic)? {
                return Err(Error::NotEmpty { what: format!("topic {topic}") });
            }
        }
        pair.transaction(|sender| sender.position(&Position::first(incarnation))).map_err(producer::Fault::not_written)?;
        Ok(())
    })
    .await
}

/// The newest committed position of the service, whatever database it belongs to; `None` if there is none.
///
/// # Errors
/// [`Error::Kafka`], [`Error::PositionTimeout`], [`Error::PositionUnreadable`].
pub async fn newest_position(config: &Config) -> Result<Option<Position>, Error> {
    let (client, service) = (config.client(), config.service.clone());
    blocking(move || position::newest(&client, &service, position::Until::Stable)).await
}

/// Makes `incarnation` the one that may publish: fences every relay of the service and commits its first position. An old
/// process that is still alive can commit nothing from here on, and finds a foreign incarnation. Answers the position before.
///
/// # Errors
/// [`Error::NotWritten`] if other relays keep taking over, or the broker's answers stay in doubt; else as [`check`].
///
/// Source: PROTOCOLS 4; docs/decisions/0002-position-sentinel.md says why one committed transaction is enough.
pub async fn begin_incarnation(config: &Config, incarnation: uuid::Uuid) -> Result<Option<Position>, Error> {
    let config = config.clone();
    blocking(move || {
        let mut last = String::new();
        for _ in 0..INCARNATION_TRIES {
            let done = producer::Pair::connect(&config.client(), &config.service, &|| true).and_then(|mut pair| {
                let before = position::newest(&config.client(), &config.service, position::Until::Stable);
                pair.transaction(|sender| sender.position(&Position::first(incarnation))).map(|_| before)
            });
            match done {
                Ok(before) => return before,
                // an old relay came between, or the outcome is not known: written again, it says the same
                Err(fault) => {
                    last = fault.to_string();
                    tracing::warn!(reason = %fault, "the position of a new incarnation is written again");
                    std::thread::sleep(INCARNATION_PAUSE);
                }
            }
        }
        Err(Error::NotWritten { reason: last })
    })
    .await
}

/// Tries to make an incarnation the one that may publish, and the wait between two of them: an old relay that is fenced waits
/// longer before it comes back.
const INCARNATION_TRIES: u32 = 20;
const INCARNATION_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// Runs blocking client calls off the runtime's workers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|joined| Error::Thread(std::io::Error::other(joined)))?
}
