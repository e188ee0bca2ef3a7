//! The only place that reads the environment.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use hyper::Uri;
use serde::{Deserialize, Deserializer, de};

/// The file that documents every setting; also the defaults.
const DEFAULTS: &str = include_str!("../config.default.toml");

/// Every setting; `config.default.toml` says what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is documented in config.default.toml")]
pub struct Config {
    pub http_addr: SocketAddr,
    pub ops_addr: SocketAddr,
    pub orders_url: BaseUrl,
    pub inventory_url: BaseUrl,
    pub orders_ops_url: OptionalUrl,
    pub inventory_ops_url: OptionalUrl,
    pub payments_ops_url: OptionalUrl,
    pub instance_id: String,
    pub log_format: LogFormat,
    pub rust_log: String,
    pub otel_exporter_otlp_endpoint: String,
    pub otel_traces_sampler: String,
    pub otel_traces_sampler_arg: f64,
    pub workers: usize,
    pub connections_max: usize,
    pub in_flight_max: usize,
    #[serde(rename = "header_timeout_ms", deserialize_with = "milliseconds")]
    pub header_timeout: Duration,
    #[serde(rename = "body_timeout_ms", deserialize_with = "milliseconds")]
    pub body_timeout: Duration,
    #[serde(rename = "keep_alive_ms", deserialize_with = "milliseconds")]
    pub keep_alive: Duration,
    #[serde(rename = "drain_ms", deserialize_with = "milliseconds")]
    pub drain: Duration,
    #[serde(rename = "upstream_connect_timeout_ms", deserialize_with = "milliseconds")]
    pub upstream_connect_timeout: Duration,
    pub upstream_connect_retries: u32,
    #[serde(rename = "upstream_timeout_ms", deserialize_with = "milliseconds")]
    pub upstream_timeout: Duration,
    #[serde(rename = "upstream_idle_ms", deserialize_with = "milliseconds")]
    pub upstream_idle: Duration,
    #[serde(rename = "prices_wait_ms", deserialize_with = "milliseconds")]
    pub prices_wait: Duration,
    pub oidc_issuer: String,
    pub oidc_audience: String,
    pub trust_customer_header: bool,
    pub subject_rate: u32,
    pub subject_burst: u32,
    pub address_rate: u32,
    pub address_burst: u32,
    pub trusted_proxies: List<IpAddr>,
    pub cors_origins: List<String>,
    pub web_folder: PathBuf,
    pub web_client_id: String,
    pub streams_max: usize,
    #[serde(rename = "heartbeat_ms", deserialize_with = "milliseconds")]
    pub heartbeat: Duration,
}

/// Values written one after the other with commas between.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct List<T: FromStr>(pub Vec<T>);

/// One of the values is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a value of the list does not read: {0}")]
pub struct ListError(String);

impl<T: FromStr> TryFrom<String> for List<T> {
    type Error = ListError;

    fn try_from(text: String) -> Result<Self, ListError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| part.parse().ok().ok_or_else(|| ListError(part.to_owned()))).collect::<Result<_, _>>().map(Self)
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people.
    Text,
}

/// Scheme, host and port of an upstream: `http://host:port`, without a path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BaseUrl(hyper::http::uri::Authority);

/// An upstream that may be left out: an empty text is none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct OptionalUrl(pub Option<BaseUrl>);

impl TryFrom<String> for OptionalUrl {
    type Error = BaseUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Ok(Self(None)) } else { BaseUrl::try_from(text).map(Some).map(Self) }
    }
}

/// The text is not a base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("upstream url is not http://host:port")]
pub struct BaseUrlError;

impl BaseUrl {
    /// Host and port.
    #[must_use]
    pub const fn authority(&self) -> &hyper::http::uri::Authority {
        &self.0
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = BaseUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let uri: Uri = text.parse().ok().ok_or(BaseUrlError)?;
        let parts = uri.into_parts();
        let has_no_path = parts.path_and_query.is_none_or(|path| path == "/");
        match parts.authority {
            Some(authority) if has_no_path && authority.port().is_some() && parts.scheme == Some(hyper::http::uri::Scheme::HTTP) => {
                Ok(Self(authority))
            }
            Some(_) | None => Err(BaseUrlError),
        }
    }
}

/// A setting is missing, unknown, of the wrong type or out of its range; the text names it and where it came from.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings do not decode.
    #[error("read configuration")]
    Read(#[source] Box<figment::Error>),
    /// They decode, and cannot work.
    #[error("configuration: {0}")]
    Rule(&'static str),
}

impl Config {
    /// The defaults, overridden by the environment variables that are named after a setting.
    ///
    /// # Errors
    /// [`Error`], naming the setting.
    pub fn load() -> Result<Self, Error> {
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let names: Vec<String> = defaults.extract::<figment::value::Dict>().map_err(read)?.into_keys().collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        defaults.merge(Env::raw().only(&names)).extract::<Self>().map_err(read)?.checked()
    }

    /// The defaults alone, for tests.
    ///
    /// # Errors
    /// [`Error`], if the file and the type disagree.
    pub fn defaults() -> Result<Self, Error> {
        Figment::from(Toml::string(DEFAULTS)).extract::<Self>().map_err(read)?.checked()
    }

    fn checked(self) -> Result<Self, Error> {
        let rules = [
            (self.workers > 0, "workers is 0"),
            (self.connections_max > 0, "connections_max is 0"),
            (self.in_flight_max > 0, "in_flight_max is 0"),
            (self.subject_rate == 0 || self.subject_burst > 0, "subject_burst is 0"),
            (self.address_rate == 0 || self.address_burst > 0, "address_burst is 0"),
            (!self.heartbeat.is_zero(), "heartbeat_ms is 0"),
            (self.upstream_connect_retries <= 10, "upstream_connect_retries is over 10"),
            (!self.upstream_timeout.is_zero(), "upstream_timeout_ms is 0"),
            (!self.upstream_connect_timeout.is_zero(), "upstream_connect_timeout_ms is 0"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(Error::Rule(broken)),
            None => Ok(self),
        }
    }
}

fn read(error: figment::Error) -> Error {
    Error::Read(Box::new(error))
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    const DAY_MS: u64 = 86_400_000;
    let milliseconds = u64::deserialize(deserializer)?;
    if milliseconds > DAY_MS {
        return Err(de::Error::custom("is over a day"));
    }
    Ok(Duration::from_millis(milliseconds))
}
