//! Harm on purpose, in debug builds only: failpoints, which make a process die, fail or wait at a named step, and
//! sabotages, which switch one defence off. A release build contains neither (docs/decisions/0010-harm.md).
//!
//! Both are set by the environment when a process starts: `FAILPOINTS=L4.sent=2*off->1*return(abort);…` in the language of
//! crate `fail`, where `return` takes `abort`, `error` or `delay:<ms>`; `SABOTAGE=no_doubt_rule,…`. What was reached is
//! appended to the file `FAILPOINTS_LOG`, a line `<point> <action>` before it acts, so that it is told by the dead too.

/// Every step at which a process can be harmed: relay L0 to L6, consumer C0 to C5.
pub const POINTS: &[&str] = &[
    "L0.locked",
    "L1.fenced",
    "L2.sentinel",
    "L2.positioned",
    "L3.read",
    "L4.half",
    "L4.sent",
    "L5.acknowledged",
    "L5.committed",
    "L6.advanced",
    "C0.taken",
    "C1.handed_over",
    "C2.planned",
    "C2.claimed",
    "C2.decided",
    "C2.written",
    "C3.refused",
    "C4.lost",
    "C4.settled",
    "C5.noted",
];

/// Steps of retries, reached only where messages fail: a message is decided (R0, whose actions are those of `blow`), parked,
/// its parking committed, drained, the drain committed, a follower left as head, a message given up.
pub const RETRY_POINTS: &[&str] = &["R0.decided", "R1.parked", "R2.committed", "R3.drained", "R4.committed", "R5.promoted", "R6.dead"];

/// How deciding a message is made to fail.
#[cfg_attr(not(debug_assertions), expect(dead_code, reason = "release builds deal no blows"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// For now.
    Transient,
    /// For good.
    Permanent,
    /// By a panic.
    Panic,
}

/// A defence that can be switched off. The fault run that must notice is named in `it/SABOTAGE.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The relay publishes whatever is above its cursor, gaps or not.
    NaiveIdOrder,
    /// The relay publishes in the order of (xid, id) below xmin.
    XidOrder,
    /// The barrier is the snapshot's `xmax` instead of an xid of the relay's own.
    XmaxBarrier,
    /// Slow commits and transport errors count as success, and the producers are kept.
    NoDoubtRule,
    /// Every relay invents its transactional ids, so nobody is fenced.
    RandomTransactionalId,
    /// The position is written in a transaction of its own after the data's.
    PositionOutside,
    /// Progress rows are moved whatever their epoch and offset are (either comparison alone suffices: decision 0008).
    NoEpochCheck,
    /// A partition taken over is read from Kafka's committed offset.
    KafkaOffsets,
    /// `synchronous_commit = off` on the connections of the service.
    AsynchronousCommit,
    /// `auto.offset.reset = latest`.
    ResetLatest,
    /// A Kafka transaction ends inside a database transaction.
    CutTransactions,
    /// The database is not compared with the relay's position.
    NoIncarnationCheck,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NaiveIdOrder,
        Self::XidOrder,
        Self::XmaxBarrier,
        Self::NoDoubtRule,
        Self::RandomTransactionalId,
        Self::PositionOutside,
        Self::NoEpochCheck,
        Self::KafkaOffsets,
        Self::AsynchronousCommit,
        Self::ResetLatest,
        Self::CutTransactions,
        Self::NoIncarnationCheck,
    ];

    /// Its name in `SABOTAGE`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NaiveIdOrder => "naive_id_order",
            Self::XidOrder => "xid_order",
            Self::XmaxBarrier => "xmax_barrier",
            Self::NoDoubtRule => "no_doubt_rule",
            Self::RandomTransactionalId => "random_transactional_id",
            Self::PositionOutside => "position_outside",
            Self::NoEpochCheck => "no_epoch_check",
            Self::KafkaOffsets => "kafka_offsets",
            Self::AsynchronousCommit => "asynchronous_commit",
            Self::ResetLatest => "reset_latest",
            Self::CutTransactions => "cut_transactions",
            Self::NoIncarnationCheck => "no_incarnation_check",
        }
    }
}

