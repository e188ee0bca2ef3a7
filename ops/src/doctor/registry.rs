//! The schema registry: whether it answers and still knows every schema the databases have used, under the same id.

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::Check;
use super::database::Facts;
use super::http::why;

const MEND: &str = "./run status names the registry's log and address; ./run starts it, in containers docker compose up -d registry";

pub(super) async fn look(client: &Client, base: Option<&str>, known: &[Facts]) -> Vec<Check> {
    let Some(base) = base else { return vec![Check::unknown("registry", "SCHEMA_REGISTRY_URL")] };
    let base = base.trim_end_matches('/');
    let subjects = async { client.get(format!("{base}/subjects")).send().await?.error_for_status()?.json::<Vec<String>>().await };
    let subjects = match subjects.await {
        Ok(subjects) => subjects,
        Err(error) => return vec![Check::away("registry", format!("{base}: {}", why(&error)), MEND)],
    };
    let mut checks = vec![Check::good("registry", format!("{base} answers, {} subjects", subjects.len()))];
    checks.push(ids(client, base, known).await);
    checks.push(compatible(client, base, known).await);
    checks
}

async fn ids(client: &Client, base: &str, known: &[Facts]) -> Check {
    const RESTORE: &str = "restore the registry's data, or point SCHEMA_REGISTRY_URL at the registry the databases were filled with: docs/errors/schema_unknown.md";
    let mut count = 0_usize;
    for facts in known {
        for (id, subject, text) in &facts.schemas {
            let answer = match client.get(format!("{base}/schemas/ids/{id}")).send().await {
                Ok(answer) => answer,
                Err(error) => return Check::away("registry ids", why(&error), MEND),
            };
            let found = answer.json::<Value>().await.ok().and_then(|body| body.get("schema")?.as_str().map(str::to_owned));
            let same = |a: &str, b: &str| serde_json::from_str::<Value>(a).ok() == serde_json::from_str::<Value>(b).ok();
            match found {
                Some(found) if same(&found, text) => count = count.saturating_add(1),
                Some(_) => {
                    return Check::bad(
                        "registry ids",
                        format!("id {id} is another schema than {} has read as {subject}", facts.service),
                        RESTORE,
                    );
                }
                None => return Check::bad("registry ids", format!("id {id} ({subject}, used by {}) is not known", facts.service), RESTORE),
            }
        }
    }
    Check::good("registry ids", format!("{count} ids are what the databases know"))
}

async fn compatible(client: &Client, base: &str, known: &[Facts]) -> Check {
    for facts in known {
        for (_, subject, text) in &facts.schemas {
            let url = format!("{base}/compatibility/subjects/{subject}/versions/latest");
            let body = json!({"schema": text});
            let answer = match client.post(url).json(&body).send().await {
                Ok(answer) => answer,
                Err(error) => return Check::away("registry compatibility", why(&error), MEND),
            };
            if answer.status() == StatusCode::NOT_FOUND {
                return Check::bad(
                    "registry compatibility",
                    format!("subject {subject} of {} is gone", facts.service),
                    "restart the service: it registers its schemas",
                );
            }
            let verdict = answer.json::<Value>().await.ok().and_then(|body| body.get("is_compatible")?.as_bool());
            if verdict == Some(false) {
                return Check::bad(
                    "registry compatibility",
                    format!("{subject} as {} writes it does not fit the latest version", facts.service),
                    "cargo xtask schemas says which field; another version of the service was deployed: deploy one that fits",
                );
            }
        }
    }
    Check::good("registry compatibility", "what is written can be read with the latest versions")
}
