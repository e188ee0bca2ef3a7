//! Random passwords and keys of one run folder, kept in it with mode 0600.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error};
use crate::kafka::PRINCIPALS;
use crate::postgres::{DATABASES, KEYS, READER, SUPERUSER};

/// Everything secret in a run folder. Made once, at the first start; the data in the folder depends on it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secrets {
    /// Passwords of PostgreSQL's roles, by role name.
    pub(crate) roles: BTreeMap<String, String>,
    /// Password of every role that a test makes for its own database.
    pub(crate) other_roles: String,
    /// Key that seals payment tokens: 64 hex digits.
    pub(crate) token_key: String,
    /// Key that wraps customers' keys: 64 hex digits; empty in folders made before there were any.
    #[serde(default)]
    pub(crate) keys_key: String,
    /// Passwords of Kafka's principals, by name; empty in folders made before Kafka had any.
    #[serde(default)]
    pub(crate) principals: BTreeMap<String, String>,
    /// Kafka's cluster id: no secret, but as durable as they are.
    pub(crate) cluster_id: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Secrets").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}

impl Secrets {
    /// The stored secrets of `folder`, made and stored if there are none.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::State`] when the file cannot be read or written.
    pub(crate) fn of(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("secrets.json");
        if path.exists() {
            let text = fs::read(&path).doing(|| format!("read {}", path.display()))?;
            let mut known: Self =
                serde_json::from_slice(&text).map_err(|error| Error::State { path: path.clone(), reason: error.to_string() })?;
            if known.keys_key.is_empty() {
                known.keys_key = random_hex(32)?;
                known.store(&path)?;
            }
            return Ok(known);
        }
        let secrets = Self {
            roles: passwords(role_names())?,
            other_roles: random_hex(16)?,
            token_key: random_hex(32)?,
            keys_key: random_hex(32)?,
            principals: passwords(PRINCIPALS.map(str::to_owned))?,
            cluster_id: cluster_id()?,
        };
        secrets.store(&path)?;
        Ok(secrets)
    }

    fn store(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::State { path: path.to_owned(), reason: error.to_string() })?;
        write_private(path, &text)
    }

    /// The passwords of Kafka's principals.
    ///
    /// # Errors
    /// [`Error::Principals`]: the folder is older than they are.
    pub(crate) fn all_principals(&self) -> Result<BTreeMap<String, String>, Error> {
        if self.principals.is_empty() { Err(Error::Principals) } else { Ok(self.principals.clone()) }
    }

    /// The password of a role; the roles of a test's own database share one.
    pub(crate) fn role(&self, name: &str) -> String {
        self.roles.get(name).unwrap_or(&self.other_roles).clone()
    }
}

fn role_names() -> impl Iterator<Item = String> {
    let owned = DATABASES.iter().flat_map(|name| [(*name).to_owned(), format!("{name}_owner")]);
    owned.chain([KEYS.to_owned(), format!("{KEYS}_owner"), SUPERUSER.to_owned(), READER.to_owned()])
}

fn passwords(names: impl IntoIterator<Item = String>) -> Result<BTreeMap<String, String>, Error> {
    names.into_iter().map(|name| Ok((name, random_hex(16)?))).collect()
}

/// Replaces `path` with `text`, readable by this user only; a reader sees the old or the new text, never half of it.
pub(crate) fn write_private(path: &Path, text: &[u8]) -> Result<(), Error> {
    let scratch = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&scratch)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&scratch, path)
    };
    write().doing(|| format!("write {}", path.display()))
}

/// So many random bytes as hexadecimal digits.
///
/// # Errors
/// The machine gives no randomness.
pub fn random_hex(bytes: usize) -> Result<String, Error> {
    Ok(random(bytes)?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A number from 0 to `limit` - 1, for choosing ports.
pub(crate) fn random_below(limit: u32) -> Result<u32, Error> {
    let drawn = random(4)?.into_iter().fold(0_u32, |number, byte| (number << 8) | u32::from(byte));
    Ok(drawn.checked_rem(limit).unwrap_or(0))
}

/// Kafka writes a cluster id as 22 characters of URL-safe base64; a leading dash would look like an option to its tools.
fn cluster_id() -> Result<String, Error> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut id: String =
        random(21)?.iter().filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len())).map(|byte| char::from(*byte)).collect();
    id.push('A'); // the last character carries four bits only
    Ok(id)
}

fn random(bytes: usize) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; bytes];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut buffer)).doing(|| "read /dev/urandom".to_owned())?;
    Ok(buffer)
}
