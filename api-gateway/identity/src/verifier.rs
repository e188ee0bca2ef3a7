use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header, get_current_timestamp};
use serde::Deserialize;
use values::CustomerId;

use crate::keys::KeySet;
use crate::provider::{Provider, ProviderError};
use crate::scope::Scopes;

/// Longest token that is looked at: providers' are 1 to 2 kB.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Tokens remembered at most.
const REMEMBERED_MAX: usize = 16 * 1024;
/// How far the provider's clock and ours may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 5;

/// Whose tokens are believed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The provider, exactly as it stands in `iss`. Its documents are found below this address.
    pub issuer: String,
    /// What must be in `aud`.
    pub audience: String,
    /// Least time between two questions to the provider for keys it did not have.
    pub key_pause: Duration,
}

impl Settings {
    /// Settings with the usual pause of ten seconds.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), audience: audience.into(), key_pause: Duration::from_secs(10) }
    }
}

/// What a token says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who it is.
    pub subject: CustomerId,
    /// What the bearer may do.
    pub scopes: Scopes,
    expires_at: u64,
    kid: String,
}

/// Why a token is not believed. The text is for the client and says nothing that the token does not.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not a token, or one that nobody signed for us.
    #[error("the token is not valid")]
    Invalid,
    /// Signed by a key the provider does not have.
    #[error("the token's key is not one of the provider's")]
    UnknownKey,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    TooEarly,
    /// For somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// By somebody else.
    #[error("the token is of another issuer")]
    Issuer,
    /// A claim that is needed is missing or of another type.
    #[error("the token lacks a claim")]
    Claims,
    /// The provider cannot be asked.
    #[error("the identity provider cannot be reached")]
    Provider(#[source] ProviderError),
}

/// Checks tokens. Cheap to clone; clones share what they remember.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    provider: Provider,
    /// By the token's SHA-256: the tokens themselves are not kept.
    remembered: Mutex<HashMap<[u8; 32], Arc<Identity>>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    #[serde(default)]
    scope: ScopeClaim,
}

/// RFC 8693 says one text with spaces; some providers write a list.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum ScopeClaim {
    #[default]
    None,
    Text(String),
    List(Vec<String>),
}

impl Verifier {
    /// A verifier that knows no keys yet: it asks for them when the first token comes.
    ///
    /// # Errors
    /// The HTTP client could not be made.
    pub fn new(settings: Settings) -> Result<Self, ProviderError> {
        let provider = Provider::new(&settings.issuer, settings.key_pause)?;
        Ok(Self { inner: Arc::new(Inner { settings, provider, remembered: Mutex::default() }) })
    }

    /// Whose `token` it is. One hash for a token that was verified before, one signature otherwise.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn verify(&self, token: &str) -> Result<Arc<Identity>, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::Invalid);
        }
        let hash = hash(token);
        if let Some(known) = self.recall(&hash) {
            return Ok(known);
        }
        let header = decode_header(token).map_err(|_not_a_token| Refused::Invalid)?;
        let kid = header.kid.filter(|_| header.crit.is_none()).ok_or(Refused::Invalid)?;
        let keys = self.inner.provider.keys(&kid).await.map_err(Refused::Provider)?;
        let identity = Arc::new(self.judge(token, kid, &keys)?);
        self.remember(hash, Arc::clone(&identity));
        Ok(identity)
    }

    fn judge(&self, token: &str, kid: String, keys: &KeySet) -> Result<Identity, Refused> {
        let key = keys.get(&kid).ok_or(Refused::UnknownKey)?;
        let mut rules = Validation::new(key.algorithm);
        rules.set_required_spec_claims(&["iss", "aud", "exp", "nbf", "sub"]);
        rules.set_issuer(&[&self.inner.settings.issuer]);
        rules.set_audience(&[&self.inner.settings.audience]);
        rules.validate_nbf = true;
        rules.leeway = LEEWAY_SECONDS;
        let claims = decode::<Claims>(token, &key.decoding, &rules).map_err(|error| refused(error.kind()))?.claims;
        let scopes = match &claims.scope {
            ScopeClaim::None => Scopes::default(),
            ScopeClaim::Text(text) => Scopes::of(text.split(' ')),
            ScopeClaim::List(list) => Scopes::of(list.iter().map(String::as_str)),
        };
        let subject = claims.sub.parse().map_err(|_not_a_customer: values::CustomerIdError| Refused::Claims)?;
        Ok(Identity { subject, scopes, expires_at: claims.exp, kid })
    }

    fn recall(&self, hash: &[u8; 32]) -> Option<Arc<Identity>> {
        let known = self.inner.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()?;
        // One that ran out goes the long way, and is refused there with its reason.
        let holds = known.expires_at > get_current_timestamp() && self.inner.provider.fresh(&known.kid).is_some();
        holds.then_some(known)
    }

    fn remember(&self, hash: [u8; 32], identity: Arc<Identity>) {
        let mut remembered = self.inner.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            let now = get_current_timestamp();
            remembered.retain(|_, known| known.expires_at > now);
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
        }
        remembered.insert(hash, identity);
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest::digest(&digest::SHA256, token.as_bytes()).as_ref()) {
        *to = *from;
    }
    hash
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum grows; whatever else is wrong, the token is not valid")]
fn refused(kind: &ErrorKind) -> Refused {
    match kind {
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::ImmatureSignature => Refused::TooEarly,
        ErrorKind::InvalidAudience => Refused::Audience,
        ErrorKind::InvalidIssuer => Refused::Issuer,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => Refused::Claims,
        _ => Refused::Invalid,
    }
}
