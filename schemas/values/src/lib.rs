//! The small values every tier speaks of: ids, quantities and money. A value that exists is valid: each type has a private
//! field, is made by a checked conversion and says in its error what was wrong. No IO, no clock, no randomness.
//!
//! | type | text or JSON form | rule |
//! |---|---|---|
//! | [`OrderId`] | hyphenated UUID | any UUID (version 7 where we make it) |
//! | [`CustomerId`] | string | 1 to 64 of `A-Z a-z 0-9 . _ @ -` |
//! | [`Sku`] | string | 1 to 64 of `A-Z a-z 0-9 . _ -` |
//! | [`Quantity`] | number | 1 to 1,000,000 units |
//! | [`Currency`] | string | three upper-case letters (ISO 4217) |
//! | [`Money`] | `{"minor": 1250, "currency": "USD"}` | minor units of one currency, never a float |
#![deny(clippy::arithmetic_side_effects, missing_docs)]

mod money;
mod order_id;
mod quantity;
mod text;

pub use money::{Currency, CurrencyError, Money, MoneyError};
pub use order_id::{OrderId, OrderIdError};
pub use quantity::{Quantity, QuantityError};
pub use text::{CustomerId, CustomerIdError, Sku, SkuError, TextFault};
