//! Configuration: defaults from a documented file, then an optional file, then the environment. The only reader of the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use figment::value::Value;

/// A text that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Not to be printed from here on.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("read the configuration")]
    Read(#[source] Box<figment::Error>),
    /// A key nobody reads: probably a typing error.
    #[error("unknown configuration key {key} in {origin}")]
    Unknown {
        /// The key.
        key: String,
        /// Where it stands.
        origin: String,
    },
    /// A key without a default is not set.
    #[error("configuration key {0} is not set; set the environment variable {1}")]
    Missing(String, String),
    /// A value does not fit.
    #[error("configuration key {key} from {origin}: {reason}")]
    Invalid {
        /// The key.
        key: String,
        /// Where the value comes from.
        origin: String,
        /// What is wrong.
        reason: String,
    },
}

/// A variable that is no key of the configuration, for harm on purpose.
#[cfg(debug_assertions)]
pub(crate) fn environment(name: &str) -> Option<String> {
    Env::var(name)
}

/// Names the environment variable that points at the optional file.
const FILE: &str = "CONFIG_FILE";

/// A validated set of keys. Keys are lower case; the environment name of a key is the same in upper case.
#[derive(Clone)]
pub struct Config {
    values: BTreeMap<String, String>,
    figment: Figment,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_struct("Config").field("keys", &self.values.keys()).finish_non_exhaustive()
    }
}

impl Config {
    /// Reads `defaults` (TOML text whose keys are the known keys; an empty text means: no default), the file named by
    /// `CONFIG_FILE`, and the environment.
    ///
    /// # Errors
    /// An unreadable file or an unknown key in it.
    pub fn read(defaults: &str) -> Result<Self, Error> {
        let known: BTreeMap<String, Value> =
            Figment::from(Toml::string(defaults)).extract().map_err(|error| Error::Read(Box::new(error)))?;
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let mut figment = Figment::from(Toml::string(defaults));
        if let Some(path) = Env::var(FILE) {
            let file = Figment::from(Toml::file_exact(&path));
            let theirs: BTreeMap<String, Value> = file.extract().map_err(|error| Error::Read(Box::new(error)))?;
            if let Some(key) = theirs.keys().find(|key| !known.contains_key(*key)) {
                return Err(Error::Unknown { key: key.clone(), origin: path });
            }
            figment = figment.merge(file);
        }
        let figment = figment.merge(Env::raw().only(&names).lowercase(true));
        let merged: BTreeMap<String, Value> = figment.extract().map_err(|error| Error::Read(Box::new(error)))?;
        let values =
            merged.into_iter().filter_map(|(key, value)| text(&value).filter(|text| !text.is_empty()).map(|text| (key, text))).collect();
        Ok(Self { values, figment })
    }

    /// The value of a key, if it is set.
    #[must_use]
    pub fn optional(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The value of a key that must be set.
    ///
    /// # Errors
    /// [`Error::Missing`], naming the key and its environment variable.
    pub fn text(&self, key: &str) -> Result<&str, Error> {
        self.optional(key).ok_or_else(|| Error::Missing(key.to_owned(), key.to_uppercase()))
    }

    /// A value that must not be printed.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn secret(&self, key: &str) -> Result<Secret, Error> {
        self.text(key).map(|text| Secret(text.to_owned()))
    }

    /// A whole number.
    ///
    /// # Errors
    /// Missing or not a number that fits.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, Error> {
        self.text(key)?.parse().map_err(|_not_a_number| Error::Invalid {
            key: key.to_owned(),
            origin: self.origin(key),
            reason: "is not a number in range".to_owned(),
        })
    }

    /// A duration in milliseconds, from a key that ends in `_ms`.
    ///
    /// # Errors
    /// Missing or not a number.
    pub fn millis(&self, key: &str) -> Result<Duration, Error> {
        self.number(key).map(Duration::from_millis)
    }

    /// Where the value of a key comes from, for error messages.
    #[must_use]
    pub fn origin(&self, key: &str) -> String {
        self.figment.find_metadata(key).map_or_else(|| "the defaults".to_owned(), |metadata| metadata.name.to_string())
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, one) => Some(one.to_string()),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, number) => number
            .to_i128()
            .map(|n| n.to_string())
            .or_else(|| number.to_u128().map(|n| n.to_string()))
            .or_else(|| number.to_f64().map(|n| n.to_string())),
        Value::Empty(..) | Value::Dict(..) | Value::Array(..) => None,
    }
}
