//! Rebuilding a lost database from the topics.
//!
//! The database is in mode `rebuild` ([`crate::setup`]): HTTP answers 503, relay, effects and deadlines are off. On an
//! operator's word ([`status`]) it is emptied, and then, in this order:
//!
//! 1. A new incarnation: old sessions are ended, old relays fenced, the first position committed. Nobody else writes to the
//!    service's topics from here on, so each of them has an end.
//! 2. The own topics give the events back, as they were published ([`log`]); the chain of each source is checked, a missing
//!    record ends the rebuild.
//! 3. Every stream is folded from its whole history, its rows projected ([`fold`], [`crate::Service::replay`]). A replay can
//!    neither send nor ask for an effect.
//! 4. Dead letters and decisions about them come back ([`letters`]).
//! 5. Commands that sagas await and that never reached their topic are written to the outbox, with the ids they always had.
//! 6. The inputs are read again from their beginning by the ordinary consumer (`consumer::catch_up`): what was decided is
//!    passed over, what projects is applied, what never got out is decided now.
//! 7. The result is verified ([`verify`]), and the database is live.
//!
//! Whatever it writes for others waits in the outbox until then, and the outbox of a rebuild that dies is emptied by the next
//! one: so a rebuild may die anywhere, any number of times, and nothing was emitted.
//!
//! Source: PROTOCOLS 4. Shown by `it/src/faults/f19_rebuild.rs`.

mod error;
mod fold;
mod letters;
mod log;
mod read;
pub(crate) mod room;
mod status;
mod verify;

use std::collections::HashSet;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use operation::{RebuildPlan, RebuildTopic};
use rdkafka::config::ClientConfig;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection, Row as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use error::Error;
pub use status::{Status, Wanted};

use crate::consumer::{self, CatchUp, TopicPartition};
use crate::message::{Cause, MessageId};
use crate::relay;
use crate::retry;
use crate::service::Service;
use crate::store::Units;
use crate::topics::Partitions;
use crate::unit::Needs;

/// The advisory lock of whoever rebuilds. Spells "rebuil".
const LOCK: i64 = 0x7265_6275_696c;
/// Sagas whose commands are looked at in one transaction.
const SAGAS: usize = 200;
/// Between two looks at how far the inputs are read.
const LOOK: Duration = Duration::from_millis(200);

/// What is read, and who is told of it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    client: ClientConfig,
    service: &'static str,
    partitions: Arc<Partitions>,
    progress: Status,
}

impl Source {
    fn partitions_of(&self, topic: &str) -> Result<i32, Error> {
        Ok(self.partitions.of(topic)?)
    }

    /// Offsets on `topic`, of all partitions together.
    async fn offsets(&self, topic: &str) -> Result<u64, Error> {
        let extent = self.extent(topic).await?;
        Ok(extent.iter().map(|(low, high)| u64::try_from(high.saturating_sub(*low)).unwrap_or_default()).sum())
    }

    async fn extent(&self, topic: &str) -> Result<read::Extent, Error> {
        let (client, name, partitions) = (self.client.clone(), topic.to_owned(), self.partitions_of(topic)?);
        tokio::task::spawn_blocking(move || read::extent(&client, &name, partitions)).await.map_err(|_gone| Error::Stopped)?
    }
}

/// Everything a rebuild needs of its service.
pub(crate) struct Job<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) units: Units,
    pub(crate) relay: relay::Config,
    /// The service's database.
    pub(crate) url: String,
    pub(crate) consumer: consumer::Config,
    pub(crate) health: Arc<consumer::Health>,
    pub(crate) status: Status,
    pub(crate) stop: watch::Receiver<bool>,
}

impl<S: Service> Job<S> {
    fn source(&self) -> Source {
        Source {
            client: self.relay.client(),
            service: S::NAME,
            partitions: Arc::clone(&self.units.partitions),
            progress: self.status.clone(),
        }
    }

