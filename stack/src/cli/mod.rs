//! The commands behind `./run`.

mod down;
mod sample;
mod status;
mod up;
mod with;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Runs the whole system on this machine: Kafka, the schema registry, PostgreSQL, three services and the gateway.
#[derive(Debug, Parser)]
#[command(name = "run", version)]
pub(crate) struct Arguments {
    /// Where data, logs and passwords are kept.
    #[arg(long, env = "STACK_FOLDER", default_value = ".run", global = true)]
    folder: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything, place a sample order, stay up until Ctrl-C (what `./run` alone does).
    Up(up::Options),
    /// Stop what is up; the data stays.
    Stop,
    /// Say what is up and where.
    Status {
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = status::Format::Table)]
        output: status::Format,
    },
    /// Stop what is up and delete its data, logs and passwords.
    Reset,
    /// Start everything on free ports for one command, which finds the addresses in its environment.
    With(with::Options),
    /// Only fetch Kafka, the registry and PostgreSQL into the cache.
    Fetch,
}

/// Runs one command; the code is 0, or 3 from `status` when nothing is up.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let folder = absolute(&arguments.folder)?;
    match arguments.command.unwrap_or_else(|| Command::Up(up::Options::default())) {
        Command::Up(options) => up::up(&folder, options).await,
        Command::Stop => down::stop(&folder).await,
        Command::Status { output } => status::status(&folder, output),
        Command::Reset => down::reset(&folder).await,
        Command::With(options) => with::with(options).await,
        Command::Fetch => {
            stack::fetch().await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn absolute(folder: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(folder).with_context(|| format!("find the folder {}", folder.display()))
}

/// Prints one line to the standard output.
fn say(line: impl AsRef<str>) -> anyhow::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{}", line.as_ref()).context("write to the standard output")
}
