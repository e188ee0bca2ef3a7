//! What was handled, what was given up, and when.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgPool;

use super::super::outbox::published;
use super::book::GROUP;
use super::{PARTITIONS, SOON, until};

/// A look at database and topics.
#[derive(Debug, Clone, Copy)]
pub struct Letterbox<'a> {
    pool: &'a PgPool,
    bootstrap: &'a str,
}

/// How late messages with a timer were handled.
#[derive(Debug, Clone, Default)]
pub struct Late {
    /// Handled before they were due.
    pub early: usize,
    /// Each, in any order.
    pub times: Vec<Duration>,
    /// The latest: message, due, handled.
    pub latest: Option<(i64, Timestamp, Timestamp)>,
}

/// A dead letter on its topic.
#[derive(Debug, Clone)]
pub struct Dead {
    /// Its headers.
    pub headers: HashMap<String, String>,
    /// Its key.
    pub key: Vec<u8>,
    /// Its bytes.
    pub payload: Vec<u8>,
}

impl<'a> Letterbox<'a> {
    pub(super) fn new(pool: &'a PgPool, bootstrap: &'a str) -> Self {
        Self { pool, bootstrap }
    }

    /// Waits until `count` messages are handled.
    ///
    /// # Errors
    /// That takes longer than `within`.
    pub async fn handled(&self, count: i64, within: Duration) -> anyhow::Result<()> {
        until(&format!("{count} messages are handled"), within, || async {
            let (handled, parked, dead): (i64, i64, i64) = sqlx::query_as(
                "SELECT (SELECT count(*) FROM journal), (SELECT count(*) FROM parked), (SELECT count(*) FROM parked WHERE state = 'dead')",
            )
            .fetch_one(self.pool)
            .await?;
            Ok(if handled >= count { Ok(()) } else { Err(format!("{handled} handled, {parked} parked, {dead} dead")) })
        })
        .await
    }

    /// Waits until nothing is parked and no key is blocked.
    ///
    /// # Errors
    /// That takes longer than a minute.
    pub async fn empty(&self) -> anyhow::Result<()> {
        until("nothing is parked", SOON, || async {
            let (parked, blocked): (i64, i64) =
                sqlx::query_as("SELECT (SELECT count(*) FROM parked), (SELECT count(*) FROM blocked_key)").fetch_one(self.pool).await?;
            Ok(if parked + blocked == 0 { Ok(()) } else { Err(format!("{parked} parked, {blocked} keys blocked")) })
        })
        .await
    }

    /// The numbers handled of every key, in order.
    ///
    /// # Errors
    /// The database's.
    pub async fn journal(&self) -> anyhow::Result<HashMap<String, Vec<i64>>> {
        let rows = sqlx::query("SELECT key, array_agg(n ORDER BY pos) AS numbers FROM journal GROUP BY key").fetch_all(self.pool).await?;
        rows.iter().map(|row| Ok((row.try_get("key")?, row.try_get("numbers")?))).collect()
    }

    /// How late the messages were that had a timer and were handled when it fired: the journal's time after the last timer's.
    /// Those due while `down` says that nobody ran are left out, and so are those sent back.
    ///
    /// # Errors
    /// The database's.
    pub async fn late(&self, down: &[(Timestamp, Timestamp)]) -> anyhow::Result<Late> {
        let handled = sqlx::query("SELECT n, (extract(epoch FROM at) * 1000000)::bigint AS at FROM journal").fetch_all(self.pool).await?;
        let handled: HashMap<i64, i64> =
            handled.iter().map(|row| Ok((row.try_get("n")?, row.try_get("at")?))).collect::<Result<_, sqlx::Error>>()?;
        let timers = sqlx::query("SELECT headers FROM outbox WHERE topic LIKE $1 ORDER BY id")
            .bind(format!("{GROUP}.retry.%"))
            .fetch_all(self.pool)
            .await?;
        let mut last: HashMap<i64, (i64, bool)> = HashMap::new();
        for row in &timers {
            let text = String::from_utf8(row.try_get("headers")?)?;
            let headers: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(": ")).collect();
            let number = |name: &str| headers.get(name).copied().unwrap_or_default();
            let due: Timestamp = number("due-at").parse()?;
            last.insert(number("correlation-id").parse()?, (due.as_microsecond(), number("redrive-no") == "0"));
        }
        let mut late = Late::default();
        for (n, (due, first)) in last {
            let Some(at) = handled.get(&n).filter(|_| first) else { continue };
            let was_down = |(from, to): &(Timestamp, Timestamp)| due >= from.as_microsecond() && due <= to.as_microsecond();
            if down.iter().any(was_down) {
                continue;
            }
            match u64::try_from(at - due) {
                Ok(micros) => {
                    let took = Duration::from_micros(micros);
                    if late.times.iter().max().is_none_or(|most| took > *most) {
                        late.latest = Some((n, Timestamp::from_microsecond(due)?, Timestamp::from_microsecond(*at)?));
                    }
                    late.times.push(took);
                }
                Err(_negative) => late.early += 1,
            }
        }
        Ok(late)
    }

    /// Everything on the dead-letter topic, once all of the outbox is published.
    ///
    /// # Errors
    /// Broker or database do not answer.
    pub async fn dead(&self) -> anyhow::Result<Vec<Dead>> {
        let expected: i64 =
            sqlx::query_scalar("SELECT count(*) FROM outbox WHERE topic = $1").bind(format!("{GROUP}.dlq")).fetch_one(self.pool).await?;
        until("all dead letters are published", SOON, || async {
            let bootstrap = self.bootstrap.to_owned();
            let records = tokio::task::spawn_blocking(move || published(&bootstrap, &format!("{GROUP}.dlq"), PARTITIONS)).await??;
            Ok(if i64::try_from(records.len())? >= expected {
                Ok(records
                    .into_iter()
                    .map(|(headers, key, payload)| Dead { headers: headers.into_iter().collect(), key, payload })
                    .collect())
            } else {
                Err(format!("{} of {expected}", records.len()))
            })
        })
        .await
    }
}
