//! One cell: a load, its window, and what is told of it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::sleep_until;
use uuid::Uuid;

use crate::cpu::{Sample, Usage};
use crate::flight::{Decision, Done, Flight};
use crate::latency::{Latencies, Percentiles, between, per_second};
use crate::load::{Job, Ledger, Load, Window};
use crate::progress::{Progress, Shown};
use crate::reader::Row;
use crate::system::System;
use crate::watch;

/// How orders are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "loop", content = "of", rename_all = "snake_case")]
pub enum Shape {
    /// So many in flight.
    Closed(u32),
    /// So many a second.
    Open(u32),
}

/// What one cell measured. Latencies are of orders sent in the window, however late they were decided.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// How orders were sent.
    #[serde(flatten)]
    pub shape: Shape,
    /// Length of the window.
    pub window_seconds: f64,
    /// Orders sent in the window and accepted.
    pub accepted: usize,
    /// Confirmations seen in the window.
    pub confirmed: usize,
    /// The same a second: the figure of the cell.
    pub confirmed_per_second: f64,
    /// Sagas ended in the window by the server's instants, a second; less than the confirmed means that work piles up behind them.
    pub ended_per_second: Option<f64>,
    /// POST sent → answer.
    pub post: Option<Percentiles>,
    /// `placed_at` → the server's instant of the confirmation.
    pub placed_to_confirmed: Option<Percentiles>,
    /// Which instant that is.
    pub confirmed_by: &'static str,
    /// `placed_at` → `ended_at`.
    pub placed_to_ended: Option<Percentiles>,
    /// As the client saw it.
    pub observed: Option<Percentiles>,
    /// From the end of the sending to the last decision.
    pub drain_seconds: f64,
    /// Orders of the cell not confirmed, by what became of them.
    pub others: BTreeMap<String, usize>,
    /// CPU and memory of each part in the window.
    pub usage: Vec<Usage>,
    /// CPU time of all parts but the bench, per confirmed order, milliseconds.
    pub cpu_ms_per_order: Option<f64>,
    /// Why it stopped early.
    pub stopped: Option<String>,
}

impl Shape {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Closed(_) => "closed loop",
            Self::Open(_) => "open loop",
        }
    }

    /// In words.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Closed(1) => "one at a time".into(),
            Self::Closed(in_flight) => format!("{in_flight} in flight"),
            Self::Open(rate) => format!("{rate}/s open loop"),
        }
    }
}

/// How long a cell sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Length {
    Seconds { settle: u32, seconds: u32 },
    Orders(u32),
}

/// The window as all three clocks saw it: ours, the wall's, and the processes'.
struct Seen {
    from: (Instant, Timestamp, Sample),
    to: (Instant, Timestamp, Sample),
}

async fn mark() -> (Instant, Timestamp, Sample) {
    let (at, wall) = (Instant::now(), Timestamp::now());
    // Reading /proc takes milliseconds: not on the thread that sends orders.
    (at, wall, spawn_blocking(Sample::take).await.unwrap_or_else(|_| Sample::blind()))
}

/// Runs one cell: sends, waits until everything sent has ended, and tells.
///
/// # Errors
/// When the topic or a database cannot be read; what the system does wrong is in the cell.
pub(super) async fn measure(
    system: &System,
    feed: &mut impl Iterator<Item = Job>,
    shape: Shape,
    length: Length,
    label: &'static str,
) -> Result<Cell> {
    let flight = Arc::new(Flight::default());
    let watch = watch::start(&system.source, &flight, &system.client).await?;
    let started = Instant::now();
    let (window, total) = match length {
        Length::Seconds { settle, seconds } => {
            let from = started + Duration::from_secs(settle.into());
            (Window { from, to: Some(from + Duration::from_secs(seconds.into())) }, settle + seconds)
        }
        Length::Orders(orders) => (Window { from: started, to: None }, orders),
    };
    let load = Load::new(Arc::clone(&system.client), Arc::clone(&flight), window, system.patience);
    let progress = {
        let (load, flight) = (Arc::clone(&load), Arc::clone(&flight));
        let by_time = window.to.is_some();
        Progress::start(label, usize::try_from(total)?, move || Shown {
            done: if by_time { usize::try_from(started.elapsed().as_secs()).unwrap_or(0) } else { flight.done_count() },
            note: format!("({} answered, {} decided, {} in flight)", load.answered(), flight.done_count(), flight.open_count()),
        })
    };
    let limit = if let Length::Orders(orders) = length { usize::try_from(orders)? } else { usize::MAX };
    let jobs = feed.take(limit).take_while(|_| window.to.is_none_or(|to| Instant::now() < to));
    let sending = async {
        match shape {
            Shape::Closed(in_flight) => load.closed(jobs, usize::try_from(in_flight).unwrap_or(usize::MAX)).await,
            Shape::Open(rate) => load.open(jobs, f64::from(rate)).await,
        }
    };
    let (stopped, seen) = match window.to {
        Some(to) => {
            let marks = async {
                sleep_until(window.from.into()).await;
                let from = mark().await;
                sleep_until(to.into()).await;
                Seen { from, to: mark().await }
            };
            tokio::join!(sending, marks)
        }
        None => {
            let from = mark().await;
            let stopped = sending.await;
            (stopped, Seen { from, to: mark().await })
        }
    };
    drop((watch, progress));
    let drain = flight.last_seen_at().map_or(Duration::ZERO, |last| last.saturating_duration_since(window.to.unwrap_or(last)));
    let (ledger, done) = (load.take_ledger(), flight.take_done());
    let ids: Vec<Uuid> = ledger.accepted.iter().map(|(_, id)| *id).collect();
    let not_ended = system.wait_ended(&ids).await?;
    let rows = match &system.orders {
        Some(orders) => orders.rows(&ids).await?,
        None => Vec::new(),
    };
    let mut cell = tell(shape, &seen, &ledger, &done, &rows);
    cell.drain_seconds = drain.as_secs_f64();
    cell.stopped = stopped.err().map(|why| why.to_string());
    if !not_ended.is_empty() {
        let stopped = cell.stopped.take().into_iter().chain(not_ended);
        cell.stopped = Some(stopped.collect::<Vec<_>>().join("; "));
    }
    Ok(cell)
}