/// Whether this build can be harmed at all.
pub const POSSIBLE: bool = cfg!(debug_assertions);

#[cfg(debug_assertions)]
pub use possible::{Harm, install, install_from_environment};
#[cfg(debug_assertions)]
pub(crate) use possible::{blow, point, point_async, sabotaged};

#[cfg(debug_assertions)]
mod possible {
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Duration;

    use super::{Blow, POINTS, RETRY_POINTS, Sabotage};

    static ARMED: AtomicBool = AtomicBool::new(false);
    static SABOTAGES: AtomicU32 = AtomicU32::new(0);
    static LOG: OnceLock<PathBuf> = OnceLock::new();

    /// What a process is to suffer, in the words of the module's documentation.
    #[derive(Debug, Clone, Default)]
    pub struct Harm {
        /// Failpoints.
        pub failpoints: Option<String>,
        /// Where what was reached is told.
        pub log: Option<PathBuf>,
        /// Defences that are off.
        pub sabotage: Option<String>,
    }

    /// Sets this process up for `harm`.
    ///
    /// # Errors
    /// A point, an action or a sabotage that does not exist: a test that harms nothing must not pass.
    pub fn install(harm: Harm) -> Result<(), String> {
        if let Some(log) = harm.log {
            // the first one stays: a process has one log
            drop(LOG.set(log));
        }
        for one in harm.failpoints.as_deref().unwrap_or_default().split(';').filter(|one| !one.trim().is_empty()) {
            let (name, actions) = one.split_once('=').ok_or_else(|| format!("failpoint without an action: {one}"))?;
            if !POINTS.contains(&name.trim()) && !RETRY_POINTS.contains(&name.trim()) {
                return Err(format!("there is no failpoint {name}"));
            }
            fail::cfg(name.trim(), actions.trim())?;
            ARMED.store(true, Ordering::Release);
        }
        for name in harm.sabotage.as_deref().unwrap_or_default().split(',').filter(|name| !name.trim().is_empty()) {
            let found = Sabotage::ALL.iter().find(|sabotage| sabotage.name() == name.trim());
            let sabotage = found.ok_or_else(|| format!("there is no sabotage {name}"))?;
            SABOTAGES.fetch_or(bit(*sabotage), Ordering::AcqRel);
        }
        Ok(())
    }

    /// The same from `FAILPOINTS`, `FAILPOINTS_LOG` and `SABOTAGE`.
    ///
    /// # Errors
    /// As [`install`].
    pub fn install_from_environment() -> Result<(), String> {
        let read = crate::config::environment;
        install(Harm { failpoints: read("FAILPOINTS"), log: read("FAILPOINTS_LOG").map(PathBuf::from), sabotage: read("SABOTAGE") })
    }

    fn bit(sabotage: Sabotage) -> u32 {
        let number = Sabotage::ALL.iter().position(|one| *one == sabotage).unwrap_or(0);
        1 << number
    }

    /// Whether this defence is off.
    pub(crate) fn sabotaged(sabotage: Sabotage) -> bool {
        let off = SABOTAGES.load(Ordering::Relaxed);
        off != 0 && off & bit(sabotage) != 0
    }

    /// What is left to do at a point, once death has been dealt with.
    enum Left {
        Nothing,
        Fail,
        Wait(Duration),
    }

    fn evaluate(name: &str) -> Option<String> {
        fail::fail_point!(name, |action| Some(action.unwrap_or_default()));
        None
    }

    fn reach(name: &str) -> Left {
        if !ARMED.load(Ordering::Acquire) {
            return Left::Nothing;
        }
        let Some(action) = evaluate(name) else { return Left::Nothing };
        tell(name, &action);
        tracing::warn!(name, action, "failpoint");
        match action.split_once(':') {
            None if action == "abort" => std::process::abort(),
            Some(("delay", millis)) => Left::Wait(Duration::from_millis(millis.parse().unwrap_or(0))),
            _ => Left::Fail,
        }
    }

