//! The provider's key set: fetched when it is needed, kept, and fetched again when it is old or lacks a key, but never often.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Mutex;

use crate::keys::KeySet;

/// Time for one of the provider's documents.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Most bytes of one of the provider's documents.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// A set is fetched again after this time, so that a key taken back by the provider stops working.
const FRESH: Duration = Duration::from_secs(300);
/// A set that could not be fetched again is used for this long: tokens outlive a short outage of the provider.
const USABLE: Duration = Duration::from_secs(3600);

/// Why the provider's keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The HTTP client could not be made.
    #[error("make the client of the identity provider")]
    Client(#[source] reqwest::Error),
    /// The provider does not answer, or answers an error.
    #[error("ask the identity provider")]
    Unreachable(#[from] reqwest::Error),
    /// It answers something else than was asked for.
    #[error("read the identity provider's {0}")]
    Document(&'static str, #[source] serde_json::Error),
    /// It answers more than we read.
    #[error("the identity provider's {0} is over {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge(&'static str),
    /// The document at the issuer's address is of another issuer.
    #[error("the provider at {configured} calls itself {found}")]
    OtherIssuer {
        /// Whom we asked.
        configured: String,
        /// Who answered.
        found: String,
    },
    /// It was asked moments ago and must not be asked yet.
    #[error("the identity provider was asked moments ago")]
    TooSoon,
}

/// What the provider publishes about itself (`OpenID` Connect Discovery 1.0); the part we need.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Default)]
struct State {
    keys: Arc<KeySet>,
    /// When `keys` were fetched; none before the first time.
    fetched_at: Option<Instant>,
    /// When the provider was last asked, whatever it said.
    tried_at: Option<Instant>,
}

pub(crate) struct Provider {
    issuer: String,
    client: reqwest::Client,
    /// Least time between two questions.
    pause: Duration,
    state: RwLock<State>,
    asking: Mutex<()>,
}

impl Provider {
    pub(crate) fn new(issuer: &str, pause: Duration) -> Result<Self, ProviderError> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            // Answers come from the configured host or not at all.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Asked once in minutes, from whichever runtime has the request: nothing is worth keeping open between.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(ProviderError::Client)?;
        Ok(Self { issuer: issuer.to_owned(), client, pause, state: RwLock::default(), asking: Mutex::default() })
    }

    /// The keys, if they are fresh and have `kid`: the check of every request whose token is known.
    pub(crate) fn fresh(&self, kid: &str) -> Option<Arc<KeySet>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = state.fetched_at.is_some_and(|at| at.elapsed() < FRESH);
        (fresh && state.keys.get(kid).is_some()).then(|| Arc::clone(&state.keys))
    }

    /// The keys, fetched again if they are old or lack `kid`, unless the provider was asked a moment ago. They may still lack it.
    ///
    /// # Errors
    /// There are none, or they are too old to be believed.
    pub(crate) async fn keys(&self, kid: &str) -> Result<Arc<KeySet>, ProviderError> {
        if let Some(keys) = self.fresh(kid) {
            return Ok(keys);
        }
        let asking = self.asking.lock().await;
        // Whoever waited finds what the one before fetched.
        if let Some(keys) = self.fresh(kid) {
            return Ok(keys);
        }
        let asked = if self.may_ask() { self.ask().await } else { Err(ProviderError::TooSoon) };
        drop(asking);
        match (asked, self.usable()) {
            (Ok(keys), _) | (Err(ProviderError::TooSoon), Some(keys)) => Ok(keys),
            (Err(error), Some(keys)) => {
                tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "the identity provider's keys stay as they were");
                Ok(keys)
            }
            (Err(error), None) => Err(error),
        }
    }

    fn may_ask(&self) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let may = state.tried_at.is_none_or(|at| at.elapsed() >= self.pause);
        if may {
            state.tried_at = Some(Instant::now());
        }
        may
    }

    fn usable(&self) -> Option<Arc<KeySet>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.fetched_at.is_some_and(|at| at.elapsed() < USABLE).then(|| Arc::clone(&state.keys))
    }

    async fn ask(&self) -> Result<Arc<KeySet>, ProviderError> {
        let address = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let discovery = self.get(&address, "configuration").await?;
        let discovery: Discovery = serde_json::from_slice(&discovery).map_err(|error| ProviderError::Document("configuration", error))?;
        if discovery.issuer != self.issuer {
            return Err(ProviderError::OtherIssuer { configured: self.issuer.clone(), found: discovery.issuer });
        }
        let keys = self.get(&discovery.jwks_uri, "key set").await?;
        let keys = Arc::new(KeySet::parse(&keys).map_err(|error| ProviderError::Document("key set", error))?);
        tracing::info!(keys = keys.len(), "the identity provider's keys were fetched");
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.keys = Arc::clone(&keys);
        state.fetched_at = Some(Instant::now());
        Ok(keys)
    }

    async fn get(&self, address: &str, what: &'static str) -> Result<Vec<u8>, ProviderError> {
        let mut response = self.client.get(address).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(ProviderError::TooLarge(what));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
