//! `ops doctor`: everything the system stands on, looked at from where the operator sits. It changes nothing. Each check that
//! fails says what was found and the command that mends it.

mod database;
mod http;
mod kafka;
mod machine;
mod registry;

use std::fmt;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;

use crate::cli::ServiceUrls;
use crate::client::Error;
use crate::exit::Exit;
use crate::output::{Output, Table};

/// Where to look and what is enough.
#[derive(Clone, ClapArgs)]
pub struct Args {
    /// The gateway's public address.
    #[arg(long, env = "GATEWAY_URL", value_name = "URL", hide_env_values = true)]
    pub gateway_url: Option<String>,
    /// Ops port of the gateway.
    #[arg(long, env = "GATEWAY_OPS_URL", value_name = "URL", hide_env_values = true)]
    pub gateway_ops_url: Option<String>,
    /// Kafka's bootstrap servers.
    #[arg(long, env = "KAFKA_BOOTSTRAP", value_name = "HOST:PORT", hide_env_values = true)]
    pub kafka: Option<String>,
    /// Who logs in to Kafka, where it lets in principals only.
    #[arg(long, env = "KAFKA_USER", value_name = "NAME", requires = "kafka_password", hide_env_values = true)]
    pub kafka_user: Option<String>,
    /// Its password.
    #[arg(long, env = "KAFKA_PASSWORD", hide_env_values = true)]
    pub kafka_password: Option<String>,
    /// The schema registry's Confluent-compatible interface.
    #[arg(long, env = "SCHEMA_REGISTRY_URL", value_name = "URL", hide_env_values = true)]
    pub registry: Option<String>,
    /// Database of order-service, for a role that may read everything.
    #[arg(long, env = "ORDERS_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub orders_db: Option<String>,
    /// Database of inventory-service.
    #[arg(long, env = "INVENTORY_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub inventory_db: Option<String>,
    /// Database of payment-service.
    #[arg(long, env = "PAYMENTS_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub payments_db: Option<String>,
    /// The identity provider; left out where the header is trusted.
    #[arg(long, env = "OIDC_ISSUER", value_name = "URL", hide_env_values = true)]
    pub issuer: Option<String>,
    /// Folder whose disk must have room.
    #[arg(long, env = "STACK_FOLDER", value_name = "FOLDER", default_value = ".", hide_env_values = true)]
    pub folder: PathBuf,
    /// Least room on that disk, in megabytes.
    #[arg(long, default_value_t = 2_000)]
    pub disk_mb: u64,
    /// Least memory that is available, in megabytes.
    #[arg(long, default_value_t = 200)]
    pub memory_mb: u64,
    /// How far clocks of this machine, the gateway and the databases may be apart, in milliseconds.
    #[arg(long, default_value_t = 5_000)]
    pub clock_ms: u64,
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses of databases and Kafka's password are secrets.
        f.debug_struct("Args").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// How one look ended.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at, e.g. `kafka topics`.
    pub check: String,
    /// Whether it is as it must be; none: it was not looked at, since its address is not known.
    pub ok: Option<bool>,
    /// What was found.
    pub found: String,
    /// The command that mends it.
    pub mend: Option<String>,
    /// The other side did not answer at all.
    #[serde(skip)]
    pub unreachable: bool,
}

impl Check {
    fn good(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), ok: Some(true), found: found.into(), mend: None, unreachable: false }
    }

    fn bad(check: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check: check.into(), ok: Some(false), found: found.into(), mend: Some(mend.into()), unreachable: false }
    }

    fn away(check: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { unreachable: true, ..Self::bad(check, found, mend) }
    }

    fn unknown(check: impl Into<String>, variable: &str) -> Self {
        Self { check: check.into(), ok: None, found: format!("{variable} is not set"), mend: None, unreachable: false }
    }
}

/// One service's database by name.
struct Database<'a> {
    name: &'static str,
    variable: &'static str,
    url: Option<&'a str>,
}

/// Looks at everything whose address is known. Exit code 1 when something fails, 5 when something does not even answer.
///
/// # Errors
/// Standard output is closed, or nothing is known at all.
pub async fn run(args: &Args, services: &ServiceUrls, output: &mut Output) -> Result<Exit, Error> {
    let databases = [
        Database { name: "orders", variable: "ORDERS_DATABASE_URL", url: args.orders_db.as_deref() },
        Database { name: "inventory", variable: "INVENTORY_DATABASE_URL", url: args.inventory_db.as_deref() },
        Database { name: "payments", variable: "PAYMENTS_DATABASE_URL", url: args.payments_db.as_deref() },
    ];
    let web = http::client()?;
    let mut checks = machine::look(args);
    checks.extend(http::look(&web, args, services).await);
    let mut known = Vec::new();
    for database in &databases {
        let (found, facts) = database::look(database, args.clock_ms).await;
        checks.extend(found);
        known.push(facts);
    }
    checks.extend(kafka::look(args, &known).await);
    checks.extend(registry::look(&web, args.registry.as_deref(), &known).await);
    output.list(&checks, |checks| {
        let mut table = Table::new(&["", "CHECK", "FOUND"], "nothing to look at");
        for check in checks {
            let word = check.ok.map_or("-", |ok| if ok { "ok" } else { "FAIL" });
            table.row([word.to_owned(), check.check.clone(), check.found.clone()]);
            if let Some(mend) = &check.mend {
                table.row([String::new(), String::new(), format!("mend: {mend}")]);
            }
        }
        table
    })?;
    Ok(if checks.iter().all(|check| check.ok != Some(false)) {
        Exit::Done
    } else if checks.iter().any(|check| check.unreachable) {
        Exit::Unreachable
    } else {
        Exit::Failed
    })
}