    /// Whether the message of type `record` with `key` is to fail, at point R0. The action is a blow, of how many keys in a
    /// hundred, of which record type if not of all: `transient`, `permanent/1`, `panic/5/inventory.CreateInventoryHold`.
    pub(crate) fn blow(record: &str, key: &str) -> Option<Blow> {
        if !ARMED.load(Ordering::Acquire) {
            return None;
        }
        let action = evaluate("R0.decided")?;
        let mut words = action.split('/');
        let blow = match words.next() {
            Some("transient") => Blow::Transient,
            Some("permanent") => Blow::Permanent,
            Some("panic") => Blow::Panic,
            _ => return None,
        };
        let share: u32 = words.next().map_or(Ok(100), str::parse).unwrap_or(0);
        let sum = key.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        if words.next().is_some_and(|only| only != record) || (sum >> 8) % 100 >= share {
            return None;
        }
        tell("R0.decided", &action);
        Some(blow)
    }

    fn tell(name: &str, action: &str) {
        if let Some(path) = LOG.get() {
            let told = OpenOptions::new().create(true).append(true).open(path).and_then(|mut log| writeln!(log, "{name} {action}"));
            if let Err(error) = told {
                tracing::error!(%error, name, "a failpoint was reached and cannot tell");
            }
        }
    }

    /// Passes the step `name` on a thread that may block; whether the step must fail.
    pub(crate) fn point(name: &str) -> bool {
        match reach(name) {
            Left::Nothing => false,
            Left::Fail => true,
            Left::Wait(time) => {
                std::thread::sleep(time);
                false
            }
        }
    }

    /// Passes the step `name` in a task; whether the step must fail.
    pub(crate) async fn point_async(name: &str) -> bool {
        match reach(name) {
            Left::Nothing => false,
            Left::Fail => true,
            Left::Wait(time) => {
                tokio::time::sleep(time).await;
                false
            }
        }
    }
}

#[cfg(not(debug_assertions))]
pub use impossible::install_from_environment;

#[cfg(not(debug_assertions))]
mod impossible {
    /// Nothing can be set up.
    ///
    /// # Errors
    /// None; a run that wants harm finds that nothing was reached.
    pub fn install_from_environment() -> Result<(), String> {
        Ok(())
    }

    /// No point fails in a release build.
    #[inline(always)]
    pub(crate) fn point(_name: &str) -> bool {
        false
    }

    /// No point fails in a release build.
    #[inline(always)]
    pub(crate) async fn point_async(_name: &str) -> bool {
        false
    }

    /// No message fails on purpose in a release build.
    #[inline(always)]
    pub(crate) fn blow(_record: &str, _key: &str) -> Option<super::Blow> {
        None
    }

    /// Every defence is on in a release build.
    #[inline(always)]
    pub(crate) fn sabotaged(_sabotage: super::Sabotage) -> bool {
        false
    }
}
#[cfg(not(debug_assertions))]
pub(crate) use impossible::{blow, point, point_async, sabotaged};

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_harm_that_does_not_exist_is_refused() {
        let failpoints = |text: &str| install(Harm { failpoints: Some(text.to_owned()), ..Harm::default() });
        assert!(failpoints("L9.nowhere=return(abort)").is_err());
        assert!(failpoints("L4.sent").is_err());
        assert!(failpoints("L4.sent=explode").is_err());
        assert!(install(Harm { sabotage: Some("no_such_defence".to_owned()), ..Harm::default() }).is_err());
        assert!(Sabotage::ALL.iter().all(|sabotage| !sabotaged(*sabotage)));
    }

    #[test]
    fn a_point_fails_as_often_as_told_and_tells_so() {
        let log = std::env::temp_dir().join(format!("failpoints-{}", std::process::id()));
        let failpoints = Some("C5.noted=1*off->2*return(error)->off".to_owned());
        install(Harm { failpoints, log: Some(log.clone()), sabotage: None }).unwrap();
        let failed: Vec<bool> = (0..5).map(|_| point("C5.noted")).collect();
        assert_eq!(failed, [false, true, true, false, false]);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "C5.noted error\nC5.noted error\n");
        std::fs::remove_file(log).unwrap();
    }
}
