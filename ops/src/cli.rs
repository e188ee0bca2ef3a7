//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use operation::{Filter, Key};

use crate::output::Format;
use crate::{dlq, doctor, erase, rebuild, retry, saga};

/// Operates the services: dead letters, messages that wait to be tried again, stuck sagas.
///
/// Addresses come from the environment: eval "$(./run status -o env)" sets them. Exit codes: 0 done, 1 failed, 2 usage,
/// 3 partly done, 4 not found, 5 unreachable, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "ops", version, propagate_version = true)]
pub struct Cli {
    /// How data is printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Where the services are.
    #[command(flatten)]
    pub services: ServiceUrls,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the ops ports are, and as whom they are asked.
#[derive(Clone, Args)]
pub struct ServiceUrls {
    /// Ops port of order-service.
    #[arg(long, global = true, env = "ORDERS_OPS_URL", value_name = "URL", hide_env_values = true)]
    pub orders_url: Option<String>,
    /// Ops port of inventory-service.
    #[arg(long, global = true, env = "INVENTORY_OPS_URL", value_name = "URL", hide_env_values = true)]
    pub inventory_url: Option<String>,
    /// Ops port of payment-service.
    #[arg(long, global = true, env = "PAYMENTS_OPS_URL", value_name = "URL", hide_env_values = true)]
    pub payments_url: Option<String>,
    /// Access token with the scopes ops:read and ops:write, where the services want one. Not an argument, which everybody on the machine can
    /// read: `OPS_TOKEN`, or a file.
    #[arg(long, global = true, env = "OPS_TOKEN", hide = true)]
    pub token: Option<String>,
    /// File with an access token, where the services want one; it wins over one in the environment.
    #[arg(long, global = true, env = "OPS_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
}

impl std::fmt::Debug for ServiceUrls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // not the token
        f.debug_struct("ServiceUrls").field("orders", &self.orders_url).field("inventory", &self.inventory_url).finish_non_exhaustive()
    }
}

/// The command groups.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Messages that were given up: look at them, send them back, edit or skip them.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Messages that wait to be tried again.
    #[command(subcommand)]
    Retry(retry::Command),
    /// Sagas: look at them, move stuck ones on.
    #[command(subcommand)]
    Saga(saga::Command),
    /// Rebuilds a service's lost database from the topics; without --execute it prints what it would read.
    Rebuild(rebuild::Args),
    /// Destroys the key of everything that is stored about a customer: name, address and e-mail can never be read again.
    EraseCustomer(erase::Command),
    /// Looks at everything the system stands on; each line that fails names the command that mends it.
    Doctor(Box<doctor::Args>),
    /// Prints what a shell needs to complete this command line, e.g. for a file in its folder of completions.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Writes a manual page for ops and each of its commands into a folder.
    Man {
        /// The folder; made if it is not there.
        folder: PathBuf,
    },
}

/// Which letters.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Only of this consumer group: orders, inventory or payments.
    #[arg(long)]
    pub group: Option<String>,
    /// Only from this topic.
    #[arg(long)]
    pub topic: Option<String>,
    /// Only of this record type, e.g. inventory.CreateInventoryHold.
    #[arg(long)]
    pub record: Option<String>,
    /// Only of this error class: transient, permanent or foreign.
    #[arg(long)]
    pub class: Option<String>,
    /// Only with this error code.
    #[arg(long)]
    pub code: Option<String>,
    /// Only those that failed alike.
    #[arg(long)]
    pub fingerprint: Option<String>,
    /// Only of this key.
    #[arg(long)]
    pub key: Option<String>,
    /// Only with this message id.
    #[arg(long)]
    pub message_id: Option<String>,
    /// Only of this story (order id).
    #[arg(long)]
    pub correlation: Option<String>,
    /// Only what failed last before this instant (RFC 3339).
    #[arg(long)]
    pub before: Option<Timestamp>,
}

impl FilterArgs {
    /// What is asked of each group.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            topic: self.topic.clone(),
            record: self.record.clone(),
            class: self.class.clone(),
            code: self.code.clone(),
            fingerprint: self.fingerprint.clone(),
            key: self.key.clone().map(Key),
            message_id: self.message_id.clone(),
            correlation: self.correlation.clone(),
            before: self.before,
        }
    }

    /// Whether it wants everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.group.is_none() && self.filter() == Filter::default()
    }
}

/// Who decides and why, and whether to do it.
#[derive(Debug, Clone, Args)]
pub struct Signature {
    /// Who decides; kept for ever.
    #[arg(long, env = "OPS_WHO", hide_env_values = true)]
    pub who: Option<String>,
    /// Why; kept for ever.
    #[arg(long)]
    pub why: Option<String>,
    /// Do it. Without it, the plan is printed.
    #[arg(long)]
    pub execute: bool,
}

/// Where a run that was broken off is remembered.
#[derive(Debug, Clone, Args)]
pub struct StateFolder {
    /// Folder of runs that were broken off [default: ops in the user's state folder].
    #[arg(long, env = "OPS_STATE_DIR", value_name = "FOLDER", hide_env_values = true)]
    pub state_dir: Option<PathBuf>,
    #[arg(long, env = "XDG_STATE_HOME", hide = true)]
    xdg_state_home: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
}

impl StateFolder {
    /// The folder; made when it is first written to.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let beside = |base: &PathBuf| base.join("ops");
        let at_home = |home: &PathBuf| home.join(".local/state/ops");
        self.state_dir
            .clone()
            .or_else(|| self.xdg_state_home.as_ref().map(beside))
            .or_else(|| self.home.as_ref().map(at_home))
            .unwrap_or_else(|| PathBuf::from(".ops"))
    }
}
