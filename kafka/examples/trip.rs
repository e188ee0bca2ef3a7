//! A saga of two steps on the real parts: a seat is booked, then the fare is charged; a fare that is declined gives the seat back.
//!
//! `cargo run -p kafka --example trip` runs it. One service plays saga and participants alike; between services nothing changes but who
//! owns a topic. Yours implements `kafka::Service` and leaves `start` to `kafka::main`, which adds retries, deadlines, HTTP and more.

use std::sync::Arc;

use kafka::{AfterLast, Cause, Failure, MessageId, Meta, Needs, Partitions, Routes, Unit, Units};
use kafka::{Cluster, codec::Codec, consumer, registry::Registry, relay, topics};
use record::{Record, Topic};
use saga::{Action, Answer, Compensation, Definition, Input, Status, Step, message_name};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPool;
use tokio::sync::watch;

type Any<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Messages: one record type, one topic. All of them only say which trip.
macro_rules! records {
    ($($name:ident on $topic:literal),*) => {
        $(#[derive(Debug, Serialize, Deserialize)] struct $name { trip: String }
        impl $name { fn of(trip: &str) -> Self { Self { trip: trip.to_owned() } } }
        impl Record for $name {
            const FULL_NAME: &'static str = concat!("trips.", stringify!($name)); const TOPIC: &'static str = $topic;
            const SCHEMA: &'static str = concat!(r#"{"type":"record","name":""#, stringify!($name),
                r#"","namespace":"trips","fields":[{"name":"trip","type":"string"}]}"#);
        })*
        const RECORDS: &[(&str, &str, &str)] = &[$(($name::TOPIC, $name::FULL_NAME, $name::SCHEMA)),*];
    };
}
records!(BookSeat on "trips.commands", CancelSeat on "trips.commands", ChargeFare on "trips.commands",
    SeatBooked on "trips.events", SeatCancelled on "trips.events", FareCharged on "trips.events", FareDeclined on "trips.events",
    SagaMoved on "trips.saga");

const TOPICS: &[Topic] = &[topic("trips.commands"), topic("trips.events"), topic("trips.saga")];
const fn topic(name: &'static str) -> Topic {
    Topic { name, owner: "trips", key: "trip", records: &[] }
}

fn definition() -> Result<Definition, Failure> {
    let seat = Step::command("seat", "BookSeat").compensated_by(Compensation::command("CancelSeat"));
    let steps = vec![seat, Step::pivot("fare", "ChargeFare", None)];
    Definition::new("trip", 1, steps).map_err(|error| Failure::permanent("saga_defect", error.to_string()))
}

/// Moves the saga: what it recorded is appended to its stream, what it asks for is sent, in the transaction of the message at hand.
fn take(unit: &mut Unit<()>, trip: &str, input: &Input) -> Result<(), Failure> {
    let stream = format!("saga-{trip}");
    let mut state: saga::State = unit.state(&stream)?;
    let turn = saga::advance(&definition()?, state.clone(), input, unit.now());
    for event in &turn.events {
        state = saga::evolve(state, event);
        unit.append(&stream, trip, &SagaMoved::of(&format!("{trip}: {event:?}")), &state)?;
    }
    for action in &turn.actions {
        let Action::Send { step, compensation, .. } = action else { continue };
        let name = message_name(step, *compensation);
        match (*step, *compensation) {
            ("seat", false) => unit.send(&stream, &name, trip, &BookSeat::of(trip))?,
            ("seat", true) => unit.send(&stream, &name, trip, &CancelSeat::of(trip))?,
            _ => unit.send(&stream, &name, trip, &ChargeFare::of(trip))?,
        };
    }
    Ok(())
}

/// The participant's answer: an event on its own stream, whose state says whether the seat is held.
fn answer<E: Record>(unit: &mut Unit<()>, trip: &str, event: &E, held: bool) -> Result<(), Failure> {
    unit.append(&format!("seat-{trip}"), trip, event, &held).map(drop)
}

/// The table: each message, the stream its decision needs loaded, what it decides.
macro_rules! on {
    ($routes:ident, $record:ident, $kind:literal, $handle:expr) => {
        let ask = |message: &$record, needs: &mut Needs<()>| needs.stream(format!(concat!($kind, "-{}"), message.trip));
        let handle: fn(&mut Unit<()>, &str) -> Result<(), Failure> = $handle;
        let $routes = $routes.on::<$record>(AfterLast::Hold, ask, move |unit, _: &Meta, message| handle(unit, &message.trip));
    };
}

