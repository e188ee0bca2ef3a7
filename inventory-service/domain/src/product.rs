//! One product: its catalogue entry and its receipts. Holds are not here: they belong to orders, see [`crate::hold`].

use std::fmt;

use serde::{Deserialize, Serialize};
use values::Money;

use crate::Units;

/// What we know of one SKU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "product", rename_all = "snake_case")]
pub enum Product {
    /// Nobody has listed it: it can be neither received nor ordered.
    #[default]
    Unlisted,
    /// It is in the catalogue.
    Listed {
        /// Its catalogue entry.
        entry: Entry,
        /// Units received so far, net of adjustments.
        received: Units,
    },
}

/// A catalogue entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is called.
    pub name: Label,
    /// Its category, empty where unknown.
    pub category: Label,
    /// Its brand, empty where unknown.
    pub brand: Label,
    /// What one unit costs; zero or more.
    pub price: Money,
}

/// A short text for people: up to [`Label::MAX`] characters, none of them a control character. May be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// Why a text is no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// It has more than [`Label::MAX`] characters.
    #[error("text has more than {} characters", Label::MAX)]
    TooLong,
    /// It has a control character.
    #[error("text has a control character")]
    Control,
}

impl Label {
    /// The most characters a label has.
    pub const MAX: usize = 200;
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.chars().nth(Self::MAX).is_some() {
            Err(LabelError::TooLong)
        } else if text.chars().any(char::is_control) {
            Err(LabelError::Control)
        } else {
            Ok(Self(text))
        }
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl AsRef<str> for Label {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What is asked of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Put it in the catalogue, with its first receipt. If it is there already, only what differs in its entry changes
    /// and the receipt is left out: the same list sent twice must not receive the same units twice.
    List {
        /// The catalogue entry.
        entry: Entry,
        /// Units of the first receipt; zero when none have arrived yet.
        first_receipt: Units,
    },
    /// Units have arrived.
    Receive {
        /// How many, at least one.
        units: Units,
    },
    /// A count found more or fewer units than the books say.
    Adjust {
        /// Units more (or fewer) than the books say, never 0.
        units: i64,
        /// Why, for people.
        reason: Label,
        /// Units available right now: units that are held or shipped cannot be adjusted away.
        available: Units,
    },
    /// It costs something else from now on.
    ChangePrice {
        /// What one unit costs; zero or more.
        price: Money,
    },
}

/// What happened to a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is in the catalogue, with this entry from now on.
    Listed {
        /// The catalogue entry.
        entry: Entry,
    },
    /// It costs this from now on.
    PriceChanged {
        /// What one unit costs.
        price: Money,
    },
    /// Units arrived.
    Received {
        /// How many, at least one.
        units: Units,
    },
    /// The books were corrected.
    Adjusted {
        /// Units more (or fewer).
        units: i64,
        /// Why, for people.
        reason: Label,
    },
}

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The product is not in the catalogue.
    #[error("the product is not listed")]
    Unlisted,
    /// A price is negative.
    #[error("the price is negative")]
    NegativePrice,
    /// There would be more units than can be counted.
    #[error("units would exceed {}", Units::MAX)]
    Overflow,
    /// An adjustment would take units that are held or shipped.
    #[error("only {available} units are available")]
    Short {
        /// The units that are available.
        available: Units,
    },
    /// A receipt of, or an adjustment by, no units.
    #[error("there is not one unit to receive or adjust by")]
    NoUnits,
}

/// Events `command` causes in `state`.
///
/// # Errors
/// A [`Rejection`], with nothing changed.
pub fn decide(state: &Product, command: &Command) -> Result<Vec<Event>, Rejection> {
    match (state, command) {
        (_, Command::List { entry: Entry { price, .. }, .. } | Command::ChangePrice { price }) if price.minor() < 0 => {
            Err(Rejection::NegativePrice)
        }
        (Product::Unlisted, Command::List { entry, first_receipt }) => {
            let listed = Event::Listed { entry: entry.clone() };
            let received = (*first_receipt > Units::ZERO).then_some(Event::Received { units: *first_receipt });
            Ok(std::iter::once(listed).chain(received).collect())
        }
        (Product::Unlisted, Command::Receive { .. } | Command::Adjust { .. } | Command::ChangePrice { .. }) => Err(Rejection::Unlisted),
        (Product::Listed { entry: known, .. }, Command::List { entry, .. }) => Ok(relist(known, entry)),
        (Product::Listed { .. }, Command::Receive { units: Units::ZERO }) => Err(Rejection::NoUnits),
        (Product::Listed { received, .. }, Command::Receive { units }) => match received.changed(units.get()) {
            Ok(_) => Ok(vec![Event::Received { units: *units }]),
            Err(_) => Err(Rejection::Overflow),
        },
        (Product::Listed { received, .. }, Command::Adjust { units, reason, available }) => adjust(*received, *units, reason, *available),
        (Product::Listed { entry, .. }, Command::ChangePrice { price }) => {
            Ok(if entry.price == *price { Vec::new() } else { vec![Event::PriceChanged { price: *price }] })
        }
    }
}

fn relist(known: &Entry, entry: &Entry) -> Vec<Event> {
    if known == entry {
        Vec::new()
    } else if *known == (Entry { price: known.price, ..entry.clone() }) {
        vec![Event::PriceChanged { price: entry.price }]
    } else {
        vec![Event::Listed { entry: entry.clone() }]
    }
}

fn adjust(received: Units, units: i64, reason: &Label, available: Units) -> Result<Vec<Event>, Rejection> {
    if units == 0 {
        Err(Rejection::NoUnits)
    } else if units < 0 && available.changed(units).is_err() {
        Err(Rejection::Short { available })
    } else if received.changed(units).is_err() {
        Err(Rejection::Overflow)
    } else {
        Ok(vec![Event::Adjusted { units, reason: reason.clone() }])
    }
}

/// The state after `event`. Total: any stored history replays.
#[must_use]
pub fn evolve(state: Product, event: &Event) -> Product {
    match (state, event) {
        (Product::Unlisted, Event::Listed { entry }) => Product::Listed { entry: entry.clone(), received: Units::ZERO },
        (Product::Listed { received, .. }, Event::Listed { entry }) => Product::Listed { entry: entry.clone(), received },
        (Product::Listed { entry, received }, Event::PriceChanged { price }) => {
            Product::Listed { entry: Entry { price: *price, ..entry }, received }
        }
        (Product::Listed { entry, received }, Event::Received { units }) => counted(entry, received, units.get()),
        (Product::Listed { entry, received }, Event::Adjusted { units, .. }) => counted(entry, received, *units),
        // No decision puts these into a history; a history that has one still replays.
        (Product::Unlisted, Event::PriceChanged { .. } | Event::Received { .. } | Event::Adjusted { .. }) => Product::Unlisted,
    }
}

fn counted(entry: Entry, received: Units, units: i64) -> Product {
    Product::Listed { entry, received: received.changed(units).unwrap_or(received) }
}

#[cfg(test)]
mod tests;
