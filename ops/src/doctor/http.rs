//! What answers over HTTP: ports, the services' own checks, the clock of the gateway, the identity provider.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;

use super::{Args, Check};
use crate::cli::ServiceUrls;
use crate::client::Error;

const UP: &str = "./run status, then ./run; in containers: docker compose ps, docker compose up -d";

pub(super) fn client() -> Result<Client, Error> {
    let made = Client::builder().timeout(Duration::from_secs(5)).no_proxy().build();
    made.map_err(|error| Error::Here(anyhow::Error::new(error).context("set up the HTTP client")))
}

/// As `/readyz` says it.
#[derive(Debug, Deserialize)]
struct Ready {
    #[serde(default)]
    checks: Vec<One>,
    /// The gateway's.
    #[serde(default)]
    upstreams: Vec<One>,
}

#[derive(Debug, Deserialize)]
struct One {
    #[serde(alias = "name")]
    check: String,
    #[serde(alias = "reachable")]
    ok: bool,
    #[serde(default)]
    detail: String,
}

pub(super) async fn look(client: &Client, args: &Args, services: &ServiceUrls) -> Vec<Check> {
    let mut checks = vec![gateway(client, args).await];
    let ports = [
        ("port gateway", "GATEWAY_OPS_URL", &args.gateway_ops_url),
        ("port orders", "ORDERS_OPS_URL", &services.orders_url),
        ("port inventory", "INVENTORY_OPS_URL", &services.inventory_url),
        ("port payments", "PAYMENTS_OPS_URL", &services.payments_url),
    ];
    for (check, variable, url) in ports {
        checks.push(match url {
            Some(url) => ready(client, check, url).await,
            None => Check::unknown(check, variable),
        });
    }
    checks.push(match &args.issuer {
        Some(issuer) => identity(client, issuer).await,
        None => Check::unknown("identity", "OIDC_ISSUER"),
    });
    checks
}

async fn gateway(client: &Client, args: &Args) -> Check {
    let Some(url) = &args.gateway_url else { return Check::unknown("door, clock", "GATEWAY_URL") };
    let answer = match client.get(format!("{url}/v1/products?limit=1")).send().await {
        Ok(answer) => answer,
        Err(error) => return Check::away("door, clock", format!("{url}: {}", why(&error)), UP),
    };
    let status = answer.status();
    if !status.is_success() {
        return Check::bad(
            "door, clock",
            format!("{url}/v1/products answers {status}"),
            "ops doctor shows below which service is not ready; docs/runbook/door.md",
        );
    }
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let Some(theirs) = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok()) else {
        return Check::bad(
            "door, clock",
            format!("{url} is no gateway of ours: it says no Date"),
            "ss -ltnp | grep the port, and end what has taken it; ./run --port-base N",
        );
    };
    let apart_ms = Timestamp::now().duration_since(theirs).unsigned_abs().as_millis();
    // The header counts whole seconds.
    if apart_ms > u128::from(args.clock_ms).saturating_add(1_000) {
        return Check::bad(
            "door, clock",
            format!("the gateway's clock is {apart_ms} ms from this machine's"),
            "timedatectl set-ntp true, on both machines",
        );
    }
    Check::good("door, clock", format!("{url} answers, its clock agrees"))
}

async fn ready(client: &Client, check: &str, url: &str) -> Check {
    let answer = match client.get(format!("{url}/readyz")).send().await {
        Ok(answer) => answer,
        Err(error) => return Check::away(check, format!("{url}: {}", why(&error)), UP),
    };
    let status = answer.status();
    let Ok(ready) = answer.json::<Ready>().await else {
        return Check::bad(
            check,
            format!("{url} answers {status}, and nothing a service of ours says"),
            "ss -ltnp | grep the port, and end what has taken it; ./run --port-base N",
        );
    };
    let all = || ready.checks.iter().chain(&ready.upstreams);
    let failing: Vec<String> = all().filter(|one| !one.ok).map(|one| format!("{} {}", one.check, one.detail).trim().to_owned()).collect();
    if status.is_success() && failing.is_empty() {
        Check::good(check, format!("{url} is ready: {}", all().map(|one| one.check.as_str()).collect::<Vec<_>>().join(", ")))
    } else {
        let mend = "curl -s URL/readyz, its log (./run status names it), docs/runbook/consumers.md";
        Check::bad(check, format!("{url} is not ready: {}", failing.join("; ")), mend)
    }
}

async fn identity(client: &Client, issuer: &str) -> Check {
    const MEND: &str =
        "set OIDC_ISSUER to the provider's issuer, start the provider (./run --identity mock), restart the gateway and the services";
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let found = async { client.get(&url).send().await?.error_for_status()?.json::<Value>().await };
    let configuration = match found.await {
        Ok(configuration) => configuration,
        Err(error) => return Check::away("identity", format!("{url}: {}", why(&error)), MEND),
    };
    let said = configuration.get("issuer").and_then(Value::as_str).unwrap_or_default();
    if said.trim_end_matches('/') != issuer.trim_end_matches('/') {
        return Check::bad("identity", format!("{issuer} calls itself {said}: no token of it is believed"), MEND);
    }
    let keys_url = configuration.get("jwks_uri").and_then(Value::as_str).unwrap_or_default();
    let keys = async { client.get(keys_url).send().await?.error_for_status()?.json::<Value>().await };
    match keys.await {
        Ok(keys) => match keys.get("keys").and_then(Value::as_array).map(Vec::len) {
            Some(count) if count > 0 => Check::good("identity", format!("{issuer} has {count} keys")),
            _ => Check::bad("identity", format!("{keys_url} has no key"), MEND),
        },
        Err(error) => Check::away("identity", format!("{keys_url}: {}", why(&error)), MEND),
    }
}

pub(super) fn why(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}