fn routes() -> Routes<()> {
    let routes = Routes::new();
    on!(routes, BookSeat, "seat", |unit, trip| answer(unit, trip, &SeatBooked::of(trip), true));
    on!(routes, CancelSeat, "seat", |unit, trip| answer(unit, trip, &SeatCancelled::of(trip), false));
    on!(routes, ChargeFare, "seat", |unit, trip| match trip.starts_with("poor") {
        true => answer(unit, trip, &FareDeclined::of(trip), true),
        false => answer(unit, trip, &FareCharged::of(trip), true),
    });
    on!(routes, SeatBooked, "saga", |unit, trip| take(unit, trip, &Input::reply("seat", Answer::Done)));
    on!(routes, SeatCancelled, "saga", |unit, trip| take(unit, trip, &Input::undone("seat")));
    on!(routes, FareCharged, "saga", |unit, trip| take(unit, trip, &Input::reply("fare", Answer::Done)));
    on!(routes, FareDeclined, "saga", |unit, trip| take(unit, trip, &Input::reply("fare", Answer::Refused { reason: "poor".to_owned() })));
    routes
}

/// Database, topics, schemas, relay and consumer.
async fn start(stack: &stack::Stack, stop: watch::Receiver<bool>) -> Any<Units> {
    let (bootstrap, url) = (stack.kafka_bootstrap(), stack.create_database("trips").await?.owner_url);
    let pool = PgPool::connect(&url).await?;
    sqlx::migrate!("./migrations").run(&pool).await?;
    sqlx::query("INSERT INTO db_identity (incarnation) VALUES (gen_random_uuid())").execute(&pool).await?;
    topics::create(&Cluster::open(&bootstrap), "trips", &TOPICS.iter().collect::<Vec<_>>(), 1).await?;
    let registry = Registry::new(&stack.registry_url())?;
    let mut known = Vec::new();
    for &(topic, name, schema) in RECORDS {
        known.push((name, schema, registry.register(&format!("{topic}-{name}"), schema, |_, _, _| Ok(())).await?));
    }
    let partitions = Partitions::new(TOPICS.iter().map(|topic| (topic.name.to_owned(), 1)));
    let units = Units::new(pool, Arc::new(Codec::new(registry, &known)?), Arc::new(partitions), Arc::default(), Arc::default());
    let (service, connect) = ("trips".to_owned(), url.parse()?);
    let config = relay::Config { service, bootstrap: bootstrap.clone(), login: None, connect };
    relay::write_first_position(&config, &TOPICS.iter().map(|topic| topic.name).collect::<Vec<_>>()).await?;
    relay::spawn(config, tokio::runtime::Handle::current(), units.relay_wake(), Arc::default(), stop.clone());
    consumer::spawn(consumer::Config::new("trips", "trips-1", bootstrap, TOPICS), units.clone(), routes(), Arc::default(), stop)?;
    Ok(units)
}

/// Books `trips`; how each ended.
pub(crate) async fn play(stack: &stack::Stack, trips: &[&str]) -> Any<Vec<String>> {
    let (stop, stopped) = watch::channel(false);
    let units = start(stack, stopped).await?;
    let mut ended = Vec::new();
    for trip in trips {
        let (mut tx, mut needs) = (units.begin().await?, Needs::default());
        needs.stream(format!("saga-{trip}"));
        let mut unit = units.load(&mut tx, needs).await?;
        unit.because(Cause::new(MessageId::external("example", trip), *trip));
        take(&mut unit, trip, &Input::Start)?;
        units.store(&mut tx, &mut unit).await?;
        tx.commit().await?;
        units.committed(&mut unit);
        loop {
            let state = sqlx::query_scalar("SELECT state::text FROM streams WHERE stream = $1").bind(format!("saga-{trip}"));
            let state: String = state.fetch_one(units.pool()).await?;
            if let Status::Ended(outcome) = serde_json::from_str::<saga::State>(&state)?.status() {
                break ended.push(outcome.to_string());
            }
            tokio::task::yield_now().await;
        }
    }
    stop.send_replace(true);
    Ok(ended)
}

#[expect(clippy::print_stdout, reason = "an example")]
#[tokio::main]
async fn main() -> Any<()> {
    println!("{:?}", play(&stack::Stack::infrastructure().await?, &["ann", "poor-bob"]).await?);
    Ok(())
}
