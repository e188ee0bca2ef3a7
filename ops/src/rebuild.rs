//! `ops rebuild`: a lost database rebuilt from the topics.

use std::time::Duration;

use clap::Args as Arguments;
use operation::{Act, Rebuild, RebuildProgress};

use crate::cli::Signature;
use crate::client::{Error, Service, Services};
use crate::dlq::signed;
use crate::exit::Exit;
use crate::output::{Output, Table};

/// Between two looks at a rebuild under way.
const LOOK: Duration = Duration::from_millis(500);

/// Which service's database, and who wants it.
#[derive(Debug, Arguments)]
pub struct Args {
    /// The service: orders, inventory or payments.
    pub service: String,
    /// Who, why, and whether to do it.
    #[command(flatten)]
    pub signature: Signature,
}

/// Runs it. The plan is printed without a signature; a rebuild that was broken off is started again by the same command.
///
/// # Errors
/// As [`Error`] says.
pub async fn run(arguments: Args, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let service = services.get(&arguments.service)?;
    let mut seen: Rebuild = service.get("/ops/rebuild", &[]).await?;
    if !arguments.signature.execute {
        output.one(&seen, plan)?;
        if matches!(seen.state.as_str(), "needed" | "failed") {
            output.note("this is the plan, nothing was done; --execute --who … --why … does it");
        }
        return Ok(Exit::Done);
    }
    let (who, why) = signed(&arguments.signature)?;
    if seen.state != "running" {
        seen = service.post("/ops/rebuild", &Act { who, why, execute: true }).await?;
    }
    let seen = watch(service, seen, output).await?;
    output.one(&seen, report)?;
    Ok(if seen.state == "failed" { Exit::Failed } else { Exit::Done })
}

/// Looks until it has ended, telling what it does.
async fn watch(service: &Service, mut seen: Rebuild, output: &mut Output) -> Result<Rebuild, Error> {
    let mut phase = String::new();
    // The word was given: until the rebuild has begun, what is seen is still of before it.
    let mut began = seen.state == "running";
    for _ in 0..u32::MAX {
        match seen.state.as_str() {
            "running" => began = true,
            "needed" | "failed" if !began => {}
            _ => break,
        }
        if let Some(progress) = &seen.progress
            && (output.watched || progress.phase != phase)
        {
            output.progress(&bar(progress));
            phase.clone_from(&progress.phase);
        }
        tokio::time::sleep(LOOK).await;
        let before = seen.error.clone();
        seen = service.get("/ops/rebuild", &[]).await?;
        // a rebuild that failed between two looks
        began |= seen.state == "failed" && seen.error != before;
    }
    output.progress_ends();
    Ok(seen)
}

fn bar(progress: &RebuildProgress) -> String {
    const WIDTH: u64 = 24;
    if progress.total == 0 {
        return format!("{:<18} {:>5.0} s", progress.phase, progress.seconds);
    }
    let done = progress.done.min(progress.total);
    let full = usize::try_from(done.saturating_mul(WIDTH).checked_div(progress.total).unwrap_or_default()).unwrap_or_default();
    let empty = usize::try_from(WIDTH).unwrap_or_default().saturating_sub(full);
    let rest = f64::from(u32::try_from(progress.total - done).unwrap_or(u32::MAX));
    let left = if progress.per_second > 0.0 { format!("{:.0} s left", rest / progress.per_second) } else { "-".to_owned() };
    format!(
        "{:<18} [{}{}] {done}/{} · {:.0}/s · {left}",
        progress.phase,
        "#".repeat(full),
        ".".repeat(empty),
        progress.total,
        progress.per_second
    )
}

fn plan(seen: &Rebuild) -> String {
    let mut text = match seen.state.as_str() {
        "live" | "done" => format!(
            "{}: the database is live, there is nothing to rebuild. A database that was restored to the past is given up first: {}-service setup --rebuild\n",
            seen.service,
            seen.service.trim_end_matches('s')
        ),
        "running" => format!("{}: the rebuild is running\n", seen.service),
        "starting" => format!("{}: the service starts and does not know yet; ask again\n", seen.service),
        "failed" => {
            let (code, error) = (seen.code.as_deref().unwrap_or_default(), seen.error.as_deref().unwrap_or_default());
            format!("{}: the last rebuild failed, nothing was emitted\n  {code}: {error}\n", seen.service)
        }
        _ => format!("{}: the database was lost or given up, nobody is served\n", seen.service),
    };
    let Some(plan) = seen.plan.as_ref().filter(|_| !matches!(seen.state.as_str(), "live" | "done")) else { return text };
    let mut table = Table::new(&["TOPIC", "READ AS", "OFFSETS"], "no topics");
    for topic in &plan.topics {
        table.row([topic.topic.clone(), topic.role.clone(), topic.offsets.to_string()]);
    }
    text.push_str(&table.to_string());
    text.push_str(&format!("published last by incarnation {}\n", plan.published_by.as_deref().unwrap_or("none")));
    if plan.events_given_up > 0 {
        text.push_str(&format!("{} events in the database now are thrown away\n", plan.events_given_up));
    }
    text.push_str("lost for good: what this service acknowledged and had not published\n");
    text
}

fn report(seen: &Rebuild) -> String {
    let mut text = match seen.state.as_str() {
        "failed" => {
            let (code, error) = (seen.code.as_deref().unwrap_or_default(), seen.error.as_deref().unwrap_or_default());
            format!("{}: the rebuild failed, nothing was emitted; the same command begins again\n  {code}: {error}\n", seen.service)
        }
        _ => format!("{}: the database is rebuilt and live\n", seen.service),
    };
    let mut table = Table::new(&["WHAT", "FOUND"], "nothing was verified");
    for check in &seen.checks {
        table.row([check.what.clone(), check.found.clone()]);
    }
    text.push_str(&table.to_string());
    text
}
