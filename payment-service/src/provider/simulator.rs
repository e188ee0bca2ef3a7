//! A payment provider of our own: durable, deterministic by the card's token, idempotent by key.

use std::time::Duration;

use kafka::GroupCommit;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;
use values::Money;

use super::machine::{Call, Mood, Refusal, Reply, operate};
use super::{AuthKey, Error, Provider, Token, Undone, store};

/// Calls that are committed together at most.
const BATCH: usize = 256;
/// Calls that wait at most.
const WAITING: usize = 2_048;
/// Tries of a transaction that met another process on the same new key.
const TRIES: u32 = 5;

/// The simulator behind [`Provider`]. Calls that arrive together are one transaction, and nothing lingers.
///
/// Cards: `tok_declined` is declined; `tok_slow` answers after 300 ms; `tok_flaky` fails the first two calls of each operation;
/// `tok_timeout` does what is asked and loses the first answer to each operation; every other card is fine.
#[derive(Debug, Clone)]
pub struct Simulator {
    calls: GroupCommit<(Uuid, Call), Result<Reply, String>>,
}

impl Simulator {
    /// Connects to the simulator's own database and makes its table where it is missing. Runs on the current runtime.
    ///
    /// # Errors
    /// The database does not answer, or its role may not make a table.
    pub async fn connect(url: &str) -> Result<Self, sqlx::Error> {
        // As for the service's own connections: plans by index whatever the table was like when they were made; nothing hangs.
        let options = kafka::run::connect_options(url, "payment-provider")?;
        let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(3)).test_before_acquire(false);
        let pool = pool.connect_with(options).await?;
        store::create(&mut *pool.acquire().await?).await?;
        let calls = GroupCommit::spawn(BATCH, WAITING, move |calls| commit(pool.clone(), calls));
        Ok(Self { calls })
    }

    async fn call(&self, key: AuthKey, call: Call) -> Result<Option<Undone>, Error> {
        let transient = |reason: String| Error::Transient { reason };
        let reply = self.calls.submit((key.get(), call)).await.map_err(|refused| transient(refused.to_string()))?.map_err(transient)?;
        if !reply.after.is_zero() {
            tokio::time::sleep(reply.after).await;
        }
        reply.result.map_err(|refusal| match refusal {
            Refusal::Declined(code) => Error::Declined { code: code.to_owned() },
            Refusal::Permanent(code) => Error::Permanent { code: code.to_owned() },
            Refusal::Transient(reason) => transient(reason.to_owned()),
        })
    }
}

impl Provider for Simulator {
    async fn authorize(&self, key: AuthKey, amount: Money, token: &Token) -> Result<(), Error> {
        let mood = Mood::of_token(token.reveal());
        self.call(key, Call::Authorize { amount, mood }).await.map(drop)
    }

    async fn capture(&self, key: AuthKey, amount: Money) -> Result<(), Error> {
        self.call(key, Call::Capture { amount }).await.map(drop)
    }

    async fn void(&self, key: AuthKey) -> Result<Undone, Error> {
        let undone = self.call(key, Call::Void).await?;
        undone.ok_or_else(|| Error::Transient { reason: "the answer to a void says nothing".to_owned() })
    }
}

/// Makes `calls` in one transaction and answers each in order. An error answers all of them: none was made, or nobody knows.
async fn commit(pool: PgPool, calls: Vec<(Uuid, Call)>) -> Vec<Result<Reply, String>> {
    let mut last = "another process keeps making the same keys".to_owned();
    for _ in 0..TRIES {
        match commit_once(&pool, &calls).await {
            Ok(Some(replies)) => return replies.into_iter().map(Ok).collect(),
            Ok(None) => {}
            Err(error) => {
                last = error.to_string();
                break;
            }
        }
    }
    calls.iter().map(|_| Err(last.clone())).collect()
}

/// One try; `None` when another process made one of the keys meanwhile.
async fn commit_once(pool: &PgPool, calls: &[(Uuid, Call)]) -> Result<Option<Vec<Reply>>, sqlx::Error> {
    let mut db = pool.acquire().await?;
    let mut tx = PgConnection::begin(&mut db).await?;
    let keys: Vec<Uuid> = calls.iter().map(|(key, _)| *key).collect();
    let known = store::load(&mut tx, &keys).await?;
    let mut rows = known.clone();
    let mut replies = Vec::with_capacity(calls.len());
    for (key, call) in calls {
        let (row, reply) = operate(rows.get(key).copied(), *call);
        if let Some(row) = row {
            rows.insert(*key, row);
        }
        replies.push(reply);
    }
    let rows: Vec<_> = rows.into_iter().map(|(key, row)| (key, row, known.contains_key(&key))).collect();
    if !store::save(&mut tx, &rows).await? {
        return Ok(None);
    }
    tx.commit().await?;
    Ok(Some(replies))
}
