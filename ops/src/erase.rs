//! `ops erase-customer`: the right to be forgotten.

use clap::Args;
use operation::{Act, Erased};

use crate::cli::Signature;
use crate::client::{Error, Services};
use crate::dlq::signed;
use crate::exit::Exit;
use crate::output::Output;

/// `ops erase-customer <id>`.
#[derive(Debug, Args)]
pub struct Command {
    /// The customer.
    #[arg(value_name = "CUSTOMER")]
    pub id: String,
    /// Who and why.
    #[command(flatten)]
    pub signature: Signature,
}

/// Runs it.
///
/// # Errors
/// [`Error`].
pub async fn run(command: Command, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let (who, why) = signed(&command.signature)?;
    // An id has no characters that a path would have to escape; the service refuses what is none.
    if !command.id.chars().all(|c| c.is_ascii_alphanumeric() || "._@-".contains(c)) {
        return Err(Error::Usage(format!("{} is no customer id", command.id)));
    }
    let act = Act { who, why, execute: command.signature.execute };
    let erased: Erased = services.get("orders")?.post(&format!("/ops/subjects/{}/erase", command.id), &act).await?;
    output.one(&erased, told)?;
    if !erased.executed {
        output.note("this is the plan, nothing was done; --execute --who … --why … does it; there is no way back");
    }
    Ok(Exit::Done)
}

fn told(erased: &Erased) -> String {
    let Erased { executed, subject, keys } = erased;
    match (keys, executed) {
        (0, _) => format!("customer {subject}: no key is left to destroy\n"),
        (keys, true) => format!("customer {subject}: {keys} key destroyed; what was stored with it cannot be read any more\n"),
        (keys, false) => format!("customer {subject}: {keys} key would be destroyed\n"),
    }
}
