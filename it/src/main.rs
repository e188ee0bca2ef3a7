//! `it check` judges a system at rest from outside and says which promises it broke; `it faults` attacks one of its own.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use it::checker::{self, collect};
use it::faults;

/// Exit codes of `check` besides 0 (clean) and 2 (usage).
const VIOLATED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 5;

/// Whole-system proofs.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Proves I1 to I10 of a running system at rest. Exit: 0 clean, 1 violated, 2 usage, 5 not reachable.
    ///
    /// The addresses default to the names that `./run status -o env` prints.
    Check(Check),
    /// Harms a system of its own and judges what is left: a fault by name, several with commas, or all. Exit: 0 clean, 1 broken, 2 usage.
    Faults(Faults),
    /// A relay that a fault run can kill; it ends with its standard input.
    #[command(hide = true)]
    Relay(Relay),
    /// A consumer that a fault run can kill; it ends with its standard input.
    #[command(hide = true)]
    Letters(Letters),
}

#[derive(Debug, Args)]
struct Letters {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    registry: String,
    #[arg(long)]
    database: String,
    #[arg(long)]
    number: u32,
    #[arg(long)]
    release: bool,
}

#[derive(Debug, Args)]
struct Relay {
    #[arg(long)]
    service: String,
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    database: String,
    #[arg(long)]
    status: PathBuf,
}

#[derive(Debug, Args)]
struct Faults {
    /// F1, F2, … or all.
    #[arg(default_value = "all")]
    name: String,
    /// Where chance starts; the same seed does the same harm.
    #[arg(long, default_value_t = 4_711)]
    seed: u64,
    /// Orders placed under each fault, instead of its own number.
    #[arg(long)]
    orders: Option<usize>,
    /// Full sizes instead of those of CI.
    #[arg(long)]
    long: bool,
    /// A defence of the runtime to switch off; the run must turn out broken (it/SABOTAGE.md).
    #[arg(long, value_name = "DEFENCE")]
    sabotage: Option<String>,
    /// A folder with products.csv.gz and baskets*.csv.gz, instead of the slice beside the bench.
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Check {
    /// What clients asked and were told, one JSON object a line; without it I1 and parts of I2 and I9 are not judged.
    #[arg(long)]
    http_log: Option<PathBuf>,
    /// The broker, host:port.
    #[arg(long, env = "KAFKA_BOOTSTRAP")]
    kafka: String,
    /// Name to log in to the broker with, where it knows principals.
    #[arg(long, env = "KAFKA_USER", requires = "kafka_password")]
    kafka_user: Option<String>,
    /// Its password.
    #[arg(long, env = "KAFKA_PASSWORD", hide_env_values = true)]
    kafka_password: Option<String>,
    /// The schema registry's ccompat base.
    #[arg(long, env = "SCHEMA_REGISTRY_URL")]
    registry: String,
    /// The orders database, for a role that may read.
    #[arg(long, env = "ORDERS_DATABASE_URL", hide_env_values = true)]
    orders_db: String,
    /// The inventory database.
    #[arg(long, env = "INVENTORY_DATABASE_URL", hide_env_values = true)]
    inventory_db: String,
    /// The payments database.
    #[arg(long, env = "PAYMENTS_DATABASE_URL", hide_env_values = true)]
    payments_db: String,
    /// The payment provider's database.
    #[arg(long, env = "PROVIDER_DATABASE_URL", hide_env_values = true)]
    provider_db: String,
    /// Aborted records with this key are a test's own, made to hold a topic back, and are not judged.
    #[arg(long, value_name = "KEY")]
    forget_aborted: Option<String>,
    /// How many violations of an invariant are shown.
    #[arg(long, default_value_t = 10)]
    shown: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(check) => judge(check).await,
        Command::Faults(attack) => harm(attack).await,
        Command::Letters(Letters { bootstrap, registry, database, number, release }) => {
            let role = faults::letters::Role { bootstrap, registry, database, number, release };
            match faults::letters::serve(role).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => told(&format!("{error:#}"), UNREACHABLE),
            }
        }
        Command::Relay(Relay { service, bootstrap, database, status }) => {
            let role = faults::outbox::Role { service, bootstrap, database, status };
            match faults::outbox::serve(role).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => told(&format!("{error:#}"), UNREACHABLE),
            }
        }
    }
}

async fn harm(attack: Faults) -> ExitCode {
    let chosen = match faults::named(&attack.name) {
        Ok(chosen) => chosen,
        Err(error) => return told(&format!("{error:#}"), USAGE),
    };
    let options =
        faults::Options { seed: attack.seed, orders: attack.orders, long: attack.long, sabotage: attack.sabotage, data: attack.data };
    let mut say = |line: &str| writeln!(std::io::stdout().lock(), "{line}");
    match faults::run(&chosen, options, &mut say).await {
        Ok(outcomes) if outcomes.iter().all(|(_, outcome)| outcome.passed()) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(VIOLATED),
        Err(error) => told(&format!("{error:#}"), UNREACHABLE),
    }
}

async fn judge(check: Check) -> ExitCode {
    let sources = collect::Sources {
        http_log: check.http_log,
        kafka: check.kafka,
        kafka_login: check.kafka_user.zip(check.kafka_password),
        registry: check.registry,
        orders_db: check.orders_db,
        inventory_db: check.inventory_db,
        payments_db: check.payments_db,
        provider_db: check.provider_db,
    };
    let mut world = match collect::collect(&sources).await {
        Ok(world) => world,
        Err(error) => return failed(&error),
    };
    if let Some(key) = &check.forget_aborted {
        world.forget_aborted(key);
    }
    let report = checker::check(&world);
    if let Err(error) = report.write(&mut std::io::stdout().lock(), check.shown) {
        return failed(&collect::Error::Output(error));
    }
    if report.clean() { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) }
}

/// Says why there is no verdict, with the whole chain of causes.
fn failed(error: &collect::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let code = if matches!(error, collect::Error::HttpLog(_)) { USAGE } else { UNREACHABLE };
    told(&text, code)
}

fn told(text: &str, code: u8) -> ExitCode {
    // nobody is left to tell when standard error is gone
    writeln!(std::io::stderr(), "{text}").map_or(ExitCode::from(code), |()| ExitCode::from(code))
}
