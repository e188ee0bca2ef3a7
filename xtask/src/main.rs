//! The project's chores, as code: `cargo xtask <chore>`.

use std::{io, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use xtask::{Report, check, lint, schemas};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Make the Rust types in schemas/src/generated from schemas/avro
    Schemas {
        /// Change nothing; fail when the committed types differ from what the schemas give
        #[arg(long)]
        check: bool,
        #[command(subcommand)]
        action: Option<SchemasAction>,
    },
    /// Check what the compiler does not: tiers of crates, inherited lints, handled records, documented error codes
    Check,
    /// Formatting, clippy, licences and sources of dependencies, spelling, and check
    Lint,
}

#[derive(Debug, Subcommand)]
enum SchemasAction {
    /// Add schemas that changed to the frozen history in schemas/compat, as their next version
    Freeze,
}

fn main() -> ExitCode {
    let result = run(Arguments::parse().chore);
    let Err(error) = result else { return ExitCode::SUCCESS };
    // The whole chain in one line: a fault in the tree is not a crash and needs no backtrace.
    drop(Report::new(io::stderr()).line(format_args!("error: {error:#}")));
    ExitCode::FAILURE
}

fn run(chore: Chore) -> anyhow::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lives in the workspace")?.to_owned();
    let mut report = Report::new(io::stdout());
    match chore {
        Chore::Schemas { check: false, action: None } => schemas::generate(&root, &mut report),
        Chore::Schemas { check: true, action: None } => schemas::check(&root, &mut report),
        Chore::Schemas { check: _, action: Some(SchemasAction::Freeze) } => schemas::freeze(&root, &mut report),
        Chore::Check => check::run(&root, &mut report),
        Chore::Lint => lint::run(&root, &mut report),
    }
}
