//! `bench grocery`: a month of real shopping baskets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use crate::conservation::Verdict;
use crate::data::{Grocery, default_folder};
use crate::flight::{Decision, Done, Flight};
use crate::latency::{Latencies, Percentiles, between, per_second};
use crate::load::{Job, Ledger, Load, Window};
use crate::outcomes::{self, ByCustomer};
use crate::progress::{Progress, Shown, say};
use crate::system::{Address, System, run_name};
use crate::watch;
use crate::wire::{NewProduct, Order, Status, basket_body};

/// Baskets named in a fault, at most.
const NAMED_MAX: usize = 10;

/// Arguments of `bench grocery`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder with products.csv.gz and baskets-2017-01.csv.gz [default: the month beside the repository if it is there, else the first
    /// 200 baskets, which the program carries].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Use the 200 baskets the program carries even if the month is there.
    #[arg(long, conflicts_with = "data")]
    pub slice: bool,
    /// Place only the first N baskets.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Orders placed and not decided at any time.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: u32,
    /// Name of an earlier, broken-off run to go on with: its requests are repeated with the same keys.
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// The products are there already.
    #[arg(long)]
    pub skip_products: bool,
    /// Where the system is.
    #[command(flatten)]
    pub address: Address,
}

/// What the run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Its name, for `--run`.
    pub run: String,
    /// Where the baskets came from.
    pub data: String,
    /// Baskets sent.
    pub baskets: usize,
    /// Accepted with 202.
    pub accepted: usize,
    /// Orders placed and not decided, at most.
    pub in_flight: u32,
    /// From the first POST to the last decision seen.
    pub seconds: f64,
    /// Decided orders in that time, a second.
    pub decided_per_second: f64,
    /// Confirmed orders in that time, a second.
    pub confirmed_per_second: f64,
    /// POST sent → answer, accepted orders.
    pub post: Option<Percentiles>,
    /// `placed_at` → `ended_at` of confirmed orders, as the API reports them.
    pub placed_to_ended: Option<Percentiles>,
    /// `placed_at` → the server's instant of the confirmation, when the watcher is told it.
    pub placed_to_confirmed: Option<Percentiles>,
    /// As the client saw it.
    pub observed: Option<Percentiles>,
    /// What `observed` means.
    pub observed_by: &'static str,
    /// Orders confirmed.
    pub confirmed: usize,
    /// Orders cancelled, by reason.
    pub cancelled: BTreeMap<String, usize>,
    /// Orders stuck.
    pub stuck: usize,
    /// Baskets refused, by problem code.
    pub refused: BTreeMap<String, usize>,
    /// Baskets refused.
    pub refused_count: usize,
    /// Baskets that must be refused, by the rule.
    pub refused_expected: usize,
    /// Attempts that were repeated, by reason.
    pub retries: BTreeMap<String, u64>,
    /// The conservation check; `None` without the databases.
    pub conservation: Option<Verdict>,
    /// Everything that is not as it must be; empty when the run passed.
    pub faults: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// When the data cannot be read or the system cannot be reached; what the system does wrong is in the report.
pub async fn run(options: &Options) -> Result<Report> {
    let (grocery, data) = read(options)?;
    let system = System::connect(&options.address).await?;
    let name = options.run.clone().unwrap_or_else(run_name);
    say(&format!("run {name}: {} baskets of {data}, {} products", grocery.baskets.len(), grocery.products.len()));
    if !options.skip_products {
        let products: Vec<_> = grocery.products.values().map(NewProduct::from).collect();
        system.create_products("grocery", &products).await?;
    }
    let placed = place(&system, &grocery, &name, options.in_flight).await?;
    let (ended, stuck) = wait(&system, &placed.done, &placed.ledger, &grocery).await?;
    let conservation = system.books().await?.map(|books| books.judge());
    system.client.finish_log()?;
    let mut report = placed.report(&grocery, &ended, conservation);
    (report.run, report.data, report.in_flight) = (name, data, options.in_flight);
    report.observed_by = system.source.describe();
    report.retries = system.client.retries();
    report.faults.extend(stuck);
    Ok(report)
}

