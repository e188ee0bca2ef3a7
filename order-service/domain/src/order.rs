//! One order: placed, then confirmed or cancelled, once.
//!
//! ```text
//! None ─ place ─► Pending ─ confirm ─► Confirmed
//!                    └──── cancel ───► Cancelled
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use values::{CustomerId, Money, Quantity, Sku};

use crate::Lines;

/// Where an order is. Small, because it is stored with every event; lines and customer are in the first event and in the read model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Not placed.
    #[default]
    None,
    /// Its saga runs.
    Pending {
        /// To be captured.
        total: Money,
        /// To be sent with the capture; forgotten once the order is decided.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        payment_token: Option<SealedValue>,
    },
    /// Paid.
    Confirmed,
    /// Called off.
    Cancelled {
        /// Why.
        reason: CancelReason,
    },
}

/// What is asked of an order. Instants are microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Place it.
    Place(Placement),
    /// The saga passed its pivot.
    Confirm {
        /// When.
        at: i64,
    },
    /// The saga turned back.
    Cancel {
        /// Why.
        reason: CancelReason,
        /// When.
        at: i64,
    },
}

/// An order to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Whose order it is.
    pub customer: CustomerId,
    /// What is ordered, at today's prices.
    pub basket: Basket,
    /// How it is paid: sealed, opaque here.
    pub payment_token: Option<SealedValue>,
    /// Whom it is for: sealed with the customer's key.
    pub contact: Option<SealedValue>,
    /// When it is placed, in microseconds since the Unix epoch.
    pub at: i64,
}

/// Lines, each with the price of one unit right now; none for a product nobody has listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basket {
    lines: Lines,
    prices: Vec<Option<Money>>,
}

impl Basket {
    /// `lines`, with `price` asked once a line.
    pub fn new(lines: Lines, mut price: impl FnMut(&Sku) -> Option<Money>) -> Self {
        let prices = lines.iter().map(|line| price(&line.sku)).collect();
        Self { lines, prices }
    }

    fn priced(&self) -> Result<(Vec<PricedLine>, Money), Rejection> {
        let mut lines: Vec<PricedLine> = Vec::with_capacity(self.prices.len());
        let mut unknown = Vec::new();
        for (position, (line, price)) in self.lines.iter().zip(&self.prices).enumerate() {
            match price {
                Some(unit_price) => lines.push(PricedLine { sku: line.sku.clone(), quantity: line.quantity, unit_price: *unit_price }),
                None => unknown.push(position),
            }
        }
        if !unknown.is_empty() {
            return Err(Rejection::UnknownSkus { lines: unknown });
        }
        let total = total(&lines)?;
        Ok((lines, total))
    }
}

/// The sum of the lines.
fn total(lines: &[PricedLine]) -> Result<Money, Rejection> {
    let mut amounts = lines.iter().map(|line| line.unit_price.checked_mul(line.quantity));
    // `Lines` is never empty; if it were, there would be nothing to sell.
    let first = amounts.next().ok_or(Rejection::UnknownSkus { lines: Vec::new() })??;
    Ok(amounts.try_fold(first, |sum, amount| sum.checked_add(amount?))?)
}

/// A line with the price it was ordered at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedLine {
    /// The product.
    pub sku: Sku,
    /// Units ordered.
    pub quantity: Quantity,
    /// Price of one unit.
    pub unit_price: Money,
}

/// A value that this crate cannot open: carried, never read. A payment token is opened by payment-service, a contact for its customer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedValue(String);

impl SealedValue {
    /// From its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SealedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedValue(..)")
    }
}

/// What happened to an order. Instants are microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was placed and priced.
    Placed(Placed),
    /// It is paid.
    Confirmed {
        /// When.
        at: i64,
    },
    /// It was called off.
    Cancelled {
        /// Why.
        reason: CancelReason,
        /// When.
        at: i64,
    },
}

/// An order as it was placed and priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Whose order it is.
    pub customer: CustomerId,
    /// Its lines, in the customer's order.
    pub lines: Vec<PricedLine>,
    /// Their sum.
    pub total: Money,
    /// How it is paid.
    pub payment_token: Option<SealedValue>,
    /// Whom it is for.
    pub contact: Option<SealedValue>,
    /// When, in microseconds since the Unix epoch.
    pub at: i64,
}

