use std::{collections::HashSet, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use values::{Money, OrderId, Quantity, Sku};

use crate::{Body, Canonical, Code, Contact, Faults, Pointer, decode::Whole, limits, schema};

/// Body of `POST /v1/orders`. The server prices it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// 1 to 200 lines, each SKU once, in the customer's order.
    #[schema(min_items = 1, max_items = 200)]
    pub lines: Vec<OrderLine>,
    /// How it is paid.
    pub payment: Payment,
    /// Whom it is for and where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub contact: Option<Contact>,
}

/// So many units of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderLine {
    /// What.
    #[schema(value_type = schema::Sku)]
    pub sku: Sku,
    /// How many units.
    #[schema(value_type = schema::Quantity)]
    pub quantity: Quantity,
}

/// How an order is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Names the customer's means of payment at the provider.
    #[schema(value_type = String, pattern = "^tok_[a-z0-9_]{1,60}$", examples("tok_ok"))]
    pub token: PaymentToken,
}

/// A means of payment at the provider: `tok_` and 1 to 60 of `a-z 0-9 _`. Sensitive: it does not print.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct PaymentToken(String);

/// The text is not a payment token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("payment token is not tok_ and 1 to 60 of the characters a-z 0-9 _")]
pub struct PaymentTokenError;

impl PaymentToken {
    /// The token itself, to be sealed or sent to the provider.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for PaymentToken {
    type Err = PaymentTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        match text.strip_prefix("tok_") {
            Some(rest) if (1..=60).contains(&rest.len()) && rest.bytes().all(allowed) => Ok(Self(text.to_owned())),
            Some(_) | None => Err(PaymentTokenError),
        }
    }
}

impl fmt::Debug for PaymentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentToken(..)")
    }
}

impl Body for PlaceOrder {
    const BYTES_MAX: usize = limits::BODY_BYTES_MAX;
    type Wire = wire::PlaceOrder;

    fn check(wire: Self::Wire, faults: &mut Faults) -> Option<Self> {
        let place = Pointer::root().member("lines");
        if wire.lines.is_empty() {
            faults.add(place.clone(), Code::EmptyOrder, "an order has at least one line");
        }
        let lines = if wire.lines.len() > limits::ORDER_LINES_MAX {
            faults.add(place, Code::TooManyLines, format_args!("an order has at most {} lines", limits::ORDER_LINES_MAX));
            None
        } else {
            check_lines(wire.lines, &place, faults)
        };
        let token = wire.payment.token.parse::<PaymentToken>();
        let token = faults.keep(token, || Pointer::root().member("payment").member("token"), Code::InvalidPaymentToken);
        let contact = wire.contact.and_then(|contact| Contact::check(contact, &Pointer::root().member("contact"), faults));
        Some(Self { lines: lines?, payment: Payment { token: token? }, contact })
    }

    fn feed(&self, canonical: &mut Canonical) {
        canonical.text("place-order/1");
        canonical.count(self.lines.len());
        for line in &self.lines {
            canonical.text(line.sku.as_str());
            canonical.number(line.quantity.units());
        }
        canonical.text(self.payment.token.reveal());
        // Not the contact: who knows the rest could guess it from the hash, which is kept for ever. See `RequestHash::with_secret`.
    }
}

fn check_lines(lines: Vec<wire::OrderLine>, place: &Pointer, faults: &mut Faults) -> Option<Vec<OrderLine>> {
    let mut seen = HashSet::with_capacity(lines.len());
    let mut checked = Vec::with_capacity(lines.len());
    let mut all = true;
    for (index, line) in lines.into_iter().enumerate() {
        let at = |name| place.entry(index).member(name);
        let sku = faults.keep(Sku::try_from(line.sku), || at("sku"), Code::InvalidSku);
        let quantity = faults.keep(Quantity::try_from(line.quantity.0), || at("quantity"), Code::QuantityOutOfRange);
        if let Some(sku) = &sku
            && !seen.insert(sku.clone())
        {
            faults.add(at("sku"), Code::DuplicateSku, "an earlier line has this SKU");
        }
        match (sku, quantity) {
            (Some(sku), Some(quantity)) => checked.push(OrderLine { sku, quantity }),
            (Some(_) | None, Some(_) | None) => all = false,
        }
    }
    all.then_some(checked)
}

/// The JSON of a place-order body before its values are checked.
pub(crate) mod wire {
    use super::{Deserialize, Whole};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct PlaceOrder {
        pub(super) lines: Vec<OrderLine>,
        pub(super) payment: Payment,
        #[serde(default, deserialize_with = "crate::contact::wire::given")]
        pub(super) contact: Option<crate::contact::wire::Contact>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct OrderLine {
        pub(super) sku: String,
        pub(super) quantity: Whole,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct Payment {
        pub(super) token: String,
    }
}

/// An order as the API answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// Its id.
    #[schema(value_type = String, format = "uuid", examples("0192f0c1-2345-7abc-8def-0123456789ab"))]
    pub id: OrderId,
    /// How far it is.
    pub status: OrderStatus,
    /// Why it was cancelled; null for any other status.
    #[schema(required)]
    pub reason: Option<CancelReason>,
    /// Its lines, in the customer's order.
    pub lines: Vec<PricedLine>,
    /// What it costs.
    #[schema(value_type = schema::Money)]
    pub total: Money,
    /// When it was placed.
    #[schema(value_type = String, format = "date-time")]
    pub placed_at: Timestamp,
    /// When its saga ended; null until then.
    #[schema(value_type = Option<String>, format = "date-time", required)]
    pub ended_at: Option<Timestamp>,
    /// Whom it is for: only where one order is read by `GET /v1/orders/{id}`, if it was given and has not been erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub contact: Option<Contact>,
}

/// A line with the price it was placed at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PricedLine {
    /// What.
    #[schema(value_type = schema::Sku)]
    pub sku: Sku,
    /// How many units.
    #[schema(value_type = schema::Quantity)]
    pub quantity: Quantity,
    /// Price of one unit.
    #[schema(value_type = schema::Money)]
    pub unit_price: Money,
}

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Placed; stock and money are being asked for.
    Pending,
    /// Paid; the stock is the customer's.
    Confirmed,
    /// Ended without a sale, for the stated reason.
    Cancelled,
    /// Only a person can move it on.
    Stuck,
}

/// Why an order was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// A line asked for more than there was.
    OutOfStock,
    /// The provider said no.
    PaymentDeclined,
    /// A step took longer than it may.
    Deadline,
    /// The customer asked for it.
    CancelledByCustomer,
    /// A step failed for good.
    Failed,
}