fn read(options: &Options) -> Result<(Grocery, String)> {
    let folder = if options.slice { None } else { options.data.clone().or_else(default_folder) };
    let (grocery, name) = match folder {
        Some(folder) => (Grocery::read(&folder)?, "January 2017"),
        None => (Grocery::slice()?, "the slice"),
    };
    Ok((grocery.limited(options.limit), name.to_owned()))
}

/// What placing the baskets gave.
struct Placing {
    ledger: Ledger,
    done: Vec<Done>,
    elapsed: Duration,
    stopped: Option<String>,
}

async fn place(system: &System, grocery: &Grocery, name: &str, in_flight: u32) -> Result<Placing> {
    let mut jobs = Vec::with_capacity(grocery.baskets.len());
    for (tag, basket) in grocery.baskets.iter().enumerate() {
        let key = format!("grocery-{name}-{}", basket.basket);
        jobs.push(Job { tag, key, customer: customer(&basket.household), body: basket_body(basket)? });
    }
    let flight = Arc::new(Flight::default());
    let watch = watch::start(&system.source, &flight, &system.client).await?;
    let load = Load::new(Arc::clone(&system.client), Arc::clone(&flight), Window::everything(), system.patience);
    let started = Instant::now();
    let stopped = {
        let (load, flight) = (Arc::clone(&load), Arc::clone(&flight));
        let look = Arc::clone(&load);
        let _progress = Progress::start("baskets", jobs.len(), move || Shown {
            done: flight.done_count() + look.not_accepted(),
            note: format!("({} answered, {} in flight)", look.answered(), flight.open_count()),
        });
        load.closed(jobs.into_iter(), usize::try_from(in_flight)?).await.err()
    };
    drop(watch);
    let elapsed = flight.last_seen_at().map_or_else(|| started.elapsed(), |at| at.saturating_duration_since(started));
    Ok(Placing { ledger: load.take_ledger(), done: flight.take_done(), elapsed, stopped: stopped.map(|why| why.to_string()) })
}

/// Waits until every accepted order has ended, then reads all of them by the public interface.
async fn wait(system: &System, done: &[Done], ledger: &Ledger, grocery: &Grocery) -> Result<(BTreeMap<Uuid, Order>, Vec<String>)> {
    let mut wanted = ByCustomer::new();
    for (tag, id) in &ledger.accepted {
        if let Some(basket) = grocery.baskets.get(*tag) {
            wanted.entry(customer(&basket.household)).or_default().insert(*id);
        }
    }
    let ids: Vec<_> = ledger.accepted.iter().map(|(_, id)| *id).collect();
    say(&format!("{} of {} accepted orders decided; waiting until all have ended", done.len(), ids.len()));
    let stuck = system.wait_ended(&ids).await?;
    // SQL has waited already: then the interface is asked once, and what it says is what is reported.
    let patience = if system.orders.is_some() { Duration::ZERO } else { system.patience };
    Ok((outcomes::when_ended(&system.client, wanted, patience).await?.into_iter().collect(), stuck))
}

fn customer(household: &str) -> Arc<str> {
    format!("household-{household}").into()
}

impl Placing {
    fn report(&self, grocery: &Grocery, ended: &BTreeMap<Uuid, Order>, conservation: Option<Verdict>) -> Report {
        let count = |status| ended.values().filter(|order| order.status == status).count();
        let mut cancelled = BTreeMap::new();
        for order in ended.values().filter(|order| order.status == Status::Cancelled) {
            *cancelled.entry(order.reason.clone().unwrap_or_else(|| "no reason".into())).or_default() += 1;
        }
        let mut refused = BTreeMap::new();
        for refusal in &self.ledger.refused {
            *refused.entry(refusal.why.clone()).or_default() += 1;
        }
        let confirmed_done = || self.done.iter().filter(|done| done.decision == Decision::Confirmed);
        let confirmed_orders = ended.values().filter(|order| order.status == Status::Confirmed);
        let placed_to_ended: Latencies = confirmed_orders.filter_map(|order| between(order.placed_at, order.ended_at?)).collect();
        let placed_to_confirmed: Latencies =
            confirmed_done().filter_map(|done| between(done.placed.placed_at?, done.decided_at?)).collect();
        let observed: Latencies = confirmed_done()
            .filter(|done| done.placed.measured)
            .map(|done| done.seen_at.saturating_duration_since(done.placed.sent_at))
            .collect();
        let faults = self.faults(grocery, ended, conservation.as_ref());
        Report {
            run: String::new(),
            data: String::new(),
            baskets: grocery.baskets.len(),
            accepted: self.ledger.accepted.len(),
            in_flight: 0,
            seconds: self.elapsed.as_secs_f64(),
            decided_per_second: per_second(self.done.len(), self.elapsed),
            confirmed_per_second: per_second(confirmed_done().count(), self.elapsed),
            post: self.ledger.post.percentiles(),
            placed_to_ended: placed_to_ended.percentiles(),
            placed_to_confirmed: placed_to_confirmed.percentiles(),
            observed: observed.percentiles(),
            observed_by: "",
            confirmed: count(Status::Confirmed),
            cancelled,
            stuck: count(Status::Stuck),
            refused,
            refused_count: self.ledger.refused.len(),
            refused_expected: grocery.must_be_refused().len(),
            retries: BTreeMap::new(),
            conservation,
            faults,
        }
    }

