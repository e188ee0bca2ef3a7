//! The ops ports, asked over HTTP.

use std::time::Duration;

use operation::{Filter, Problem};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::ServiceUrls;
use crate::exit::Exit;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A wrong command line.
    #[error("{0}")]
    Usage(String),
    /// No address of a service.
    #[error("the address of {0} is not known")]
    NoAddress(String),
    /// A service does not answer.
    #[error("{service} at {url} does not answer: {reason}")]
    Unreachable {
        /// Which.
        service: String,
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// A service refuses.
    #[error("{service}: {} ({}){}{}", problem.title, problem.code, problem.detail.iter().map(|detail| format!(": {detail}")).collect::<String>(), faults(problem))]
    Refused {
        /// Which.
        service: String,
        /// What it says.
        problem: Box<Problem>,
    },
    /// Something on this side.
    #[error("{0:#}")]
    Here(#[from] anyhow::Error),
}

fn faults(problem: &Problem) -> String {
    problem
        .errors
        .iter()
        .map(|fault| format!("\n  {}: {}", if fault.pointer.is_empty() { "/" } else { &fault.pointer }, fault.detail))
        .collect()
}

impl Error {
    /// The exit code of a command that ends with it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::NoAddress(_) => Exit::Usage,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Refused { problem, .. } => match problem.status {
                404 => Exit::NotFound,
                503 => Exit::Unreachable,
                _ => Exit::Failed,
            },
            Self::Here(_) => Exit::Failed,
        }
    }

    /// What to try next.
    #[must_use]
    pub fn next(&self) -> Option<&'static str> {
        match self {
            Self::NoAddress(_) => Some("next: eval \"$(./run status -o env | sed 's/^/export /')\""),
            Self::Unreachable { .. } => Some("next: ./run status"),
            Self::Refused { problem, .. } => match problem.code.as_str() {
                "letter_not_found" => Some("next: ops dlq list --letters"),
                "saga_not_found" | "saga_not_stuck" => Some("next: ops saga list"),
                "unauthenticated" => Some("next: set OPS_TOKEN_FILE or OPS_TOKEN to an access token with the scope ops:read or ops:write"),
                "invalid_token" => Some("next: get another token; this one has ended or is not for these services"),
                "insufficient_scope" => Some("next: get a token with the scope ops:read to look, ops:write to act"),
                "edit_invalid" => Some("next: ops dlq show, and start from the body it prints"),
                _ => None,
            },
            Self::Usage(_) | Self::Here(_) => None,
        }
    }
}

/// One service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name, which is also its consumer group's.
    pub name: &'static str,
    url: String,
    http: reqwest::Client,
}

/// The services whose addresses are known.
#[derive(Debug, Clone)]
pub struct Services {
    all: Vec<Service>,
}

impl Services {
    /// A client of each.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new(urls: &ServiceUrls) -> Result<Self, Error> {
        let headers = token(urls)?.map(|token| bearer(&token)).transpose()?.into_iter().map(|value| (AUTHORIZATION, value)).collect();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .default_headers(headers)
            .build()
            .map_err(|error| Error::Here(anyhow::Error::new(error).context("set up the HTTP client")))?;
        let named = [("orders", &urls.orders_url), ("inventory", &urls.inventory_url), ("payments", &urls.payments_url)];
        let known = named.into_iter().filter_map(|(name, url)| Some((name, url.as_ref()?)));
        let all = known.map(|(name, url)| Service { name, url: url.trim_end_matches('/').to_owned(), http: http.clone() }).collect();
        Ok(Self { all })
    }

    /// The service called `name`.
    ///
    /// # Errors
    /// It does not exist, or its address is not known.
    pub fn get(&self, name: &str) -> Result<&Service, Error> {
        let known = ["orders", "inventory", "payments"];
        match self.all.iter().find(|service| service.name == name) {
            Some(service) => Ok(service),
            None if known.contains(&name) => Err(Error::NoAddress(name.to_owned())),
            None => Err(Error::Usage(format!("no consumer group is called {name}; there are {}", known.join(", ")))),
        }
    }

    /// The services a command is about: the one called `group`, or all.
    ///
    /// # Errors
    /// As [`Services::get`]; none is known.
    pub fn of(&self, group: Option<&str>) -> Result<Vec<&Service>, Error> {
        match group {
            Some(group) => Ok(vec![self.get(group)?]),
            None if self.all.is_empty() => Err(Error::NoAddress("any service".to_owned())),
            None => Ok(self.all.iter().collect()),
        }
    }

    /// The service that runs the sagas.
    ///
    /// # Errors
    /// As [`Services::get`].
    pub fn sagas(&self) -> Result<&Service, Error> {
        self.get("orders")
    }

    /// The service of a letter named `group/number`, and the number.
    ///
    /// # Errors
    /// The text is no such name; else as [`Services::get`].
    pub fn letter(&self, name: &str) -> Result<(&Service, i64), Error> {
        let parts = name.split_once('/').and_then(|(group, number)| Some((group, number.parse::<i64>().ok()?)));
        let (group, number) =
            parts.ok_or_else(|| Error::Usage(format!("{name} is no letter; they are called group/number, e.g. inventory/17")))?;
        Ok((self.get(group)?, number))
    }
}

/// The token to show, from its file or the environment.
fn token(urls: &ServiceUrls) -> Result<Option<String>, Error> {
    let text = match &urls.token_file {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            Some(read.map_err(|error| Error::Usage(format!("read the token in {}: {error}", path.display())))?)
        }
        None => urls.token.clone(),
    };
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_not_a_header| Error::Usage("the token has characters that no token has".to_owned()))?;
    value.set_sensitive(true); // it is not printed
    Ok(value)
}

impl Service {
    /// Reads `path` with `query`.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::Refused`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Error> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), query)
            .map_err(|error| Error::Usage(format!("address {}: {error}", self.url)))?;
        self.answer(self.http.request(Method::GET, url)).await
    }

    /// Sends `body` to `path`.
    ///
    /// # Errors
    /// As [`Service::get`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        self.answer(self.http.post(format!("{}{path}", self.url)).json(body)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, Error> {
        let unreachable = |reason: String| Error::Unreachable { service: self.name.to_owned(), url: self.url.clone(), reason };
        let response = request.send().await.map_err(|error| unreachable(chain(&error)))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| unreachable(chain(&error)))?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&bytes).map_err(|error| {
                Error::Here(anyhow::anyhow!("{} answers what this version of ops does not understand: {error}", self.name))
            });
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(Error::Refused { service: self.name.to_owned(), problem: Box::new(problem) }),
            Err(_not_a_problem) => Err(unreachable(format!("status {status}, and no problem document"))),
        }
    }
}

/// An error with its causes: reqwest's own text leaves them out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A filter as a query.
#[must_use]
pub fn query(filter: &Filter) -> Vec<(&'static str, String)> {
    let all = [
        ("topic", filter.topic.clone()),
        ("record", filter.record.clone()),
        ("class", filter.class.clone()),
        ("code", filter.code.clone()),
        ("fingerprint", filter.fingerprint.clone()),
        ("key", filter.key.as_ref().map(ToString::to_string)),
        ("message_id", filter.message_id.clone()),
        ("correlation", filter.correlation.clone()),
        ("before", filter.before.map(|at| at.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
