//! Names of headers, and the two that carry values every service reads.

use std::{fmt, str::FromStr};

use actix_web::http::header::HeaderMap;
use values::CustomerId;

use crate::{Code, Problem};

/// Says that a request is the same as an earlier one. Required where a request must not happen twice.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The customer, as the gateway authenticated it.
pub const CUSTOMER_ID: &str = "x-customer-id";
/// Names one request in logs; made by the gateway when absent, and echoed.
pub const REQUEST_ID: &str = "x-request-id";
/// `true` on an answer that is the stored one of an earlier request with the same key.
pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";
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
