//! What inventory decides, without IO. Two aggregates, each a pair of pure functions:
//!
//! - [`hold`]: the units set aside for one order, all of its lines or none. A released hold stays released, so a
//!   `CreateInventoryHold` that arrives after its `ReleaseInventoryHold` does nothing (undo wins).
//! - [`product`]: one SKU's catalogue entry and receipts.
//!
//! How many units of a SKU are available is not part of either aggregate: it is one row per SKU that holds of many orders
//! change. Its value comes in with the command, its changes go out as [`Change`]s, and [`Stock`] is the arithmetic of the row:
//! units received = units available + units held + units shipped.
#![deny(clippy::arithmetic_side_effects, missing_docs)]

pub mod hold;
mod lines;
pub mod product;
#[cfg(test)]
mod properties;
mod stock;
mod units;

pub use lines::{Line, Lines, LinesError};
pub use stock::{Change, Overdrawn, Stock};
pub use units::{Units, UnitsError};
