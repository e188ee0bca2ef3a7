//! The schema registry: register our schemas at start behind the compatibility gate, look others up by id.

use std::time::Duration;

use schema_registry_converter::async_impl::schema_registry::{SrSettings, get_schema_by_id, post_schema};
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};

/// A registry behind the Confluent-compatible API.
#[derive(Debug, Clone)]
pub struct Registry {
    url: String,
    settings: SrSettings,
    http: reqwest::Client,
}

/// Judges our schema against every version the registry has: `(subject, ours, [(version, theirs)])`. The text of an error
/// names the two versions and the reason.
pub type Gate = fn(&str, &str, &[(u32, String)]) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Why the registry could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not reachable or not answering as a registry does: try again.
    #[error("{doing} at the schema registry")]
    Unreachable {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Our schema is not fully compatible with a registered version: the service must not start.
    #[error("schema_incompatible: {subject}")]
    Incompatible {
        /// The subject.
        subject: String,
        /// Which versions, and why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An id we used before is missing or stands for another schema: the service must not start, nothing was registered.
    #[error("registry_changed: schema id {id} of {subject} {what}")]
    Changed {
        /// The id in our table.
        id: u32,
        /// Its subject.
        subject: String,
        /// `is missing` or `is another schema`.
        what: &'static str,
    },
}

impl Registry {
    /// A client for the registry at `url` (the base below which `/subjects` and `/schemas` live), with a 5 s timeout a call.
    ///
    /// # Errors
    /// The URL or the TLS set-up is unusable.
    pub fn new(url: &str) -> Result<Self, Error> {
        let settings = SrSettings::new_builder(url.to_owned())
            .set_timeout(Duration::from_secs(5))
            .build()
            .map_err(|source| unreachable("set up", source))?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().map_err(|source| unreachable("set up", source))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), settings, http })
    }

    /// The schema an id stands for, as JSON.
    ///
    /// # Errors
    /// Unknown id or unreachable registry.
    pub async fn schema_by_id(&self, id: u32) -> Result<String, Error> {
        let found = get_schema_by_id(id, &self.settings).await.map_err(|source| unreachable("read a schema by id", source))?;
        Ok(found.schema)
    }

    /// Whether `id` still stands for `json`, compared as parsed schemas.
    ///
    /// # Errors
    /// [`Error::Changed`] when it does not, [`Error::Unreachable`] when that cannot be known.
    pub async fn confirm(&self, id: u32, subject: &str, json: &str) -> Result<(), Error> {
        let changed = |what| Error::Changed { id, subject: subject.to_owned(), what };
        let url = format!("{}/schemas/ids/{id}", self.url);
        let response = self.http.get(url).send().await.map_err(|source| unreachable("read a schema by id", source))?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Err(changed("is missing"));
        }
        let body: serde_json::Value = response
            .error_for_status()
            .map_err(|source| unreachable("read a schema by id", source))?
            .json()
            .await
            .map_err(|source| unreachable("read a schema by id", source))?;
        let theirs = body.get("schema").and_then(serde_json::Value::as_str).unwrap_or_default();
        if same(theirs, json) { Ok(()) } else { Err(changed("is another schema")) }
    }

    /// Registers `json` under `subject` after `gate` has judged it against every registered version, and returns its id.
    /// Registering the same schema again returns the same id.
    ///
    /// # Errors
    /// [`Error::Incompatible`] from the gate or the registry, [`Error::Unreachable`] otherwise.
    pub async fn register(&self, subject: &str, json: &str, gate: Gate) -> Result<u32, Error> {
        let versions = self.versions(subject).await?;
        gate(subject, json, &versions).map_err(|source| Error::Incompatible { subject: subject.to_owned(), source })?;
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, json.to_owned());
        let registered =
            post_schema(&self.settings, subject.to_owned(), supplied).await.map_err(|source| unreachable("register a schema", source))?;
        Ok(registered.id)
    }

    async fn versions(&self, subject: &str) -> Result<Vec<(u32, String)>, Error> {
        let list = format!("{}/subjects/{subject}/versions", self.url);
        let response = self.http.get(&list).send().await.map_err(|source| unreachable("list versions", source))?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        let numbers: Vec<u32> = response
            .error_for_status()
            .map_err(|source| unreachable("list versions", source))?
            .json()
            .await
            .map_err(|source| unreachable("list versions", source))?;
        let mut versions = Vec::with_capacity(numbers.len());
        for number in numbers {
            let response =
                self.http.get(format!("{list}/{number}/schema")).send().await.map_err(|source| unreachable("read a version", source))?;
            let json = response
                .error_for_status()
                .map_err(|source| unreachable("read a version", source))?
                .text()
                .await
                .map_err(|source| unreachable("read a version", source))?;
            versions.push((number, json));
        }
        Ok(versions)
    }
}

fn unreachable(doing: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unreachable { doing: doing.to_owned(), source: source.into() }
}

/// Equal as JSON values: registries may change white space.
fn same(a: &str, b: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    parse(a).is_some() && parse(a) == parse(b)
}
