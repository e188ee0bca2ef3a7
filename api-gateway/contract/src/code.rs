use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

/// Writes the registry once: the enum, its list, its text, status, title and waiting time.
macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal, $status:literal, $title:literal $(, retry after $seconds:literal s)?;)*) => {
        /// Every code a [`crate::Problem`] can carry. Stable: clients match on it, never on the text. Each has a page
        /// `docs/errors/<code>.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum Code {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Code {
            /// All codes, in the order of the registry.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code as it stands in a problem, for example `unknown_field`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The HTTP status it is answered with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// The same fixed sentence for every occurrence (RFC 9457, `title`).
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }

            /// Its page for people, in Markdown: what it means, how to confirm it, what to do.
            #[must_use]
            pub const fn page(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors/", $text, ".md"))),* }
            }

            /// Seconds after which the same request may be repeated, when repeating can help.
            #[must_use]
            pub const fn retry_after_seconds(self) -> Option<u32> {
                match self { $(Self::$variant => codes!(@seconds $($seconds)?)),* }
            }
        }
    };
    (@seconds $seconds:literal) => { Some($seconds) };
    (@seconds) => { None };
}

codes! {
    /// No token; or, where the network is trusted, no customer or one whose id is not valid.
    Unauthenticated = "unauthenticated", 401, "The request does not say who asks";
    /// A token that is not believed.
    InvalidToken = "invalid_token", 401, "The access token is not valid";
    /// A token that does not allow this.
    InsufficientScope = "insufficient_scope", 403, "The access token does not allow this";
    /// A request that must not happen twice came without its key.
    IdempotencyKeyRequired = "idempotency_key_required", 400, "The header Idempotency-Key is missing";
    /// The key has other characters than allowed, is too long or was given twice.
    IdempotencyKeyInvalid = "idempotency_key_invalid", 400, "The header Idempotency-Key is not valid";
    /// The key was used before with another body.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "The Idempotency-Key was used with a different body";
    /// The first request with the key has not ended.
    RequestInFlight = "request_in_flight", 409, "A request with this Idempotency-Key has not ended yet", retry after 1 s;
    /// Not JSON, or JSON beyond the limits of depth and size.
    MalformedJson = "malformed_json", 400, "The body is not the JSON that was expected";
    /// A member that no field is named after.
    UnknownField = "unknown_field", 422, "The body has a field that does not exist";
    /// The same member twice in one object.
    DuplicateField = "duplicate_field", 422, "The body has the same field twice";
    /// A required member is absent.
    MissingField = "missing_field", 422, "The body lacks a field";
    /// A member of another JSON type than the field's.
    WrongType = "wrong_type", 422, "A field has the wrong type";
    /// An order without lines.
    EmptyOrder = "empty_order", 422, "The order has no lines";
    /// An order with more lines than allowed.
    TooManyLines = "too_many_lines", 422, "The order has too many lines";
    /// A list of products, receipts or SKUs without entries.
    EmptyList = "empty_list", 422, "The list is empty";
    /// A list of products, receipts or SKUs with more entries than allowed.
    TooManyItems = "too_many_items", 422, "The list is too long";
    /// A quantity outside its range.
    QuantityOutOfRange = "quantity_out_of_range", 422, "A quantity is out of range";
    /// The same SKU twice in one request.
    DuplicateSku = "duplicate_sku", 422, "A SKU is given twice";
    /// No product has the SKU.
    UnknownSku = "unknown_sku", 422, "A SKU is not known";
    /// The text is not a SKU.
    InvalidSku = "invalid_sku", 422, "A SKU is not valid";
    /// The sum of the lines does not fit into 64 bits of minor units.
    TotalOverflow = "total_overflow", 422, "The total of the order is too large";
    /// The products of one order are priced in different currencies.
    MixedCurrencies = "mixed_currencies", 422, "The products of the order are priced in different currencies";
    /// The text is not a payment token.
    InvalidPaymentToken = "invalid_payment_token", 422, "The payment token is not valid";
    /// A price outside its range.
    PriceOutOfRange = "price_out_of_range", 422, "A price is out of range";
    /// A currency that is not three upper-case letters.
    InvalidCurrency = "invalid_currency", 422, "A currency is not valid";
    /// A number of stock units outside its range.
    StockOutOfRange = "stock_out_of_range", 422, "A number of units is out of range";
    /// A text that is too long or has control characters.
    InvalidText = "invalid_text", 422, "A text is not valid";
    /// More bytes than the route takes.
    BodyTooLarge = "body_too_large", 413, "The body is too large";
    /// Not `application/json`, or compressed.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body has to be uncompressed application/json";
    /// A request that HTTP itself does not allow.
    BadRequest = "bad_request", 400, "The request is not valid HTTP";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", 408, "The request did not arrive in time";
    /// No such order, or another customer's.
    OrderNotFound = "order_not_found", 404, "The customer has no such order";
    /// The order can no longer be cancelled.
    OrderAlreadyConfirmed = "order_already_confirmed", 409, "The order is confirmed and can no longer be cancelled";
    /// The order has changed since the version that `If-Match` names.
    PreconditionFailed = "precondition_failed", 412, "The order is not as If-Match says";
    /// The customer has as many open orders as it may have.
    TooManyOpenOrders = "too_many_open_orders", 429, "The customer has too many open orders", retry after 5 s;
    /// The `Last-Event-ID` was not made by us.
    InvalidEventId = "invalid_event_id", 400, "The header Last-Event-ID is not valid";
    /// The `after` of a list was not made by us.
    InvalidCursor = "invalid_cursor", 400, "The cursor is not valid";
    /// The `limit` of a list is not a number in its range.
    LimitOutOfRange = "limit_out_of_range", 400, "The limit is out of range";
    /// A query parameter that does not exist, or one given twice.
    InvalidQuery = "invalid_query", 400, "The query is not valid";
    /// No such path.
    NotFound = "not_found", 404, "There is nothing at this path";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "The path does not take this method";
    /// More requests than this caller may make.
    RateLimited = "rate_limited", 429, "Too many requests from one caller", retry after 1 s;
    /// More requests than can be handled now.
    Overloaded = "overloaded", 429, "More requests than can be handled now", retry after 1 s;
    /// A part that is needed cannot be reached.
    Unavailable = "unavailable", 503, "A part that is needed is not available now", retry after 2 s;
    /// A part that is needed did not answer in time.
    UpstreamTimeout = "upstream_timeout", 504, "A part that is needed did not answer in time", retry after 2 s;
    /// The order is placed and not yet published; its key leads to it.
    NotPublished = "not_published", 504, "The order is placed and not yet published", retry after 1 s;
    /// Our fault; the details are in the log.
    Internal = "internal", 500, "Something went wrong on our side";
}

/// The text is no code of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a code of the registry")]
pub struct UnknownCode;

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(UnknownCode)
    }
}

impl TryFrom<String> for Code {
    type Error = UnknownCode;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let codes = Self::ALL.iter().map(|code| code.as_str());
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes));
        schema.description(Some("What to match on; its page is at /problems/{code}.")).into()
    }
}

impl ToSchema for Code {}

impl From<Code> for &'static str {
    fn from(code: Code) -> Self {
        code.as_str()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
