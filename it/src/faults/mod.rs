//! The fault runs: `it faults <name|all>` attacks a system of its own and has the checker judge what is left.
//!
//! Each fault is one file and one line in [`ALL`]. A fault gets a [`Session`]: it takes the shared [`Stage`] (the whole
//! system behind links that can fail, started once) or parts of its own, puts load on it, does its harm, waits for quiet
//! and returns an [`Outcome`]. It proves that the harm was done: [`Outcome::reached`] with a count of zero fails the run.
//!
//! To add one: a file with `pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome>` and a line in
//! [`ALL`]. CI runs those that are named in `it/tests/faults` at their small size, `./test --long` all of
//! them at full size.

mod baskets;
mod client;
mod dice;
mod f01_kills;
mod f02_points;
mod f03_broker;
mod f03_hanging;
mod f04_database;
mod f06_links;
mod f07_late;
mod f08_zombies;
mod f09_members;
mod f12_repeats;
mod f13_disorder;
mod f14_poison;
mod f15_deploy;
mod f16_order;
mod f17_undo;
mod f19_letters;
mod f19_rebuild;
mod f20_restored;
mod f21_outbox;
mod f22_redrive;
mod f26_provider;
pub mod letters;
mod links;
mod load;
pub mod outbox;
mod outcome;
mod rebuilds;
mod replay;
mod session;
mod stage;
mod wait;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

pub use baskets::{Basket, Shop};
pub use client::{Answer, Client, order};
pub use dice::Dice;
pub use links::Links;
pub use load::{Answered, Finished, Load, Placing, percentile};
pub use outcome::Outcome;
pub use session::{Options, Session};
pub use stage::Stage;
pub use wait::{SOON, patience, until};

/// A run in progress.
type Running<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Outcome>> + 'a>>;

/// One way to harm the system.
#[derive(Clone, Copy)]
pub struct Fault {
    /// Its number in PROTOCOLS 8.
    pub name: &'static str,
    /// What is done.
    pub title: &'static str,
    /// Does it.
    pub run: for<'a> fn(&'a mut Session) -> Running<'a>,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All faults, in the order in which `all` runs them: those that leave the shared stage whole come first.
pub const ALL: &[Fault] = &[
    Fault { name: "F1", title: "kill -9 of random service processes", run: |session| Box::pin(f01_kills::run(session)) },
    Fault { name: "F2", title: "death, error or delay at every step", run: |session| Box::pin(f02_points::run(session)) },
    Fault { name: "F3", title: "the broker is away", run: |session| Box::pin(f03_broker::run(session)) },
    Fault { name: "F3b", title: "a partition left without a marker", run: |session| Box::pin(f03_hanging::run(session)) },
    Fault { name: "F4", title: "PostgreSQL is away, and COMMITs without answer", run: |session| Box::pin(f04_database::run(session)) },
    Fault { name: "F6", title: "every link cut, reset, half open, slow, narrow", run: |session| Box::pin(f06_links::run(session)) },
    Fault { name: "F7", title: "an EndTxn that comes late", run: |session| Box::pin(f07_late::run(session)) },
    Fault { name: "F8", title: "stopped and continued", run: |session| Box::pin(f08_zombies::run(session)) },
    Fault { name: "F19", title: "a database is lost and rebuilt from the topics", run: |session| Box::pin(f19_rebuild::run(session)) },
    Fault { name: "F20", title: "a database is restored to the past", run: |session| Box::pin(f20_restored::run(session)) },
    Fault { name: "F26", title: "the payment provider is away", run: |session| Box::pin(f26_provider::run(session)) },
    Fault { name: "F14", title: "poison of six kinds", run: |session| Box::pin(f14_poison::run(session)) },
    Fault { name: "F15", title: "a bad deploy", run: |session| Box::pin(f15_deploy::run(session)) },
    Fault {
        name: "F16",
        title: "order through retries, and a death at every step of them",
        run: |session| Box::pin(f16_order::run(session)),
    },
    Fault { name: "F17", title: "undo against what waits, is dead or was sent back", run: |session| Box::pin(f17_undo::run(session)) },
    Fault { name: "F21", title: "the order of the outbox", run: |session| Box::pin(f21_outbox::run(session)) },
    Fault { name: "F22", title: "dead letters sent back by two operators", run: |session| Box::pin(f22_redrive::run(session)) },
    Fault { name: "F9", title: "members come and go", run: |session| Box::pin(f09_members::run(session)) },
    Fault { name: "F12", title: "every topic replayed into itself", run: |session| Box::pin(f12_repeats::run(session)) },
    Fault { name: "F13", title: "records swapped, dropped, altered, gone", run: |session| Box::pin(f13_disorder::run(session)) },
];

/// The faults that `name` means: one, several with commas between, or `all`.
///
/// # Errors
/// There is none of that name.
pub fn named(name: &str) -> anyhow::Result<Vec<Fault>> {
    if name.eq_ignore_ascii_case("all") {
        return Ok(ALL.to_vec());
    }
    name.split(',')
        .map(|name| {
            let found = ALL.iter().find(|fault| fault.name.eq_ignore_ascii_case(name.trim())).copied();
            let known: Vec<&str> = ALL.iter().map(|fault| fault.name).collect();
            found.ok_or_else(|| anyhow::anyhow!("there is no fault {name}; there are {} and all", known.join(", ")))
        })
        .collect()
}

/// Runs one fault on what `session` has.
pub async fn run_one(session: &mut Session, fault: &Fault) -> Outcome {
    session.begin(fault);
    let outcome = (fault.run)(session).await.unwrap_or_else(|error| Outcome::failed(format!("{error:#}")));
    if !outcome.passed() {
        // what it left behind is not to be blamed on the next one
        session.spoil().await;
    }
    outcome
}

/// Runs `faults` one after the other and tells each result to `say`; the outcomes, those that failed included.
///
/// # Errors
/// Only when a result cannot be told.
pub async fn run(
    faults: &[Fault],
    options: Options,
    say: &mut dyn FnMut(&str) -> std::io::Result<()>,
) -> anyhow::Result<Vec<(Fault, Outcome)>> {
    let mut session = Session::new(options);
    let mut outcomes = Vec::with_capacity(faults.len());
    for fault in faults {
        let outcome = run_one(&mut session, fault).await;
        say(&outcome.line(fault, &session))?;
        outcomes.push((*fault, outcome));
    }
    session.spoil().await;
    Ok(outcomes)
}