    fn faults(&self, grocery: &Grocery, ended: &BTreeMap<Uuid, Order>, conservation: Option<&Verdict>) -> Vec<String> {
        let mut faults: Vec<String> = self.stopped.iter().cloned().collect();
        faults.extend(
            self.ledger.failed.iter().take(NAMED_MAX).map(|failed| format!("basket {}: {}", basket_name(grocery, failed.tag), failed.why)),
        );
        faults.extend(self.refusal_faults(grocery));
        let ids: BTreeSet<_> = self.ledger.accepted.iter().map(|(_, id)| *id).collect();
        if ids.len() != self.ledger.accepted.len() {
            faults.push(format!("{} baskets were given the id of another", self.ledger.accepted.len() - ids.len()));
        }
        let open: Vec<_> =
            ids.iter().filter(|id| ended.get(id).is_none_or(|order| order.ended_at.is_none())).map(Uuid::to_string).collect();
        if !open.is_empty() {
            faults.push(format!("{} accepted orders have not ended: {}", open.len(), some(&open)));
        }
        if let Some(verdict) = conservation {
            faults.extend(verdict.violations.iter().take(NAMED_MAX).map(|violation| format!("not conserved: {violation}")));
        }
        faults
    }

    /// The baskets refused must be exactly those that the rule names, each for a reason it has.
    fn refusal_faults(&self, grocery: &Grocery) -> Vec<String> {
        let mut faults = Vec::new();
        let expected = grocery.must_be_refused();
        let refused: BTreeSet<&str> = self.ledger.refused.iter().map(|refusal| basket_name(grocery, refusal.tag)).collect();
        if refused.len() != expected.len() {
            faults.push(format!("{} baskets were refused, {} must be", refused.len(), expected.len()));
        }
        let wrongly: Vec<_> = refused.difference(&expected).map(ToString::to_string).collect();
        if !wrongly.is_empty() {
            faults.push(format!("refused without need: baskets {}", some(&wrongly)));
        }
        let sent: BTreeSet<&str> = self.ledger.accepted.iter().map(|(tag, _)| basket_name(grocery, *tag)).collect();
        let accepted: Vec<_> = expected.intersection(&sent).map(ToString::to_string).collect();
        if !accepted.is_empty() {
            faults.push(format!("accepted but must be refused: baskets {}", some(&accepted)));
        }
        for refusal in &self.ledger.refused {
            let Some(basket) = grocery.baskets.get(refusal.tag) else { continue };
            let reasons: Vec<_> = grocery.faults(basket).into_iter().map(crate::data::Fault::code).collect();
            if !reasons.is_empty() && !reasons.contains(&refusal.why.as_str()) {
                faults.push(format!("basket {} was refused for {}, its faults are {}", basket.basket, refusal.why, reasons.join(", ")));
            }
        }
        faults.truncate(NAMED_MAX);
        faults
    }
}

fn basket_name(grocery: &Grocery, tag: usize) -> &str {
    grocery.baskets.get(tag).map_or("?", |basket| basket.basket.as_str())
}

fn some(all: &[String]) -> String {
    let more = if all.len() > NAMED_MAX { ", …" } else { "" };
    format!("{}{more}", all.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", "))
}
