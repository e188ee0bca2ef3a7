//! `bench orders`: one-line orders on a warm system, in cells: each a closed loop with a number in flight, or an open loop at a rate.

mod cell;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

pub use cell::{Cell, Shape};

use crate::conservation::Verdict;
use crate::latency::per_second;
use crate::load::Job;
use crate::progress::say;
use crate::system::{Address, System, run_name};
use crate::wire::{NewProduct, made_up_sku, one_line_body};
use cell::Length;

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
        let warm = cell::measure(&system, &mut feed, Shape::Closed(WARM_IN_FLIGHT), window, "warming").await?;
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
        let cell = cell::measure(&system, &mut feed, shape, length, shape.name()).await?;
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
    fn half_of_the_best_is_of_all_cells() {
        let cell = |confirmed| Cell { confirmed, window_seconds: 2.0, ..cell::tests::empty() };
        assert_eq!(half_of_best(&[cell(100), cell(401), cell(40)]), 100);
        assert_eq!(half_of_best(&[]), 1);
    }
}
