//! Watchers: how the bench learns that an order was decided without asking for each one.
//!
//! In order of preference:
//!
//! - **Kafka** ([`kafka`]): reads `orders.events` from its end with `isolation.level=read_committed` and looks at two headers of each
//!   record. One more reader of one topic costs the system least: no query, no request, nothing per order in flight, and the broker
//!   serves it from memory. It also carries the server's own instant of the decision, and it is the public fact, seen by everybody.
//! - **SQL** ([`sql`]): one query by primary key for all ids in flight, every 10 ms. Costs a database connection and grows with them.
//! - **HTTP** ([`http`]): `GET /v1/orders/{id}`, first every 2 ms and then ever more rarely. For a system of which only the address is known.
//!
//! Whoever watches, a sweep asks over HTTP for orders open longer than [`SWEEP_AGE`]: it finds those that are stuck, and those decided
//! before the watcher looked (a repeated request after a lost answer).

pub mod http;
pub mod kafka;
pub mod sql;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::client::Client;
use crate::flight::Flight;
use crate::reader::Reader;

/// How old an open order is when the sweep asks for it.
pub const SWEEP_AGE: Duration = Duration::from_secs(10);
/// How often the sweep looks.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Most orders one sweep asks for, the oldest first.
const SWEEP_MAX: usize = 256;
/// How many it asks for at once.
const SWEEP_AT_ONCE: usize = 8;

/// Where decisions are read.
#[derive(Debug, Clone)]
pub enum Source {
    /// `orders.events` at these brokers.
    Kafka(String),
    /// The orders database.
    Sql(Reader),
    /// The gateway.
    Http,
}

impl Source {
    /// What is measured by the observer's clock with this source.
    #[must_use]
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::Kafka(_) => "POST sent → decision read from orders.events (read_committed)",
            Self::Sql(_) => "POST sent → decision found by SQL, asked every 10 ms",
            Self::Http => "POST sent → decision found by GET, asked every 2 ms at first, then ever more rarely",
        }
    }
}

/// A running watcher; dropping it stops it.
#[derive(Debug)]
pub struct Watch {
    tasks: Vec<JoinHandle<()>>,
    _thread: Option<kafka::Running>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts to watch for `flight`. Decisions made after this returns are seen.
///
/// # Errors
/// [`kafka::Error`] when the topic cannot be read.
pub async fn start(source: &Source, flight: &Arc<Flight>, client: &Arc<Client>) -> Result<Watch, kafka::Error> {
    let sweeper = tokio::spawn(sweep(Arc::clone(flight), Arc::clone(client)));
    let mut watch = Watch { tasks: vec![sweeper], _thread: None };
    match source {
        Source::Kafka(bootstrap) => watch._thread = Some(kafka::start(bootstrap.clone(), Arc::clone(flight)).await?),
        Source::Sql(reader) => watch.tasks.push(tokio::spawn(sql::watch(reader.clone(), Arc::clone(flight)))),
        Source::Http => watch.tasks.push(tokio::spawn(http::watch(Arc::clone(client), Arc::clone(flight)))),
    }
    Ok(watch)
}

async fn sweep(flight: Arc<Flight>, client: Arc<Client>) {
    let mut ticks = interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        let mut old: Vec<_> = flight.open().into_iter().filter(|placed| placed.sent_at.elapsed() > SWEEP_AGE).collect();
        old.sort_by_key(|placed| placed.sent_at);
        old.truncate(SWEEP_MAX);
        stream::iter(old).for_each_concurrent(SWEEP_AT_ONCE, |placed| http::ask(&client, &flight, placed)).await;
    }
}