    /// A connection without the limits of those that serve. What it writes may be lost with the server: the rebuild begins again
    /// then, and its last word is written through to the disk.
    async fn connect(&self, name: &str) -> Result<PgConnection, Error> {
        let failed = || Error::database("connect to the database");
        let options = PgConnectOptions::from_str(&self.url).map_err(failed())?;
        options
            .application_name(&format!("{}.rebuild.{name}", S::NAME))
            .options([("synchronous_commit", "off"), ("statement_timeout", "0"), ("work_mem", "64MB"), ("jit", "off")])
            .connect()
            .await
            .map_err(failed())
    }
}

fn own_topics<S: Service>() -> impl Iterator<Item = &'static str> {
    S::TOPICS.iter().filter(|topic| topic.owner == S::NAME).map(|topic| topic.name)
}

/// What a rebuild would read, and what it would throw away.
pub(crate) async fn plan<S: Service>(job: &Job<S>) -> Result<RebuildPlan, Error> {
    let source = job.source();
    let mut topics = Vec::new();
    let routes = job.service.routes();
    let own = own_topics::<S>().map(|topic| (topic.to_owned(), "own"));
    let letters = [retry::dlq_topic(S::NAME), retry::decisions_topic(S::NAME)].map(|topic| (topic, "letters"));
    let inputs = routes.topics().iter().map(|topic| ((*topic).to_owned(), "input"));
    for (topic, role) in own.chain(letters).chain(inputs) {
        let offsets = source.offsets(&topic).await?;
        topics.push(RebuildTopic { topic, role: role.to_owned(), offsets });
    }
    let published_by = relay::newest_position(&job.relay).await?.map(|position| position.incarnation.to_string());
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events")
        .fetch_one(&mut job.connect("plan").await?)
        .await
        .map_err(Error::database("count the events that would be given up"))?;
    Ok(RebuildPlan { published_by, events_given_up: u64::try_from(events).unwrap_or_default(), topics })
}

/// Rebuilds the database. Answers the consumer, which goes on with what is new.
///
/// # Errors
/// [`Error`]: nothing was emitted, and it can be done again.
pub(crate) async fn run<S: Service>(job: &Job<S>, wanted: &Wanted) -> Result<JoinHandle<()>, Error> {
    let source = job.source();
    let mut db = job.connect("write").await?;
    let locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut db)
        .await
        .map_err(Error::database("take the rebuild's lock"))?;
    if !locked {
        return Err(Error::Running);
    }
    job.status.phase("a new incarnation", 0);
    let incarnation = begin(&mut db, job, wanted).await?;
    relay::begin_incarnation(&job.relay, incarnation).await?;

    let mut found = log::Found::default();
    let mut total = 0;
    for topic in own_topics::<S>() {
        total += source.offsets(topic).await?;
    }
    job.status.phase("own topics", total);
    for topic in own_topics::<S>() {
        log::replay(&mut db, &source, topic, &mut found).await?;
    }
    log::note_incarnations(&mut db, &found).await?;
    job.status.phase("index", 0);
    sqlx::query("SELECT rebuild_index()").execute(&mut db).await.map_err(Error::database("make the index of causes"))?;

    job.status.phase("streams", found.events);
    let mut reader = job.connect("read").await?;
    let awaiting = fold::streams(job.service.as_ref(), &source, &job.units.codec, (&mut reader, &mut db)).await?;
    drop(reader);
    job.status.phase("dead letters", 0);
    let letters = letters::replay(&mut db, &source, &job.service.routes()).await?;
    tracing::info!(events = found.events, awaiting = awaiting.len(), letters = letters.parked, "what happened is known again");

    job.status.phase("awaited commands", u64::try_from(awaiting.len()).unwrap_or_default());
    let sent = send_awaited(job, &source, &found, &awaiting).await?;
    tracing::info!(commands = sent, "awaited commands that are on no topic are written");

    let catch_up = catch_up(job, &source, &mut db, letters).await?;
    let total = catch_up.ends.values().map(|end| u64::try_from(*end).unwrap_or_default()).sum();
    job.status.phase("inputs", total);
    let (engine_stop, stopped) = watch::channel(false);
    let config = consumer::Config { catch_up: Some(Arc::new(catch_up)), ..job.consumer.clone() };
    let spawned = consumer::spawn(config, job.units.clone(), job.service.routes(), Arc::clone(&job.health), stopped);
    let mut engine = spawned.map_err(|error| Error::broken("thread_refused", error.to_string()))?;
    match end(job, &mut db, &mut engine, incarnation).await {
        Ok(()) => {
            follow(job.stop.clone(), engine_stop);
            Ok(engine)
        }
        Err(error) => {
            engine_stop.send_replace(true);
            drop(tokio::time::timeout(Duration::from_secs(15), engine).await);
            Err(error)
        }
    }
}

