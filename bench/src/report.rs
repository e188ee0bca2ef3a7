//! Reports for people. The same facts go out as JSON on request.

use std::fmt::{self, Display, Formatter};

use crate::conservation::Verdict;
use crate::latency::Percentiles;
use crate::{grocery, orders};

impl Display for grocery::Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} baskets of {}, {} in flight, run {}", self.baskets, self.data, self.in_flight, self.run)?;
        writeln!(f)?;
        writeln!(f, "  accepted   {:>7}", self.accepted)?;
        writeln!(f, "  confirmed  {:>7}", self.confirmed)?;
        for (reason, count) in &self.cancelled {
            writeln!(f, "  cancelled  {count:>7}  {reason}")?;
        }
        if self.stuck > 0 {
            writeln!(f, "  stuck      {:>7}", self.stuck)?;
        }
        for (code, count) in &self.refused {
            writeln!(f, "  refused    {count:>7}  {code}")?;
        }
        writeln!(f, "  refused    {:>7}  in all, {} must be", self.refused_count, self.refused_expected)?;
        for (why, count) in &self.retries {
            writeln!(f, "  repeated   {count:>7}  {why}")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "  {:.0} orders/s decided, {:.0}/s confirmed, over {:.1} s",
            self.decided_per_second, self.confirmed_per_second, self.seconds
        )?;
        writeln!(f)?;
        heading(f)?;
        latency(f, "POST sent → answer", self.post.as_ref())?;
        latency(f, "placed_at → ended_at (as the API reports)", self.placed_to_ended.as_ref())?;
        latency(f, "placed_at → OrderConfirmed (its time in orders.events)", self.placed_to_confirmed.as_ref())?;
        latency(f, self.observed_by, self.observed.as_ref())?;
        conservation(f, self.conservation.as_ref())?;
        faults(f, &self.faults)
    }
}

impl Display for orders::Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "one-line orders, run {}, warmed for {} s", self.run, self.warmed_seconds)?;
        for cell in &self.cells {
            writeln!(f)?;
            write!(f, "{cell}")?;
            latency(f, self.observed_by, cell.observed.as_ref())?;
            usage(f, cell)?;
        }
        for (why, count) in &self.retries {
            writeln!(f, "  repeated {count} attempts: {why}")?;
        }
        conservation(f, self.conservation.as_ref())?;
        faults(f, &self.faults)
    }
}

impl Display for orders::Cell {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:.0} confirmed/s", self.shape.describe(), self.confirmed_per_second)?;
        if let Some(ended) = self.ended_per_second {
            write!(f, ", {ended:.0} sagas ended/s")?;
        }
        writeln!(f, ", over {:.1} s; {} orders sent in it; drained in {:.1} s", self.window_seconds, self.accepted, self.drain_seconds)?;
        for (what, count) in &self.others {
            writeln!(f, "  {what} {count}")?;
        }
        heading(f)?;
        latency(f, "POST sent → answer", self.post.as_ref())?;
        latency(f, self.confirmed_by, self.placed_to_confirmed.as_ref())?;
        latency(f, "placed_at → ended_at", self.placed_to_ended.as_ref())
    }
}

fn usage(f: &mut Formatter<'_>, cell: &orders::Cell) -> fmt::Result {
    if cell.usage.is_empty() {
        return Ok(());
    }
    writeln!(f, "  {:<20} {:>9} {:>9} {:>9}", "part", "processes", "cores", "MiB")?;
    for usage in &cell.usage {
        writeln!(f, "  {:<20} {:>9} {:>9.2} {:>9.0}", usage.part, usage.processes, usage.cores, usage.resident_mib)?;
    }
    match cell.cpu_ms_per_order {
        Some(cpu) => writeln!(f, "  {cpu:.2} ms of CPU per confirmed order, the bench's own not counted"),
        None => Ok(()),
    }
}

fn heading(f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, "  {:>9} {:>9} {:>9} {:>9} {:>9}  latency, ms", "p50", "p95", "p99", "max", "count")
}

fn latency(f: &mut Formatter<'_>, name: &str, told: Option<&Percentiles>) -> fmt::Result {
    let Some(Percentiles { count, p50_ms, p95_ms, p99_ms, max_ms }) = told else { return Ok(()) };
    writeln!(f, "  {p50_ms:>9.1} {p95_ms:>9.1} {p99_ms:>9.1} {max_ms:>9.1} {count:>9}  {name}")
}

fn conservation(f: &mut Formatter<'_>, verdict: Option<&Verdict>) -> fmt::Result {
    let Some(verdict) = verdict else {
        return writeln!(f, "\nconservation not checked: it needs ORDERS_, INVENTORY_ and PAYMENTS_DATABASE_URL");
    };
    let Verdict { skus, received, available, held, shipped, .. } = verdict;
    writeln!(f, "\nconservation")?;
    writeln!(f, "  stock  {received} received = {available} available + {held} held + {shipped} shipped, each of {skus} SKUs by itself")?;
    for (currency, ordered) in &verdict.ordered_minor {
        let paid = verdict.paid_minor.get(currency).copied().unwrap_or(0);
        writeln!(f, "  money  {paid} captured − refunded, {ordered} total of confirmed orders ({currency}, minor units)")?;
    }
    let provider = if verdict.provider_compared { ", the provider's own books compared" } else { "" };
    writeln!(f, "  open   {} authorisations{provider}", verdict.open_authorisations)?;
    writeln!(f, "  {} violations", verdict.violations.len())
}

fn faults(f: &mut Formatter<'_>, faults: &[String]) -> fmt::Result {
    if faults.is_empty() {
        return writeln!(f, "\nPASSED");
    }
    writeln!(f, "\nFAILED")?;
    faults.iter().try_for_each(|fault| writeln!(f, "  {fault}"))
}
