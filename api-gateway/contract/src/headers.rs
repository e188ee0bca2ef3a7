//! Names of headers, and the two that carry values every service reads.

use std::{fmt, str::FromStr, time::Duration};

use actix_web::http::header::{HeaderMap, HeaderName};
use values::CustomerId;

use crate::{Code, Problem, limits};

/// Says that a request is the same as an earlier one. Required where a request must not happen twice.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The customer, as the gateway authenticated it.
pub const CUSTOMER_ID: &str = "x-customer-id";
/// Names one request in logs; made by the gateway when absent, and echoed.
pub const REQUEST_ID: &str = "x-request-id";
/// `true` on an answer that is the stored one of an earlier request with the same key.
pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";
/// The version of an order that was seen last, in a stream of its events.
pub const LAST_EVENT_ID: &str = "last-event-id";
/// How long a client is ready to wait for the end of what it asked for (RFC 7240): `wait=5`.
pub const PREFER: &str = "prefer";
/// Says that the wait was had (RFC 7240).
pub const PREFERENCE_APPLIED: &str = "preference-applied";
/// Media type of a problem, RFC 9457.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A client's name for one intent: 1 to 128 of `A-Z a-z 0-9 . _ : -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(String);

/// The text is not an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("idempotency key is not 1 to 128 of the characters A-Z a-z 0-9 . _ : -")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// The largest length, in characters.
    pub const LENGTH_MAX: usize = 128;

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
        if (1..=Self::LENGTH_MAX).contains(&text.len()) && text.as_bytes().iter().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdempotencyKeyError)
        }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The idempotency key of a request that needs one.
///
/// # Errors
/// `idempotency_key_required`, or `idempotency_key_invalid` (also when it is given twice).
pub fn idempotency_key(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let invalid = |detail: String| Problem::new(Code::IdempotencyKeyInvalid).with_detail(detail);
    match only(headers, IDEMPOTENCY_KEY) {
        Only::Absent => Err(Problem::new(Code::IdempotencyKeyRequired)),
        Only::Unusable => Err(invalid("idempotency key is given twice or is not text".to_owned())),
        Only::Text(text) => text.parse().map_err(|error: IdempotencyKeyError| invalid(error.to_string())),
    }
}

/// The customer of a request that needs one.
///
/// # Errors
/// `unauthenticated` when the header is absent, given twice or not a customer id.
pub fn customer_id(headers: &HeaderMap) -> Result<CustomerId, Problem> {
    let refused = |detail: String| Problem::new(Code::Unauthenticated).with_detail(detail);
    match only(headers, CUSTOMER_ID) {
        Only::Absent => Err(refused("the header X-Customer-Id is missing".to_owned())),
        Only::Unusable => Err(refused("the header X-Customer-Id is given twice or is not text".to_owned())),
        Only::Text(text) => text.parse().map_err(|error: values::CustomerIdError| refused(error.to_string())),
    }
}

/// Seconds of `Prefer: wait=N`, at most [`limits::WAIT_SECONDS_MAX`]. A preference that is not understood is none (RFC 7240, 2).
#[must_use]
pub fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';'])).filter_map(|preference| preference.split_once('='));
    let (_, seconds) = preferences.find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))?;
    let seconds: u64 = seconds.trim().trim_matches('"').parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds.min(limits::WAIT_SECONDS_MAX)))
}

/// Whether `Prefer: ack=published` is among the preferences: the answer waits until what it acknowledges is on its topics.
#[must_use]
pub fn prefers_published(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';'])).filter_map(|preference| preference.split_once('='));
    preferences
        .any(|(name, value)| name.trim().eq_ignore_ascii_case("ack") && value.trim().trim_matches('"').eq_ignore_ascii_case("published"))
}

/// The entity tags that a precondition lists (RFC 9110, 13.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags(Vec<String>);

impl Tags {
    /// The tags of the header `name`: `If-Match` or `If-None-Match`. None without it.
    #[must_use]
    pub fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let given = headers.contains_key(name);
        // Our tags have no commas in them.
        let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
        given.then(|| Self(values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect()))
    }

    /// Whether `tag`, quotes included, is one of them; a weak one of theirs never is. For writes.
    #[must_use]
    pub fn name(&self, tag: &str) -> bool {
        self.0.iter().any(|given| given == "*" || given == tag)
    }

    /// The same, where a weak tag of theirs counts. For reads.
    #[must_use]
    pub fn name_weakly(&self, tag: &str) -> bool {
        self.name(tag) || self.0.iter().any(|given| given.strip_prefix("W/") == Some(tag))
    }
}

enum Only<'a> {
    Absent,
    Unusable,
    Text(&'a str),
}

/// The value of a header that may be given once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Only<'a> {
    let mut all = headers.get_all(name);
    match (all.next(), all.next()) {
        (None, _) => Only::Absent,
        (Some(value), None) => value.to_str().map_or(Only::Unusable, Only::Text),
        (Some(_), Some(_)) => Only::Unusable,
    }
}