/// The engine stops with the process.
fn follow(mut stop: watch::Receiver<bool>, engine: watch::Sender<bool>) {
    tokio::spawn(async move {
        // a sender that is gone means that the process is going down as well
        drop(stop.wait_for(|stop| *stop).await);
        engine.send_replace(true);
    });
}

/// Empties the database under a new incarnation, and ends every other session of the service: a process that was connected
/// before meets another database when it connects again.
async fn begin<S: Service>(db: &mut PgConnection, job: &Job<S>, wanted: &Wanted) -> Result<Uuid, Error> {
    let failed = || Error::database("begin a new incarnation");
    let incarnation: Uuid = sqlx::query_scalar("SELECT rebuild_begin($1, $2)")
        .bind(&wanted.who)
        .bind(&wanted.why)
        .fetch_one(&mut *db)
        .await
        .map_err(failed())?;
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()",
    )
    .execute(db)
    .await
    .map_err(failed())?;
    // Our own pool was among them: each of its connections is found dead once.
    for _ in 0..job.units.pool.options().get_max_connections() {
        drop(sqlx::query("SELECT 1").execute(&job.units.pool).await);
    }
    Ok(incarnation)
}

/// Writes the awaited commands that never reached their topic; answers how many.
async fn send_awaited<S: Service>(job: &Job<S>, source: &Source, found: &log::Found, awaiting: &[String]) -> Result<usize, Error> {
    let mut wanted = HashSet::new();
    for streams in awaiting.chunks(SAGAS) {
        let (tx, unit) = awaited(job, streams).await?;
        wanted.extend(unit.staged.iter().map(|staged| staged.id.uuid()));
        tx.rollback().await.map_err(Error::database("look at awaited commands"))?;
        source.progress.add(u64::try_from(streams.len()).unwrap_or_default());
    }
    let unsent = log::unsent(source, &found.commands_on, wanted).await?;
    if unsent.is_empty() {
        return Ok(0);
    }
    let failed = || Error::database("write awaited commands");
    for streams in awaiting.chunks(SAGAS) {
        let (mut tx, mut unit) = awaited(job, streams).await?;
        unit.staged.retain(|staged| unsent.contains(&staged.id.uuid()));
        job.units.store(&mut tx, &mut unit).await.map_err(failed())?;
        tx.commit().await.map_err(failed())?;
    }
    Ok(unsent.len())
}

