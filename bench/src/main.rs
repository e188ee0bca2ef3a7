//! Command line of the bench.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bench::progress::say;
use bench::{grocery, orders};
use clap::{Parser, Subcommand};
use serde::Serialize;

/// Puts load on a running system by its public HTTP interface, and says what it did with it.
///
/// Addresses come from the environment: ./run status -o env prints them.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// Prints the report as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Places a month of real shopping baskets and checks that stock and money are conserved.
    Grocery(grocery::Options),
    /// Places one-line orders, a number in flight or at a rate, and measures.
    Orders(orders::Options),
}

/// Exit codes: 0 passed, 1 failed or something is not as it must be, 2 usage, 130 interrupted.
///
/// One thread runs everything but the reader of the topic: the bench shares the machine with what it measures.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let finished = tokio::select! {
        finished = run(&cli) => finished,
        _ = tokio::signal::ctrl_c() => {
            say("interrupted");
            return ExitCode::from(130);
        }
    };
    match finished {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether the run passed.
async fn run(cli: &Cli) -> Result<bool> {
    match &cli.command {
        Command::Grocery(options) => {
            let report = grocery::run(options).await?;
            print(cli.json, &report)?;
            Ok(report.faults.is_empty())
        }
        Command::Orders(options) => {
            let report = orders::run(options).await?;
            print(cli.json, &report)?;
            Ok(report.faults.is_empty())
        }
    }
}

fn print(json: bool, report: &(impl Serialize + std::fmt::Display)) -> Result<()> {
    let text = if json { format!("{}\n", serde_json::to_string_pretty(report)?) } else { report.to_string() };
    std::io::stdout().lock().write_all(text.as_bytes()).context("write the report")
}
