//! Messages whose handler does what the test says, and what was handled in which order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use kafka::retry::{Filter, Letter};
use kafka::{AfterLast, Failure, Meta, Needs, Routes, Unit, retry};
use record::Record;
use sqlx::Row;

use crate::bench::{Bench, Member, Publisher, Seen};
use crate::support::eventually;

/// A message of a test: its handler looks up what to do by its number.
macro_rules! note {
    ($name:ident, $topic:literal) => {
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        struct $name {
            key: String,
            n: i64,
        }
        impl record::Record for $name {
            const FULL_NAME: &'static str = concat!("test.", stringify!($name));
            const SCHEMA: &'static str = concat!(
                r#"{"type":"record","name":""#,
                stringify!($name),
                r#"","namespace":"test","fields":[{"name":"key","type":"string"},{"name":"n","type":"long"}]}"#
            );
            const TOPIC: &'static str = $topic;
        }
        impl crate::retry::world::Note for $name {
            fn new(key: &str, n: i64) -> Self {
                Self { key: key.to_owned(), n }
            }
            fn key(&self) -> &str {
                &self.key
            }
            fn n(&self) -> i64 {
                self.n
            }
        }
    };
}
pub(crate) use note;

pub(crate) trait Note: Record + Clone {
    fn new(key: &str, n: i64) -> Self;
    fn key(&self) -> &str;
    fn n(&self) -> i64;
}

/// What a handler does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Pass,
    /// Fails this many times, then passes.
    Fail(u32),
    Always,
    Permanent,
    Panic,
    /// Writes what the database refuses.
    Refused,
}

/// What handlers are told, and how often each message was tried.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    acts: HashMap<i64, Act>,
    everything: Option<Act>,
    tries: HashMap<i64, u32>,
}

impl Script {
    pub(crate) fn say(&self, n: i64, act: Act) {
        self.0.lock().unwrap().acts.insert(n, act);
    }

    pub(crate) fn everything(&self, act: Option<Act>) {
        self.0.lock().unwrap().everything = act;
    }

    pub(crate) fn tries(&self, n: i64) -> u32 {
        self.0.lock().unwrap().tries.get(&n).copied().unwrap_or_default()
    }

    fn act(&self, n: i64) -> (Act, u32) {
        let mut told = self.0.lock().unwrap();
        let tries = told.tries.entry(n).or_default();
        *tries += 1;
        let tries = *tries;
        (told.everything.or(told.acts.get(&n).copied()).unwrap_or(Act::Pass), tries)
    }

    pub(crate) fn handle<T: Note>(&self, unit: &mut Unit<()>, meta: &Meta, note: &T) -> Result<(), Failure> {
        let stream = format!("seen-{}", note.key());
        let seen: Vec<i64> = unit.state(&stream)?;
        let (act, tries) = self.act(note.n());
        match act {
            Act::Fail(times) if tries <= times => return Err(Failure::transient("busy", format!("try {tries} of {}", note.n()))),
            Act::Always => return Err(Failure::transient("busy", format!("try {tries} of {}", note.n()))),
            Act::Permanent => return Err(Failure::permanent("hopeless", "it will never do")),
            Act::Panic => panic!("on purpose"),
            Act::Pass | Act::Fail(_) | Act::Refused => {}
        }
        let seen: Vec<i64> = seen.into_iter().chain([note.n()]).collect();
        if act == Act::Refused {
            unit.deadline("a\0b", Some(("step", 0)));
        }
        unit.append(&stream, &meta.key, &Seen { n: note.n() }, &seen).map(drop)
    }

    pub(crate) fn routes<T: Note>(&self, after_last: AfterLast) -> Routes<()> {
        let script = self.clone();
        Routes::new().on::<T>(
            after_last,
            |note, needs: &mut Needs<()>| needs.stream(format!("seen-{}", note.key())),
            move |unit, meta, note| script.handle(unit, meta, note),
        )
    }
}

/// A group that reads one topic with one partition, its relay running.
pub(crate) struct World {
    pub(crate) bench: Bench,
    pub(crate) script: Script,
    publisher: Publisher,
    prev: Mutex<i64>,
}