type Opened<S> = (sqlx::Transaction<'static, sqlx::Postgres>, crate::unit::Unit<<S as Service>::Work>);

/// The commands that the sagas in `streams` await, in a unit that is not written yet.
async fn awaited<S: Service>(job: &Job<S>, streams: &[String]) -> Result<Opened<S>, Error> {
    let failed = || Error::database("look at awaited commands");
    let mut tx = job.units.begin().await.map_err(failed())?;
    let mut needs = Needs::default();
    for stream in streams {
        needs.stream(stream.clone());
        job.service.awaited_needs(stream, &mut needs);
    }
    let mut unit = job.units.load(&mut tx, needs).await.map_err(failed())?;
    // What last moved the saga is what its command answers.
    let causes = sqlx::query(
        "SELECT s.stream, e.causation_id, e.correlation_id FROM unnest($1::text[]) AS s (stream)
         CROSS JOIN LATERAL (SELECT causation_id, correlation_id FROM events WHERE stream = s.stream ORDER BY version DESC LIMIT 1) AS e",
    )
    .bind(streams)
    .fetch_all(&mut *tx)
    .await
    .map_err(failed())?;
    for row in causes {
        let (stream, cause, correlation): (String, Uuid, String) =
            (row.try_get(0).map_err(failed())?, row.try_get(1).map_err(failed())?, row.try_get(2).map_err(failed())?);
        unit.because(Cause::new(MessageId::from(cause), correlation));
        job.service.send_awaited(&mut unit, &stream)?;
    }
    Ok((tx, unit))
}

/// Notes how far the inputs go now, and sets the retry topics to their ends: what waits on them is found by reading its own
/// topic again.
async fn catch_up<S: Service>(job: &Job<S>, source: &Source, db: &mut PgConnection, letters: letters::Letters) -> Result<CatchUp, Error> {
    let mut catch_up = CatchUp { ended: letters.ended, ..CatchUp::default() };
    for topic in job.service.routes().topics() {
        for (partition, (_, high)) in (0..).zip(source.extent(topic).await?) {
            catch_up.ends.insert(TopicPartition { topic: (*topic).to_owned(), partition }, high);
        }
    }
    for topic in retry::retry_topics(&job.units.retry) {
        for (partition, (_, high)) in (0..).zip(source.extent(&topic).await?) {
            sqlx::query(
                "INSERT INTO progress (consumer_group, topic, partition, next_offset, epoch, owner) VALUES ($1, $2, $3, $4, 0, 'rebuild')",
            )
            .bind(S::NAME)
            .bind(&topic)
            .bind(partition)
            .bind(high)
            .execute(&mut *db)
            .await
            .map_err(Error::database("set the retry topics to their ends"))?;
        }
    }
    Ok(catch_up)
}

/// Waits until the inputs are read, verifies, and makes the database live.
async fn end<S: Service>(job: &Job<S>, db: &mut PgConnection, engine: &mut JoinHandle<()>, incarnation: Uuid) -> Result<(), Error> {
    let inputs: Vec<&str> = job.service.routes().topics().to_vec();
    let partitions: i64 = inputs.iter().map(|topic| job.units.partitions.of(topic).map(i64::from)).sum::<Result<_, _>>()?;
    loop {
        let (read, offsets): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE caught_up_at IS NOT NULL), coalesce(sum(next_offset), 0)::bigint FROM progress
             WHERE consumer_group = $1 AND topic = ANY($2)",
        )
        .bind(S::NAME)
        .bind(&inputs)
        .fetch_one(&mut *db)
        .await
        .map_err(Error::database("look how far the inputs are read"))?;
        job.status.set(u64::try_from(offsets).unwrap_or_default());
        if read >= partitions && job.health.joined.load(Ordering::Relaxed) {
            break;
        }
        if engine.is_finished() {
            return Err(Error::broken("kafka_unavailable", "the consumer ended"));
        }
        tokio::time::sleep(LOOK).await;
    }
    letters::release(db).await?;
    job.status.phase("verify", 0);
    let checks = verify::judge(db, S::CONSERVED).await?;
    let broken: Vec<String> = checks.iter().filter(|check| !check.holds).map(|check| format!("{}: {}", check.what, check.found)).collect();
    job.status.checked(checks);
    if !broken.is_empty() {
        return Err(Error::broken("rebuild_unverified", broken.join("; ")));
    }
    let failed = || Error::database("make the database live");
    // Everything before is on the disk when this is.
    sqlx::query("SET synchronous_commit = on").execute(&mut *db).await.map_err(failed())?;
    sqlx::query("SELECT rebuild_finish($1)").bind(incarnation).execute(db).await.map_err(failed())?;
    tracing::info!(%incarnation, "the database is rebuilt");
    Ok(())
}
