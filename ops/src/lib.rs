//! The operator's command line over the ops ports of the services: dead letters, what waits to be tried again, stuck sagas.
//!
//! Data goes to standard output, everything else to standard error. What changes something prints its plan and does it only
//! with `--execute`; it names who decides and why, and the service keeps that for ever.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done, or the plan was printed |
//! | 1 | failed: the answer says why |
//! | 2 | usage |
//! | 3 | partly done: some letters or services are left |
//! | 4 | not found |
//! | 5 | unreachable: nothing was done, or a run stopped that the same command takes up again |
//! | 130 | interrupted: the letters in hand were finished, the same command goes on |
//!
//! One file per command group: [`dlq`], [`retry`], [`saga`], [`rebuild`], [`erase`], [`doctor`]. A new group is a file with its arguments and
//! its `run`, and one
//! line in [`cli::Command`].

pub mod cli;
pub mod client;
pub mod dlq;
pub mod doctor;
pub mod erase;
pub mod exit;
pub mod output;
pub mod pages;
pub mod rebuild;
pub mod retry;
pub mod saga;

use std::ffi::OsString;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::client::Services;
use crate::exit::Exit;
use crate::output::Output;

/// Runs one command line, the program's name first, and answers its exit code.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, output: &mut Output) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are what was asked for; everything else is a wrong command line.
            return if error.use_stderr() {
                output.note(&error.render().to_string());
                Exit::Usage
            } else {
                output.text(&error.render().to_string()).map_or(Exit::Failed, |()| Exit::Done)
            };
        }
    };
    output.format = cli.output;
    let services = Services::new(&cli.services);
    let done = match services {
        Ok(services) => match cli.command {
            Command::Dlq(command) => dlq::run(command, &services, output).await,
            Command::Retry(command) => retry::run(command, &services, output).await,
            Command::Saga(command) => saga::run(command, &services, output).await,
            Command::Rebuild(arguments) => rebuild::run(arguments, &services, output).await,
            Command::EraseCustomer(command) => erase::run(command, &services, output).await,
            Command::Doctor(arguments) => doctor::run(&arguments, &cli.services, output).await,
            Command::Completions { shell } => pages::completions(shell, output),
            Command::Man { folder } => pages::man(&folder, output),
        },
        Err(error) => Err(error),
    };
    done.unwrap_or_else(|error| {
        output.note(&format!("ops: {error}"));
        if let Some(next) = error.next() {
            output.note(next);
        }
        error.exit()
    })
}
