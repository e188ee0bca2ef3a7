use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use stack::State;

use super::say;

/// How `status` prints.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// `NAME=value` lines, fit for `eval`.
    Env,
    /// The same as one JSON object.
    Json,
}

const NOTHING_UP: u8 = 3;

pub(super) fn status(folder: &Path, format: Format) -> anyhow::Result<ExitCode> {
    let Some(state) = State::load(folder)? else {
        if matches!(format, Format::Table) {
            say("nothing is up (start it with ./run)")?;
        }
        return Ok(ExitCode::from(NOTHING_UP));
    };
    match format {
        Format::Table => {
            say(if state.ready {
                format!("up (process {})", state.holder.pid)
            } else {
                format!("starting (process {})", state.holder.pid)
            })?;
            for part in &state.parts {
                let word = if part.process.runs() { "runs" } else { "has ended" };
                say(format!("  {:<12} {word:<10} process {:<8} {}", part.name, part.process.pid, part.log.display()))?;
            }
            print_table(&state.env, folder)?;
        }
        Format::Env => {
            for (name, value) in &state.env {
                say(format!("{name}={value}"))?;
            }
        }
        Format::Json => say(serde_json::to_string_pretty(&state.env)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The addresses and credentials, in the order in which one needs them.
pub(super) fn print_table(env: &BTreeMap<String, String>, folder: &Path) -> anyhow::Result<()> {
    let rows = [
        ("storefront", "STOREFRONT_URL", "sign in as ada, a customer, or otto, who is the operator as well"),
        ("edge, with TLS", "EDGE_TLS_URL", "a certificate nobody has signed"),
        ("API gateway", "GATEWAY_URL", "its interface, to read and to try: /docs"),
        ("identity provider", "OIDC_ISSUER", ""),
        ("tokens", "TOKEN_URL", ""),
        ("Kafka", "KAFKA_BOOTSTRAP", ""),
        ("schema registry", "SCHEMA_REGISTRY_URL", ""),
        ("orders database", "ORDERS_DATABASE_URL", "read only"),
        ("inventory database", "INVENTORY_DATABASE_URL", "read only"),
        ("payments database", "PAYMENTS_DATABASE_URL", "read only"),
        ("provider database", "PROVIDER_DATABASE_URL", "read only"),
        ("order-service health", "ORDERS_OPS_URL", "/livez /readyz /metrics"),
        ("inventory-service health", "INVENTORY_OPS_URL", ""),
        ("payment-service health", "PAYMENTS_OPS_URL", ""),
        ("gateway health", "GATEWAY_OPS_URL", ""),
    ];
    say("")?;
    for (title, name, remark) in rows {
        if let Some(value) = env.get(name) {
            say(format!("  {title:<25} {value}  {remark}").trim_end())?;
        }
    }
    if let Some(how) = env.get("TOKEN_URL").map(|url| stack::how_to_get_a_token(url)) {
        say(format!("  a token:  {how}"))?;
    }
    say(format!("  {:<25} {} (of this folder only, random)", "other passwords", folder.join("secrets.json").display()))
}