impl World {
    pub(crate) async fn new<T: Note>(group: &str) -> Self {
        let bench = Bench::new::<T>(group, 1).await;
        let publisher = bench.publish().await;
        Self { bench, script: Script::default(), publisher, prev: Mutex::new(0) }
    }

    pub(crate) async fn member<T: Note>(&self, after_last: AfterLast) -> Member {
        self.bench.member(1, self.script.routes::<T>(after_last)).await
    }

    fn link(&self) -> (i64, i64) {
        let mut prev = self.prev.lock().unwrap();
        let link = (*prev, *prev + 1);
        *prev += 1;
        link
    }

    /// The owner writes the next record.
    pub(crate) async fn write<T: Note>(&self, key: &str, n: i64) {
        self.bench.write(0, "pinger/a", self.link(), key, &T::new(key, n)).await;
    }

    pub(crate) async fn write_bytes(&self, key: &str, bytes: Option<&[u8]>) {
        self.bench.write_bytes(0, "pinger/a", self.link(), key, bytes).await;
    }

    /// The numbers handled of a key, in order.
    pub(crate) async fn seen(&self, key: &str) -> Vec<i64> {
        let state: Option<String> = sqlx::query_scalar("SELECT state::text FROM streams WHERE stream = $1")
            .bind(format!("seen-{key}"))
            .fetch_optional(self.bench.pool())
            .await
            .unwrap();
        state.map(|state| serde_json::from_str(&state).unwrap()).unwrap_or_default()
    }

    pub(crate) async fn wait_seen(&self, key: &str, numbers: &[i64]) {
        eventually(&format!("{key} has seen {numbers:?}"), || async {
            let seen = self.seen(key).await;
            assert!(numbers.starts_with(&seen) || seen == numbers, "{key}: {seen:?} is no beginning of {numbers:?}");
            (seen == numbers).then_some(())
        })
        .await;
    }

    pub(crate) async fn letters(&self) -> Vec<Letter> {
        let mut db = self.bench.pool().acquire().await.unwrap();
        retry::list(&mut db, self.group(), &Filter::default(), 1_000).await.unwrap()
    }

    pub(crate) fn group(&self) -> &str {
        &self.bench.units.retry().group
    }

    pub(crate) async fn wait_state(&self, state: retry::State, count: usize) -> Vec<Letter> {
        eventually(&format!("{count} letters are {}", state.as_str()), || async {
            let letters: Vec<Letter> = self.letters().await.into_iter().filter(|letter| letter.state == state).collect();
            (letters.len() == count).then_some(letters)
        })
        .await
    }

    /// Nothing is parked and no key blocked.
    pub(crate) async fn wait_empty(&self) {
        eventually("nothing is parked", || async {
            let rows: i64 = sqlx::query_scalar("SELECT (SELECT count(*) FROM parked) + (SELECT count(*) FROM blocked_key)")
                .fetch_one(self.bench.pool())
                .await
                .unwrap();
            (rows == 0).then_some(())
        })
        .await;
    }

    /// Headers and payloads of the outbox rows on a topic of the group, in order: what the relay publishes.
    pub(crate) async fn posts(&self, suffix: &str) -> Vec<(HashMap<String, String>, Vec<u8>)> {
        sqlx::query("SELECT headers, payload FROM outbox WHERE topic = $1 ORDER BY id")
            .bind(format!("{}.{suffix}", self.group()))
            .fetch_all(self.bench.pool())
            .await
            .unwrap()
            .iter()
            .map(|row| {
                let text = String::from_utf8(row.get("headers")).unwrap();
                let headers: Vec<(String, String)> = text
                    .lines()
                    .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
                    .collect();
                let count = headers.len();
                let headers: HashMap<String, String> = headers.into_iter().collect();
                assert_eq!(headers.len(), count, "no header twice: {text}");
                (headers, row.get("payload"))
            })
            .collect()
    }

    pub(crate) async fn end(self, member: Member) {
        member.stop().await;
        self.publisher.stop().await;
    }
}
