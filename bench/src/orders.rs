//! `bench orders`: one-line orders on a warm system, in cells: each a closed loop with a number in flight, or an open loop at a rate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::sleep_until;
use uuid::Uuid;

use crate::conservation::Verdict;
use crate::cpu::{Sample, Usage};
use crate::flight::{Decision, Done, Flight};
use crate::grocery::between;
use crate::latency::{Latencies, Percentiles, per_second};
use crate::load::{Job, Ledger, Load, Window};
use crate::progress::{Progress, Shown, say};
use crate::reader::Row;
use crate::system::{Address, System, run_name};
use crate::watch;
use crate::wire::{NewProduct, made_up_sku, one_line_body};

/// Units each made-up product starts with: more than any run can sell, below the interface's limit.
const STOCK: u64 = 100_000_000;

/// Arguments of `bench orders`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Closed loops: orders placed and not decided at any time; a list makes a curve [default: 256, unless --rate is given].
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: Vec<u32>,
    /// Open loops: orders a second, sent evenly however far the system is behind.
    #[arg(long, value_name = "R", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Vec<u32>,
    /// After the closed loops, an open loop at half of the best rate they reached.
    #[arg(long)]
    pub half: bool,
    /// Length of each measured window.
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Place N orders in each cell instead; then everything from the first POST to the last decision is the window.
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u32).range(1..))]
    pub orders: Option<u32>,
    /// Seconds of load before the first cell, 256 in flight whatever is measured: a broker is only warm after a high rate.
    #[arg(long, value_name = "S", default_value_t = 40)]
    pub warm: u32,
    /// Seconds of a cell's own load before its window.
    #[arg(long, value_name = "S", default_value_t = 2)]
    pub settle: u32,
    /// Made-up products; each order buys one unit of one of them, chosen evenly.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    pub skus: u32,
    /// Customers.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub customers: u32,
    /// The products are there already.
    #[arg(long)]
    pub skip_products: bool,
    /// Where the system is.
    #[command(flatten)]
    pub address: Address,
}

/// In flight while the broker is warmed.
const WARM_IN_FLIGHT: u32 = 256;

/// What the run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Its name.
    pub run: String,
    /// Seconds of load before the first cell.
    pub warmed_seconds: u32,
    /// What `observed` means in every cell.
    pub observed_by: &'static str,
    /// In the order they ran.
    pub cells: Vec<Cell>,
    /// Attempts that were repeated, by reason, over all cells.
    pub retries: BTreeMap<String, u64>,
    /// The conservation check; `None` without the databases.
    pub conservation: Option<Verdict>,
    /// Everything that is not as it must be; empty when the run passed.
    pub faults: Vec<String>,
}

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

/// Runs it.
///
/// # Errors
/// When the system cannot be reached; what it does wrong is in the report.
pub async fn run(options: &Options) -> Result<Report> {
    let system = System::connect(&options.address).await?;
    let name = run_name();
    if !options.skip_products {
        let products: Vec<_> = (0..usize::try_from(options.skus)?).map(|number| NewProduct::made_up(number, STOCK)).collect();
        system.create_products("orders", &products).await?;
    }
    let mut feed = Feed::new(&name, options.skus, options.customers)?;
    if options.warm > 0 {
        let window = Length::Seconds { settle: 0, seconds: options.warm };
        let warm = measure(&system, &mut feed, Shape::Closed(WARM_IN_FLIGHT), window, "warming").await?;
        say(&format!("warmed: {:.0} confirmed/s", warm.confirmed_per_second));
        if let Some(why) = warm.stopped {
            bail!("the system failed while it was warmed: {why}");
        }
    }
    let mut cells: Vec<Cell> = Vec::new();
    for shape in shapes(options) {
        let shape = match shape {
            Some(shape) => shape,
            None => Shape::Open(half_of_best(&cells)),
        };
        let length = options.orders.map_or(Length::Seconds { settle: options.settle, seconds: options.seconds }, Length::Orders);
        let cell = measure(&system, &mut feed, shape, length, shape.name()).await?;
        let stopped = cell.stopped.is_some();
        say(&format!("{}: {:.0} confirmed/s", shape.describe(), cell.confirmed_per_second));
        cells.push(cell);
        if stopped {
            break;
        }
    }
    let conservation = system.books().await?.map(|books| books.judge());
    system.client.finish_log()?;
    let faults = faults(&cells, conservation.as_ref());
    let observed_by = system.source.describe();
    Ok(Report { run: name, warmed_seconds: options.warm, observed_by, cells, retries: system.client.retries(), conservation, faults })
}

