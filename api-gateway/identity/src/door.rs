use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use contract::{Code, Problem, headers};
use values::CustomerId;

use crate::provider::ProviderError;
use crate::scope::{Scope, Scopes};
use crate::verifier::{Refused, Settings, Verifier};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The customer; none only where the network is trusted and the request named nobody.
    pub customer: Option<CustomerId>,
    /// What the caller may do.
    pub scopes: Scopes,
}

impl Caller {
    /// The customer of a path that is about one.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub fn customer(self) -> Result<CustomerId, Problem> {
        self.customer.ok_or_else(|| Problem::new(Code::Unauthenticated).with_detail("the request says for no customer"))
    }
}

/// Where requests are let in or not. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door {
    verifier: Option<Verifier>,
    trusts_header: bool,
}

/// The door would let nobody in, or everybody by mistake.
#[derive(Debug, thiserror::Error)]
pub enum OpenDoor {
    /// Neither way in is configured.
    #[error(
        "no identity provider: set OIDC_ISSUER and OIDC_AUDIENCE, or TRUST_CUSTOMER_HEADER=true where whoever connects may be any customer"
    )]
    Nobody,
    /// One of the two is missing.
    #[error("OIDC_ISSUER and OIDC_AUDIENCE are set together or not at all")]
    Half,
    /// The verifier could not be made.
    #[error("set up the identity provider")]
    Provider(#[from] ProviderError),
}

impl Door {
    /// A door for these settings. With `trusts_header`, a request without a token is whoever its `X-Customer-Id` says, and may do
    /// everything: for networks where whoever connects may be any customer. A request with a token is judged by it all the same.
    ///
    /// # Errors
    /// [`OpenDoor`].
    pub fn new(issuer: Option<&str>, audience: Option<&str>, trusts_header: bool) -> Result<Self, OpenDoor> {
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        match (given(issuer), given(audience)) {
            (Some(issuer), Some(audience)) => {
                let verifier = Verifier::new(Settings::new(issuer, audience))?;
                Ok(Self { verifier: Some(verifier), trusts_header })
            }
            (None, None) if trusts_header => Ok(Self::trusting()),
            (None, None) => Err(OpenDoor::Nobody),
            (Some(_), None) | (None, Some(_)) => Err(OpenDoor::Half),
        }
    }

    /// A door that believes `X-Customer-Id` and knows no tokens.
    #[must_use]
    pub const fn trusting() -> Self {
        Self { verifier: None, trusts_header: true }
    }

    /// A door for bearers of tokens only.
    #[must_use]
    pub const fn of(verifier: Verifier) -> Self {
        Self { verifier: Some(verifier), trusts_header: false }
    }

    /// Whether requests without a token are let in.
    #[must_use]
    pub const fn trusts_header(&self) -> bool {
        self.trusts_header
    }

    /// Lets in whoever may use `scope`.
    ///
    /// # Errors
    /// `unauthenticated` without a token, `invalid_token` for one that is not believed, `insufficient_scope` for one that does not allow
    /// it, `unavailable` when the provider's keys cannot be had.
    pub async fn admit(&self, headers: &HeaderMap, scope: Scope) -> Result<Caller, Problem> {
        match (token(headers)?, &self.verifier) {
            (Some(token), Some(verifier)) => {
                let identity = verifier.verify(token).await.map_err(|refused| problem(&refused))?;
                if identity.scopes.allow(scope) {
                    Ok(Caller { customer: Some(identity.subject.clone()), scopes: identity.scopes })
                } else {
                    Err(Problem::new(Code::InsufficientScope).with_detail(format!("the token does not have the scope {scope}")))
                }
            }
            (Some(_), None) => Err(Problem::new(Code::InvalidToken).with_detail("no identity provider is configured")),
            (None, _) if self.trusts_header => {
                let named = headers.contains_key(headers::CUSTOMER_ID);
                let customer = if named { Some(headers::customer_id(headers)?) } else { None };
                Ok(Caller { customer, scopes: Scope::ALL.into_iter().collect() })
            }
            (None, _) => Err(Problem::new(Code::Unauthenticated)),
        }
    }
}

/// The bearer token, if the request has an `Authorization` at all.
fn token(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let refused = |detail: &str| Err(Problem::new(Code::InvalidToken).with_detail(detail));
    let mut all = headers.get_all(AUTHORIZATION);
    let value = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return refused("the header Authorization is given twice"),
    };
    let bearer = value.to_str().ok().and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match bearer {
        Some((_, token)) => Ok(Some(token.trim())),
        None => refused("the header Authorization is not a bearer token"),
    }
}

fn problem(refused: &Refused) -> Problem {
    match refused {
        Refused::Provider(error) => {
            tracing::warn!(error = %error, cause = ?std::error::Error::source(error), "a token cannot be checked");
            Problem::new(Code::Unavailable).with_detail(refused.to_string())
        }
        Refused::Invalid
        | Refused::UnknownKey
        | Refused::Expired
        | Refused::TooEarly
        | Refused::Audience
        | Refused::Issuer
        | Refused::Claims => Problem::new(Code::InvalidToken).with_detail(refused.to_string()),
    }
}