/// Why an order was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// A line asked for more than there was.
    OutOfStock,
    /// The provider said no.
    PaymentDeclined,
    /// A step was not answered in time.
    Deadline,
    /// The customer asked for it.
    CancelledByCustomer,
    /// A step was given up after its last attempt.
    Failed,
}

/// A string that names no [`CancelReason`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown cancel reason {0:?}")]
pub struct UnknownReason(pub String);

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Nobody has listed these products.
    #[error("no product has the sku of lines {lines:?}")]
    UnknownSkus {
        /// Their positions, from 0, ascending.
        lines: Vec<usize>,
    },
    /// The products are priced in different currencies.
    #[error("the products of the order are priced in different currencies")]
    MixedCurrencies,
    /// The total does not fit into 64 bits of minor units.
    #[error("the total of the order is too large")]
    TotalOverflow,
    /// The id is taken.
    #[error("the order is placed already")]
    AlreadyPlaced,
    /// There is no such order.
    #[error("the order was not placed")]
    NotPlaced,
    /// It can no longer be cancelled.
    #[error("the order is confirmed")]
    AlreadyConfirmed,
    /// It can no longer be confirmed.
    #[error("the order is cancelled")]
    AlreadyCancelled,
}

impl From<values::MoneyError> for Rejection {
    fn from(error: values::MoneyError) -> Self {
        match error {
            values::MoneyError::Overflow => Self::TotalOverflow,
            // No text is read here; amounts of two currencies are the only other way to fail.
            values::MoneyError::Currencies { .. } | values::MoneyError::Text => Self::MixedCurrencies,
        }
    }
}

/// Events `command` causes in `state`. Confirming or cancelling twice causes none.
///
/// # Errors
/// A [`Rejection`] when the command cannot be met.
pub fn decide(state: &Order, command: &Command) -> Result<Vec<Event>, Rejection> {
    match (state, command) {
        (Order::None, Command::Place(placement)) => place(placement),
        (Order::Pending { .. } | Order::Confirmed | Order::Cancelled { .. }, Command::Place(_)) => Err(Rejection::AlreadyPlaced),
        (Order::None, Command::Confirm { .. } | Command::Cancel { .. }) => Err(Rejection::NotPlaced),
        (Order::Pending { .. }, Command::Confirm { at }) => Ok(vec![Event::Confirmed { at: *at }]),
        (Order::Pending { .. }, Command::Cancel { reason, at }) => Ok(vec![Event::Cancelled { reason: *reason, at: *at }]),
        (Order::Confirmed, Command::Confirm { .. }) | (Order::Cancelled { .. }, Command::Cancel { .. }) => Ok(Vec::new()),
        (Order::Confirmed, Command::Cancel { .. }) => Err(Rejection::AlreadyConfirmed),
        (Order::Cancelled { .. }, Command::Confirm { .. }) => Err(Rejection::AlreadyCancelled),
    }
}

fn place(placement: &Placement) -> Result<Vec<Event>, Rejection> {
    let (lines, total) = placement.basket.priced()?;
    let (customer, payment_token) = (placement.customer.clone(), placement.payment_token.clone());
    Ok(vec![Event::Placed(Placed { customer, lines, total, payment_token, contact: placement.contact.clone(), at: placement.at })])
}

/// The state after `event`. Total: any stored history replays.
#[must_use]
pub fn evolve(_state: Order, event: &Event) -> Order {
    match event {
        Event::Placed(placed) => Order::Pending { total: placed.total, payment_token: placed.payment_token.clone() },
        Event::Confirmed { .. } => Order::Confirmed,
        Event::Cancelled { reason, .. } => Order::Cancelled { reason: *reason },
    }
}

impl CancelReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::OutOfStock, Self::PaymentDeclined, Self::Deadline, Self::CancelledByCustomer, Self::Failed];

    /// Its string on the wire, in SQL and in HTTP answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfStock => "out_of_stock",
            Self::PaymentDeclined => "payment_declined",
            Self::Deadline => "deadline",
            Self::CancelledByCustomer => "cancelled_by_customer",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for CancelReason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