/// The cells in their order; `None` is the open loop at half of the best rate.
fn shapes(options: &Options) -> Vec<Option<Shape>> {
    let closed: &[u32] = if options.in_flight.is_empty() && options.rate.is_empty() { &[256] } else { &options.in_flight };
    let mut shapes: Vec<_> = closed.iter().copied().map(Shape::Closed).map(Some).collect();
    if options.half {
        shapes.push(None);
    }
    shapes.extend(options.rate.iter().copied().map(Shape::Open).map(Some));
    shapes
}

fn half_of_best(cells: &[Cell]) -> u32 {
    let best = cells.iter().map(|cell| cell.confirmed).zip(cells.iter().map(|cell| cell.window_seconds));
    let half = best.map(|(confirmed, seconds)| per_second(confirmed, Duration::from_secs_f64(seconds * 2.0))).fold(1.0, f64::max);
    // Whole orders a second; the rate is far below what a u32 holds.
    u32::try_from(Duration::from_secs_f64(half).as_secs()).unwrap_or(u32::MAX).max(1)
}

impl Shape {
    const fn name(self) -> &'static str {
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
enum Length {
    Seconds { settle: u32, seconds: u32 },
    Orders(u32),
}

/// An endless supply of one-line orders, each with a key of its own.
struct Feed {
    name: String,
    customers: Vec<Arc<str>>,
    bodies: Vec<Vec<u8>>,
    next: usize,
}

impl Feed {
    fn new(name: &str, skus: u32, customers: u32) -> Result<Self> {
        let bodies = (0..usize::try_from(skus)?).map(|number| one_line_body(&made_up_sku(number), 1)).collect::<Result<_, _>>()?;
        let customers = (0..customers).map(|number| format!("bench-{name}-{number:05}").into()).collect();
        Ok(Self { name: name.to_owned(), customers, bodies, next: 0 })
    }
}

impl Iterator for Feed {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        let tag = self.next;
        self.next += 1;
        let customer = Arc::clone(self.customers.get(tag % self.customers.len())?);
        // Spread by a hash, not in turn: orders that arrive together should now and then want the same product, as real ones do.
        let body = self.bodies.get(scatter(tag) % self.bodies.len())?.clone();
        Some(Job { tag, key: format!("orders-{}-{tag}", self.name), customer, body })
    }
}

/// Well-spread, repeatable. Source: the finalizer of Vigna's splitmix64.
const fn scatter(number: usize) -> usize {
    let mut hash = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
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

async fn measure(system: &System, feed: &mut Feed, shape: Shape, length: Length, label: &'static str) -> Result<Cell> {
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
    let ids: std::collections::HashSet<Uuid> = measured().map(|done| done.placed.id).collect();
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

fn faults(cells: &[Cell], conservation: Option<&Verdict>) -> Vec<String> {
    let mut faults = Vec::new();
    for cell in cells {
        let name = cell.shape.describe();
        faults.extend(cell.stopped.iter().map(|why| format!("{name}: {why}")));
        // Stock is plentiful and every card is good: an order that is not confirmed is a fault.
        faults.extend(cell.others.iter().map(|(what, count)| format!("{name}: {count} orders {what}")));
    }
    faults.extend(
        conservation.iter().flat_map(|verdict| &verdict.violations).take(10).map(|violation| format!("not conserved: {violation}")),
    );
    faults
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::Parser;

    use super::*;
    use crate::flight::Placed;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        Cli::parse_from(std::iter::once(&"bench").chain(arguments)).options
    }

    #[test]
    fn cells_come_closed_first_then_half_then_rates() {
        assert_eq!(shapes(&options(&[])), [Some(Shape::Closed(256))]);
        assert_eq!(shapes(&options(&["--rate", "100"])), [Some(Shape::Open(100))]);
        let all = shapes(&options(&["--in-flight", "1,256", "--half", "--rate", "9"]));
        assert_eq!(all, [Some(Shape::Closed(1)), Some(Shape::Closed(256)), None, Some(Shape::Open(9))]);
    }

    #[test]
    fn every_job_has_its_own_key_and_skus_are_spread() {
        let jobs: Vec<_> = Feed::new("r", 100, 7).unwrap().take(1_000).collect();
        assert_eq!(jobs.iter().map(|job| &job.key).collect::<HashSet<_>>().len(), 1_000);
        let skus = jobs.iter().map(|job| &job.body).collect::<HashSet<_>>().len();
        assert!(skus > 95, "{skus} of 100 products are wanted");
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
        assert_eq!(half_of_best(&[cell]), 1);
    }
}