fn tell(shape: Shape, seen: &Seen, ledger: &Ledger, done: &[Done], rows: &[Row]) -> Cell {
    let window = seen.to.0.saturating_duration_since(seen.from.0);
    let inside = |at: Instant| at >= seen.from.0 && at < seen.to.0;
    let confirmed = done.iter().filter(|done| done.decision == Decision::Confirmed && inside(done.seen_at)).count();
    let measured = || done.iter().filter(|done| done.placed.measured && done.decision == Decision::Confirmed);
    let ids: HashSet<Uuid> = measured().map(|done| done.placed.id).collect();
    let in_sql = || rows.iter().filter(|row| ids.contains(&row.id));
    let observed: Latencies = measured().map(|done| done.seen_at.saturating_duration_since(done.placed.sent_at)).collect();
    let by_topic: Latencies = measured().filter_map(|done| between(done.placed.placed_at?, done.decided_at?)).collect();
    let by_sql: Latencies = in_sql().filter_map(|row| between(row.placed_at?, row.confirmed_at?)).collect();
    let to_ended: Latencies = in_sql().filter_map(|row| between(row.placed_at?, row.ended_at?)).collect();
    let ended = rows.iter().filter(|row| row.ended_at.is_some_and(|at| at >= seen.from.1 && at < seen.to.1)).count();
    let (placed_to_confirmed, confirmed_by) = match by_sql.percentiles() {
        Some(told) => (Some(told), "placed_at → OrderConfirmed stored (recorded_at)"),
        None => (by_topic.percentiles(), "placed_at → OrderConfirmed (its time in orders.events)"),
    };
    let mut others = BTreeMap::new();
    for (what, count) in [
        ("cancelled", done.iter().filter(|done| done.decision == Decision::Cancelled).count()),
        ("stuck", done.iter().filter(|done| done.decision == Decision::Stuck).count()),
        ("refused", ledger.refused.len()),
        ("failed", ledger.failed.len()),
        ("not decided", ledger.accepted.len().saturating_sub(done.len())),
    ] {
        if count > 0 {
            others.insert(what.to_owned(), count);
        }
    }
    let usage = seen.to.2.since(&seen.from.2);
    let cpu: Duration = usage.iter().filter(|usage| usage.part != "bench").map(|usage| usage.cpu).sum();
    let per_order = per_second(confirmed, Duration::from_secs(1));
    Cell {
        shape,
        window_seconds: window.as_secs_f64(),
        accepted: ledger.post.count(),
        confirmed,
        confirmed_per_second: per_second(confirmed, window),
        ended_per_second: (!rows.is_empty()).then(|| per_second(ended, window)),
        post: ledger.post.percentiles(),
        placed_to_confirmed,
        confirmed_by,
        placed_to_ended: to_ended.percentiles(),
        observed: observed.percentiles(),
        drain_seconds: 0.0,
        others,
        usage,
        cpu_ms_per_order: (confirmed > 0 && !cpu.is_zero()).then(|| cpu.as_secs_f64() * 1e3 / per_order),
        stopped: None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::flight::Placed;

    /// A cell in which nothing happened.
    pub(in crate::orders) fn empty() -> Cell {
        let at = (Instant::now(), Timestamp::UNIX_EPOCH, Sample::blind());
        tell(Shape::Closed(1), &Seen { from: at.clone(), to: at }, &Ledger::default(), &[], &[])
    }

    #[test]
    fn a_cell_counts_what_was_seen_in_the_window_and_times_what_was_sent_in_it() {
        let (at, wall) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let second = Duration::from_secs(1);
        let sample = Sample::take();
        let seen = Seen { from: (at + second, wall + second, sample.clone()), to: (at + 3 * second, wall + 3 * second, sample) };
        let done = |id: u128, sent: u32, took: u32, measured| Done {
            placed: Placed { id: Uuid::from_u128(id), customer: "c".into(), sent_at: at + second * sent, placed_at: None, measured },
            decision: Decision::Confirmed,
            seen_at: at + second * (sent + took),
            decided_at: None,
        };
        // Sent before and seen inside; sent and seen inside; sent inside and seen after.
        let done = [done(1, 0, 1, false), done(2, 1, 1, true), done(3, 2, 5, true)];
        let row = |id: u128, placed: u32, took: u32| Row {
            id: Uuid::from_u128(id),
            status: None,
            reason: None,
            placed_at: Some(wall + second * placed),
            confirmed_at: Some(wall + second * (placed + took)),
            ended_at: Some(wall + second * (placed + took)),
        };
        let rows = [row(1, 0, 1), row(2, 1, 1), row(3, 2, 5)];
        let cell = tell(Shape::Closed(2), &seen, &Ledger::default(), &done, &rows);
        assert_eq!((cell.confirmed, cell.observed.unwrap().count), (2, 2));
        assert!((cell.confirmed_per_second - 1.0).abs() < 1e-9 && (cell.ended_per_second.unwrap() - 1.0).abs() < 1e-9);
        assert_eq!((cell.observed.unwrap().p50_ms, cell.placed_to_confirmed.unwrap().max_ms), (1_000.0, 5_000.0));
    }
}
