//! The messages of these runs, what their handlers do, and the journal that shows what was handled in which order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use kafka::{AfterLast, Failure, Meta, Needs, Routes, Unit, Work};
use record::Record;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Row as _};

use super::super::Dice;

/// Who writes the topics.
pub(super) const OWNER: &str = "scribe";
/// The consumer group.
pub(super) const GROUP: &str = "letters";
/// Longest delay last.
pub(super) const TIERS: &str = "200,1000,5000";

macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $topic:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct $name {
            /// Its number, unique in a run.
            pub n: i64,
        }
        impl Record for $name {
            const FULL_NAME: &'static str = concat!("letters.", stringify!($name));
            const SCHEMA: &'static str =
                concat!(r#"{"type":"record","name":""#, stringify!($name), r#"","namespace":"letters","fields":[{"name":"n","type":"long"}]}"#);
            const TOPIC: &'static str = $topic;
        }
    };
}
record!(
    /// A message.
    Note,
    "letters.notes"
);
record!(
    /// What undoes the message of its key.
    Undo,
    "letters.undo"
);
record!(
    /// What the group says when it has undone something: on a topic that it does not read.
    Undone,
    "letters.undone"
);
record!(
    /// A type that nobody handles.
    Other,
    "letters.notes"
);

/// What messages do, by their numbers: a row of the database's table `rules`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Every message fails for good.
    pub broken: bool,
    /// So many of a thousand messages fail, half of their tries.
    pub transient: i64,
    /// So many of a thousand messages fail for good.
    pub fatal: i64,
    /// Numbers from here on panic.
    pub panic_from: i64,
    /// Numbers below fail at every try.
    pub stubborn_below: i64,
}

/// The journal and the rules as a transaction sees them.
#[derive(Debug, Default)]
pub(super) struct Book {
    rules: Rules,
    rows: Vec<(String, i64)>,
}

impl Work for Book {
    type Needs = BTreeSet<()>;

    async fn load(&mut self, db: &mut PgConnection, _: BTreeSet<()>) -> Result<(), sqlx::Error> {
        let row = sqlx::query("SELECT broken, transient, fatal, panic_from, stubborn_below FROM rules").fetch_one(db).await?;
        self.rules = Rules {
            broken: row.try_get(0)?,
            transient: row.try_get(1)?,
            fatal: row.try_get(2)?,
            panic_from: row.try_get(3)?,
            stubborn_below: row.try_get(4)?,
        };
        Ok(())
    }

    async fn store(&mut self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        sqlx::query("INSERT INTO journal (key, n) SELECT key, n FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS j (key, n, ord) ORDER BY ord")
            .bind(self.rows.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>())
            .bind(self.rows.iter().map(|(_, n)| *n).collect::<Vec<_>>())
            .execute(db)
            .await?;
        Ok(())
    }
}

/// A number that is the same for the same message, and spread evenly over 0 to 999.
fn lot(n: i64) -> i64 {
    i64::try_from(Dice::new(n.unsigned_abs()).roll(1_000)).unwrap_or(0)
}

/// Whether message `n` fails for good under these rules.
#[must_use]
pub fn fatal(rules: &Rules, n: i64) -> bool {
    lot(n) < rules.fatal
}

/// Codes by number, so that failures of many messages do not look alike: that is what the breaker is for, and another run's.
const CODES: [&str; 24] = [
    "odd_a", "odd_b", "odd_c", "odd_d", "odd_e", "odd_f", "odd_g", "odd_h", "odd_i", "odd_j", "odd_k", "odd_l", "odd_m", "odd_n", "odd_o",
    "odd_p", "odd_q", "odd_r", "odd_s", "odd_t", "odd_u", "odd_v", "odd_w", "odd_x",
];

fn code(n: i64) -> &'static str {
    let roll = Dice::new(n.unsigned_abs().wrapping_add(1)).roll(24);
    CODES.get(usize::try_from(roll).unwrap_or(0)).copied().unwrap_or("odd_a")
}

fn handle(unit: &mut Unit<Book>, meta: &Meta, note: &Note) -> Result<(), Failure> {
    static TRIES: AtomicU64 = AtomicU64::new(0);
    let (rules, n) = (unit.work.rules, note.n);
    if rules.panic_from > 0 && n >= rules.panic_from {
        std::panic::resume_unwind(Box::new("on purpose"));
    }
    if rules.broken {
        return Err(Failure::permanent("bad_deploy", "nothing works"));
    }
    let failure = if fatal(&rules, n) {
        Some(Failure::permanent(code(n), "it will never do"))
    } else if n < rules.stubborn_below {
        Some(Failure::transient(code(n), "not yet"))
    } else if lot(n) >= rules.fatal && lot(n) < rules.fatal + rules.transient && TRIES.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
        Some(Failure::transient(code(n), "perhaps next time"))
    } else {
        None
    };
    if let Some(failure) = failure {
        if n % 31 == 0 {
            // it has written half of its decision by then
            unit.work.rows.push((meta.key.clone(), i64::MIN));
        }
        return Err(failure);
    }
    // the fence: what was undone stays undone
    let undone: bool = unit.state(&meta.key)?;
    if !undone {
        unit.work.rows.push((meta.key.clone(), n));
    }
    Ok(())
}

fn undo(unit: &mut Unit<Book>, meta: &Meta, undo: &Undo) -> Result<(), Failure> {
    unit.append(&meta.key, &meta.key, &Undone { n: undo.n }, &true)?;
    unit.work.rows.push((meta.key.clone(), -1));
    Ok(())
}

/// The routes of the group: streams are named by keys.
pub(super) fn routes(after_last: AfterLast) -> Routes<Book> {
    Routes::new()
        .on::<Note>(after_last, |note, needs: &mut Needs<Book>| needs.stream(key(note.n)), handle)
        .performs("note")
        .on::<Undo>(after_last, |undo, needs: &mut Needs<Book>| needs.stream(key(undo.n)), undo)
        .compensates(&["note"])
}

/// The key of message `n`: its number says it, since a handler's needs are named by the body alone.
#[must_use]
pub fn key(n: i64) -> String {
    format!("k-{}", n >> 32)
}

/// Number `nth` of key `key`.
#[must_use]
pub fn number(key: i64, nth: i64) -> i64 {
    (key << 32) | nth
}
