//! `ops dlq`: dead letters.

mod edit;
mod list;
mod redrive;
mod run_file;
mod show;
mod skip;

use clap::{Args, Subcommand};

pub(crate) use list::{Of, Reach};

use crate::cli::{FilterArgs, Signature, StateFolder};
use crate::client::{Error, Services};
use crate::exit::Exit;
use crate::output::Output;

/// What can be done about dead letters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists dead letters by what they have in common, with counts and ages.
    List(ListArgs),
    /// Shows one letter: body as JSON, headers, tries, the error, what was decided.
    Show {
        /// The letter: group/number, e.g. inventory/17.
        letter: String,
    },
    /// Sends letters back: one, by filter, or a whole group. Prints a plan; --execute does it, in the order of each key.
    ///
    /// A run that breaks off, however it ends, is taken up by the same command. What dies again meanwhile is left alone, so that
    /// the same run twice acts once.
    Redrive(RedriveArgs),
    /// Sends one letter back with another body, validated against the schema of the original; the original is kept.
    Edit(EditArgs),
    /// Takes letters out unhandled: what waits behind them goes on. Prints a plan; --execute does it.
    Skip(SkipArgs),
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Lists the letters one by one.
    #[arg(long)]
    pub letters: bool,
    /// Letters at most.
    #[arg(long, default_value_t = 100, requires = "letters")]
    pub limit: usize,
}

/// Arguments of `redrive`.
#[derive(Debug, Args)]
pub struct RedriveArgs {
    /// Letters by name; otherwise the filter says which.
    #[arg(conflicts_with_all = ["group", "topic", "record", "class", "code", "fingerprint", "key", "message_id", "correlation", "before"])]
    pub letters: Vec<String>,
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// All of them.
    #[arg(long, conflicts_with = "letters")]
    pub all: bool,
    /// Who, why, and whether.
    #[command(flatten)]
    pub signature: Signature,
    /// Letters a second at most.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Where a broken run is remembered.
    #[command(flatten)]
    pub state: StateFolder,
}

/// Arguments of `edit`.
#[derive(Debug, Args)]
pub struct EditArgs {
    /// The letter: group/number.
    pub letter: String,
    /// The whole new body, JSON, from this file; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "set", required_unless_present = "set")]
    pub body: Option<String>,
    /// One value of the body: a JSON Pointer, =, and JSON, e.g. /lines/0/quantity=2. May be given again.
    #[arg(long, value_name = "POINTER=JSON")]
    pub set: Vec<String>,
    /// Record type of the new body, when the letter's bytes do not tell.
    #[arg(long)]
    pub record: Option<String>,
    /// Who, why, and whether.
    #[command(flatten)]
    pub signature: Signature,
}

/// Arguments of `skip`.
#[derive(Debug, Args)]
pub struct SkipArgs {
    /// The letters: group/number.
    #[arg(required = true)]
    pub letters: Vec<String>,
    /// Who, why, and whether.
    #[command(flatten)]
    pub signature: Signature,
}

/// Runs one of them.
///
/// # Errors
/// As [`Error`] says.
pub async fn run(command: Command, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    match command {
        Command::List(arguments) => list::run(&arguments, services, output).await,
        Command::Show { letter } => show::run(&letter, services, output).await,
        Command::Redrive(arguments) => redrive::run(&arguments, services, output).await,
        Command::Edit(arguments) => edit::run(&arguments, services, output).await,
        Command::Skip(arguments) => skip::run(&arguments, services, output).await,
    }
}

/// Who decides and why; needed to execute, and checked before anything is read.
pub(crate) fn signed(signature: &Signature) -> Result<(String, String), Error> {
    let missing = |what: &str| Error::Usage(format!("--execute needs {what}: decisions are kept for ever with who and why"));
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    match (signature.execute, given(&signature.who), given(&signature.why)) {
        (true, None, _) => Err(missing("--who (or OPS_WHO)")),
        (true, _, None) => Err(missing("--why")),
        (true, Some(who), Some(why)) => Ok((who, why)),
        // A plan is signed too, so that it is validated as the decision will be.
        (false, who, why) => Ok((who.unwrap_or_else(|| "plan".to_owned()), why.unwrap_or_else(|| "plan".to_owned()))),
    }
}
